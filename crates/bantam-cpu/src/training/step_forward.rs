//! One forward step of a training program.

use bantam_kernels::{self as kernels, Activations, Product, RopePairs as KernelPairs};
use bantam_plan::{Dropout, Embed, EmbedBy, Linear, Norm, NormKind, Op, RopePairs, Rows, Step, ValueId};

use super::held::Held;
use super::run::{Running, add};
use crate::compile::{activation, attention_shape};

/// A rope's pairs as the kernels call them.
pub(super) fn kernel_pairs(pairs: RopePairs) -> KernelPairs {
    match pairs {
        RopePairs::Interleaved => KernelPairs::Interleaved,
        RopePairs::Halves => KernelPairs::Halves,
    }
}

impl Running<'_> {
    /// Runs a step; `onto` names the sum that a product is added to in place.
    pub(super) fn forward(&mut self, op: &Op, step: &Step, onto: Option<ValueId>) {
        let Some(&output) = step.outputs.first() else { return };
        let out = self.range(output);
        let rows = self.rows(output);
        let inputs: Vec<_> = step.inputs.iter().map(|id| self.range(*id)).collect();
        let input = |n: usize| inputs[n].clone();
        let x = step.inputs.first().copied();
        match op {
            Op::Embed(embed) => self.embed(embed, output),
            Op::Norm(norm) => self.norm(norm, step, output),
            Op::Linear(linear) => self.linear(linear, step, onto.unwrap_or(output), onto.is_some()),
            Op::Rope(rope) => {
                if x.is_some_and(|x| !self.same_place(x, output)) {
                    self.arena.copy_within(input(0), out.start);
                }
                let angles = &self.buffers.angles[rope.table.0];
                let (cosines, sines) = angles.get(rows, false);
                let (pool, isa, pairs) = (&self.buffers.pool, self.buffers.isa, kernel_pairs(rope.pairs));
                let made = &mut self.arena[out];
                kernels::rope_apply(
                    pool,
                    isa,
                    made,
                    rows,
                    rope.heads,
                    rope.head_width,
                    rope.rotated,
                    pairs,
                    cosines,
                    sines,
                );
            }
            Op::Attend(attend) => {
                let [q, k, v, made] = Self::split(self.arena, [input(0), input(1), input(2), out]);
                let buffers = &*self.buffers;
                let (shape, scratch) = (attention_shape(attend), &buffers.attention);
                kernels::attend_sequences(
                    &buffers.pool,
                    buffers.isa,
                    scratch,
                    &shape,
                    &buffers.sequences,
                    rows,
                    (q, k, v),
                    made,
                );
            }
            Op::Glu(glu) => {
                let [gate, up, made] = Self::split(self.arena, [input(0), input(1), out]);
                kernels::glu(&self.buffers.pool, self.buffers.isa, activation(glu.activation), gate, up, made);
            }
            Op::Activate(op) => {
                let [x, made] = Self::split(self.arena, [input(0), out]);
                kernels::activate(&self.buffers.pool, self.buffers.isa, activation(op.activation), x, made);
            }
            Op::Add(_) => self.sum(step, output),
            Op::Scale(scale) => {
                let [x, made] = Self::split(self.arena, [input(0), out]);
                kernels::scale(&self.buffers.pool, self.buffers.isa, scale.by, x, made);
            }
            Op::Softcap(softcap) => {
                let [x, made] = Self::split(self.arena, [input(0), out]);
                kernels::softcap(&self.buffers.pool, self.buffers.isa, softcap.cap, x, made);
            }
            Op::Dropout(dropout) => self.dropout(dropout, step.inputs[0], output),
            Op::Magnitude(magnitude) => self.magnitude(magnitude, step.inputs[0], output),
            Op::Select(_) => {
                let width = self.width(output);
                let [x, made] = Self::split(self.arena, [input(0), out]);
                for (row, &wanted) in made.chunks_exact_mut(width).zip(&self.batch.outputs[self.extent.outputs.clone()])
                {
                    row.copy_from_slice(&x[wanted as usize * width..][..width]);
                }
            }
            Op::Route(route) => {
                let (experts, width) = (self.width(step.inputs[0]), self.width(output));
                let [logits, made] = Self::split(self.arena, [input(0), out]);
                let rows = logits.chunks_exact(experts).zip(made.chunks_exact_mut(width));
                rows.for_each(|(logits, made)| route.row(logits, made));
            }
            Op::Spread(spread) => {
                let width = self.width(output);
                let [x, made] = Self::split(self.arena, [input(0), out]);
                for (row, made) in x.chunks_exact(width).zip(made.chunks_exact_mut(width * spread.chosen)) {
                    made.chunks_exact_mut(width).for_each(|made| made.copy_from_slice(row));
                }
            }
            Op::ExpertLinear(experts) => self.expert_linear(experts, step, output),
            Op::Combine(_) => {
                let (width, chosen) = (self.width(output), self.width(step.inputs[1]) / 2);
                let [x, route, made] = Self::split(self.arena, [input(0), input(1), out]);
                let rows = x.chunks_exact(width * chosen).zip(route.chunks_exact(2 * chosen));
                for ((x, route), made) in rows.zip(made.chunks_exact_mut(width)) {
                    made.fill(0.0);
                    for (x, weight) in x.chunks_exact(width).zip(&route[chosen..]) {
                        made.iter_mut().zip(x).for_each(|(sum, x)| *sum += weight * x);
                    }
                }
            }
            Op::Loss(_) => {
                let width = self.width(step.inputs[0]);
                self.buffers.take_targets(self.batch, self.extent.outputs.clone());
                let [x, made] = Self::split(self.arena, [input(0), out]);
                let buffers = &*self.buffers;
                let (pool, isa) = (&buffers.pool, buffers.isa);
                kernels::cross_entropy(pool, isa, x, width, &buffers.tokens, &buffers.weights, made);
            }
            // Compiling has refused the one, and the other runs through `back`.
            Op::Observe(_) | Op::Backward(_) => {}
        }
    }

    /// The table's row for each row of the batch.
    pub(super) fn table_row(&self, embed: &Embed, row: usize) -> usize {
        match embed.by {
            EmbedBy::Token => self.batch.tokens[row] as usize,
            EmbedBy::Position => self.batch.places[row].position as usize,
            EmbedBy::First => 0,
        }
    }

    fn embed(&mut self, embed: &Embed, output: ValueId) {
        let (out, width) = (self.range(output), self.width(output));
        for row in 0..self.rows(output) {
            let named = self.table_row(embed, row);
            let made = &mut self.arena[out.start + row * width..][..width];
            match &self.held[embed.table.0] {
                Held::Frozen(matrix) => matrix.decode_row(named, made),
                held @ (Held::Nf4(_) | Held::Vector(_) | Held::Trained(_)) => {
                    made.copy_from_slice(&held.values()[named * width..][..width])
                }
            }
        }
    }

    /// Puts a norm's factor, its shift added, into the buffer for it; says whether there is one.
    pub(super) fn factor(&mut self, norm: &Norm) -> bool {
        let Some(id) = norm.weight else { return false };
        let factor = &mut self.buffers.factor;
        factor.clear();
        factor.extend(self.held[id.0].values().iter().map(|weight| weight + norm.shift));
        true
    }

    fn norm(&mut self, norm: &Norm, step: &Step, output: ValueId) {
        let (rows, width) = (self.rows(output), self.width(output));
        let has_factor = self.factor(norm);
        let ranges = [self.range(step.inputs[0]), self.range(output)];
        let [x, made] = Self::split(self.arena, ranges);
        let (pool, isa) = (&self.buffers.pool, self.buffers.isa);
        let weight = has_factor.then_some(&self.buffers.factor[..]);
        let bias = norm.bias.map(|id| self.held[id.0].values());
        match norm.kind {
            NormKind::Rms => {
                kernels::norm_rms(pool, isa, x, rows, width, norm.groups, weight, norm.eps, made);
                if let Some(bias) = bias {
                    made.chunks_exact_mut(bias.len())
                        .for_each(|row| row.iter_mut().zip(bias).for_each(|(y, b)| *y += b));
                }
            }
            NormKind::Layer => {
                kernels::norm_layer(pool, isa, x, rows, width, norm.groups, weight, bias, norm.eps, made);
            }
        }
    }

    fn linear(&mut self, linear: &Linear, step: &Step, output: ValueId, accumulate: bool) {
        let id = step.inputs[0];
        let (rows, width) = (self.rows(id), self.width(id));
        let ranges = [self.range(id), self.range(output)];
        let [x, made] = Self::split(self.arena, ranges);
        let bias = linear.bias.map(|id| self.held[id.0].values());
        let buffers = &mut *self.buffers;
        let weight = &self.held[linear.weight.0];
        if let Held::Frozen(matrix) = weight {
            let kind = matrix.activation();
            let activations = if kind.is_int8() {
                buffers.quantize(id, kind, x, rows, width);
                Activations::Int8(&buffers.int8)
            } else {
                Activations::F32(x)
            };
            kernels::multiply(&buffers.pool, activations, rows, &mut [Product { matrix, out: made, bias, accumulate }]);
            return;
        }
        let (pool, isa) = (&buffers.pool, buffers.isa);
        if let Held::Nf4(weight) = weight {
            buffers.nf4.multiply((pool, isa), (x, rows), weight, bias, made, accumulate);
            return;
        }
        kernels::multiply_trained(pool, isa, &mut buffers.products, x, rows, weight.values(), bias, made, accumulate);
    }

    /// A sum, written over one of its terms where the arena has put it there.
    fn sum(&mut self, step: &Step, output: ValueId) {
        let (a, b) = (step.inputs[0], step.inputs[1]);
        let out = self.range(output);
        for (here, other) in [(a, b), (b, a)] {
            if self.same_place(here, output) && a != b {
                let ranges = [self.range(other), out];
                let [other, made] = Self::split(self.arena, ranges);
                kernels::add_to(&self.buffers.pool, self.buffers.isa, other, made);
                return;
            }
        }
        if a == b {
            let ranges = [self.range(a), out];
            if self.same_place(a, output) {
                self.arena[ranges[0].clone()].iter_mut().for_each(|x| *x += *x);
                return;
            }
            let [a, made] = Self::split(self.arena, ranges);
            add(self.buffers, a, a, made);
            return;
        }
        let ranges = [self.range(a), self.range(b), out];
        let [a, b, made] = Self::split(self.arena, ranges);
        add(self.buffers, a, b, made);
    }

    /// A chunk's numbers are the matrix's from its first row on.
    pub(super) fn dropout(&mut self, dropout: &Dropout, from: ValueId, to: ValueId) {
        let ranges = [self.range(from), self.range(to)];
        let begin = match self.plan.get(to).rows {
            Rows::Outputs => self.extent.outputs.start * self.width(to),
            Rows::Tokens | Rows::Routed(_) => 0,
        };
        let [x, made] = Self::split(self.arena, ranges);
        let seed = self.batch.dropout;
        kernels::in_pieces(&self.buffers.pool, made, |first, made| {
            dropout.apply(seed, begin + first, &x[first..][..made.len()], made);
        });
    }
}
