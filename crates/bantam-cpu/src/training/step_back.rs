//! One backward step of a training program.

use bantam_kernels as kernels;
use bantam_plan::{Attend, Backward, Linear, Norm, NormKind, Op, Step, ValueId};

use super::held::Held;
use super::run::Running;
use super::step_forward::kernel_pairs;
use crate::compile::{activation, attention_shape};

impl Running<'_> {
    /// Runs the gradient of a step; `onto` names the sum that a product's gradient is added to in place.
    pub(super) fn back(&mut self, backward: &Backward, step: &Step, onto: Option<ValueId>) {
        let count = backward.wanted.len();
        // By input: where its gradient goes.
        let mut made = step.outputs.iter().copied();
        let made: Vec<Option<ValueId>> =
            backward.wanted.iter().map(|wanted| if *wanted { made.next() } else { None }).collect();
        let first = made.first().copied().flatten();
        let gradient = step.inputs.get(count).copied();
        if let Op::Loss(_) = &*backward.of {
            self.loss_back(step, gradient, first);
            return;
        }
        let Some(gradient) = gradient else { return };
        let dy = self.range(gradient);
        match &*backward.of {
            Op::Embed(embed) => {
                let width = self.width(gradient);
                let rows: Vec<usize> = (0..self.rows(gradient)).map(|row| self.table_row(embed, row)).collect();
                let dy = &self.arena[dy];
                if let Some(sum) = self.held[embed.table.0].gradient() {
                    for (dy, row) in dy.chunks_exact(width).zip(rows) {
                        sum[row * width..][..width].iter_mut().zip(dy).for_each(|(sum, dy)| *sum += dy);
                    }
                }
            }
            Op::Norm(norm) => self.norm_back(norm, step, gradient, first),
            Op::Linear(linear) => self.linear_back(linear, step, gradient, onto.or(first), onto.is_some()),
            Op::Rope(rope) => {
                let Some(dx) = first else { return };
                let rows = self.rows(dx);
                let out = self.range(dx);
                if !self.same_place(gradient, dx) {
                    self.arena.copy_within(dy, out.start);
                }
                let (cosines, sines) = self.buffers.angles[rope.table.0].get(rows, true);
                let (pool, isa, pairs) = (&self.buffers.pool, self.buffers.isa, kernel_pairs(rope.pairs));
                let (heads, head_width) = (rope.heads, rope.head_width);
                let made = &mut self.arena[out];
                kernels::rope_apply(pool, isa, made, rows, heads, head_width, rope.rotated, pairs, cosines, sines);
            }
            Op::Attend(attend) => self.attend_back(attend, step, gradient, &made),
            Op::Glu(glu) => {
                let place = |this: &Self, id: Option<ValueId>| id.map_or(0..0, |id| this.range(id));
                let (d_gate, d_up) = (place(self, made[0]), place(self, made[1]));
                let ranges = [self.range(step.inputs[0]), self.range(step.inputs[1]), dy, d_gate, d_up];
                let [gate, up, dy, d_gate, d_up] = Self::split(self.arena, ranges);
                let (pool, isa) = (&self.buffers.pool, self.buffers.isa);
                kernels::glu_back(pool, isa, activation(glu.activation), gate, up, dy, d_gate, d_up);
            }
            Op::Activate(op) => {
                let Some(dx) = first else { return };
                let ranges = [self.range(step.inputs[0]), dy, self.range(dx)];
                let [x, dy, dx] = Self::split(self.arena, ranges);
                kernels::activate_back(&self.buffers.pool, self.buffers.isa, activation(op.activation), x, dy, dx);
            }
            Op::Softcap(softcap) => {
                let Some(dx) = first else { return };
                let ranges = [self.range(step.inputs[0]), dy, self.range(dx)];
                let [x, dy, dx] = Self::split(self.arena, ranges);
                kernels::softcap_back(&self.buffers.pool, self.buffers.isa, softcap.cap, x, dy, dx);
            }
            Op::Scale(scale) => {
                let Some(dx) = first else { return };
                let ranges = [dy, self.range(dx)];
                let [dy, dx] = Self::split(self.arena, ranges);
                kernels::scale(&self.buffers.pool, self.buffers.isa, scale.by, dy, dx);
            }
            Op::Add(_) => {
                for dx in made.into_iter().flatten() {
                    let out = self.range(dx);
                    self.arena.copy_within(dy.clone(), out.start);
                }
            }
            Op::Dropout(dropout) => {
                let Some(dx) = first else { return };
                self.dropout(dropout, gradient, dx);
            }
            Op::Magnitude(magnitude) => self.magnitude_back(magnitude, step, gradient, first),
            Op::Select(_) => {
                let Some(dx) = first else { return };
                let width = self.width(dx);
                let ranges = [dy, self.range(dx)];
                let [dy, dx] = Self::split(self.arena, ranges);
                dx.fill(0.0);
                for (dy, &row) in dy.chunks_exact(width).zip(&self.batch.outputs[self.extent.outputs.clone()]) {
                    dx[row as usize * width..][..width].copy_from_slice(dy);
                }
            }
            Op::Route(route) => {
                let Some(dx) = first else { return };
                let (experts, width) = (self.width(dx), self.width(gradient));
                let ranges = [self.range(step.inputs[0]), dy, self.range(dx)];
                let [logits, dy, dx] = Self::split(self.arena, ranges);
                dx.fill(0.0);
                let rows = logits.chunks_exact(experts).zip(dy.chunks_exact(width));
                rows.zip(dx.chunks_exact_mut(experts)).for_each(|((logits, dy), dx)| route.row_back(logits, dy, dx));
            }
            Op::Spread(spread) => {
                let Some(dx) = first else { return };
                let width = self.width(dx);
                let ranges = [dy, self.range(dx)];
                let [dy, dx] = Self::split(self.arena, ranges);
                for (dx, dy) in dx.chunks_exact_mut(width).zip(dy.chunks_exact(width * spread.chosen)) {
                    dx.fill(0.0);
                    for dy in dy.chunks_exact(width) {
                        dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx += dy);
                    }
                }
            }
            Op::ExpertLinear(experts) => {
                // Which expert it is does not bend, so a route's gradient from here is zero.
                if let Some(route) = made.get(1).copied().flatten() {
                    let out = self.range(route);
                    self.arena[out].fill(0.0);
                }
                self.expert_linear_back(experts, step, gradient, first);
            }
            Op::Combine(_) => self.combine_back(step, gradient, &made),
            Op::Loss(_) | Op::Observe(_) | Op::Backward(_) => {}
        }
    }

    fn loss_back(&mut self, step: &Step, gradient: Option<ValueId>, dx: Option<ValueId>) {
        let Some(dx) = dx else { return };
        let width = self.width(dx);
        self.buffers.take_targets(self.batch, self.extent.outputs.clone());
        let gradient_range = gradient.map_or(0..0, |id| self.range(id));
        if self.same_place(step.inputs[0], dx) {
            let ranges = [self.range(dx), gradient_range];
            let [x, dy] = Self::split(self.arena, ranges);
            let dy = gradient.map(|_| &*dy);
            let buffers = &*self.buffers;
            let (pool, isa) = (&buffers.pool, buffers.isa);
            kernels::cross_entropy_back_in_place(pool, isa, x, width, &buffers.tokens, &buffers.weights, dy);
            return;
        }
        let ranges = [self.range(step.inputs[0]), gradient_range, self.range(dx)];
        let [x, dy, dx] = Self::split(self.arena, ranges);
        let dy = gradient.map(|_| &*dy);
        let buffers = &*self.buffers;
        let (pool, isa) = (&buffers.pool, buffers.isa);
        kernels::cross_entropy_back(pool, isa, x, width, &buffers.tokens, &buffers.weights, dy, dx);
    }

    fn linear_back(&mut self, linear: &Linear, step: &Step, gradient: ValueId, dx: Option<ValueId>, accumulate: bool) {
        let rows = self.rows(gradient);
        let dy = self.range(gradient);
        if let Some(dx) = dx {
            let ranges = [dy.clone(), self.range(dx)];
            let [dy, dx] = Self::split(self.arena, ranges);
            let buffers = &mut *self.buffers;
            let (pool, isa, held) = (&buffers.pool, buffers.isa, &self.held[linear.weight.0]);
            if let Held::Nf4(weight) = held {
                buffers.nf4.multiply_back((pool, isa), (dy, rows), weight, dx, accumulate);
            } else {
                kernels::multiply_back(pool, isa, &mut buffers.products, dy, rows, held.rows(), dx, accumulate);
            }
        }
        let x = self.range(step.inputs[0]);
        let buffers = &mut *self.buffers;
        if let Some(sum) = self.held[linear.weight.0].gradient() {
            let (x, dy) = (&self.arena[x], &self.arena[dy.clone()]);
            kernels::add_weight_gradient(&buffers.pool, buffers.isa, &mut buffers.products, dy, x, rows, sum);
        }
        if let Some(sum) = linear.bias.and_then(|id| self.held[id.0].gradient()) {
            kernels::add_row_sums(&buffers.pool, &self.arena[dy], rows, sum);
        }
    }

    fn norm_back(&mut self, norm: &Norm, step: &Step, gradient: ValueId, dx: Option<ValueId>) {
        let (rows, width) = (self.rows(gradient), self.width(gradient));
        let (x, dy) = (self.range(step.inputs[0]), self.range(gradient));
        let center = match norm.kind {
            NormKind::Rms => false,
            NormKind::Layer => true,
        };
        let (groups, eps) = (norm.groups, norm.eps);
        if let Some(dx) = dx {
            let has_factor = self.factor(norm);
            let ranges = [x.clone(), dy.clone(), self.range(dx)];
            let [x, dy, dx] = Self::split(self.arena, ranges);
            let weight = has_factor.then_some(&self.buffers.factor[..]);
            let (pool, isa) = (&self.buffers.pool, self.buffers.isa);
            kernels::norm_back(pool, isa, x, dy, rows, width, groups, weight, eps, center, dx);
        }
        let (x, dy) = (&self.arena[x], &self.arena[dy]);
        let (pool, isa) = (&self.buffers.pool, self.buffers.isa);
        // One at a time: a weight and a bias are two of the weights held.
        if let Some(sum) = norm.weight.and_then(|id| self.held[id.0].gradient()) {
            kernels::add_norm_gradients(pool, isa, x, dy, rows, width, groups, eps, center, Some(sum), None);
        }
        if let Some(sum) = norm.bias.and_then(|id| self.held[id.0].gradient()) {
            kernels::add_norm_gradients(pool, isa, x, dy, rows, width, groups, eps, center, None, Some(sum));
        }
    }

    fn attend_back(&mut self, attend: &Attend, step: &Step, gradient: ValueId, made: &[Option<ValueId>]) {
        let rows = self.rows(gradient);
        let mut spare: [Vec<f32>; 3] = Default::default();
        // All three come out of one pass; what nobody wants goes to a place of its own.
        for (n, spare) in spare.iter_mut().enumerate() {
            if made[n].is_none() {
                spare.resize(rows * self.width(step.inputs[n]), 0.0);
            }
        }
        let place = |n: usize| made[n].map_or(0..0, |id| self.range(id));
        let ranges = [
            self.range(step.inputs[0]),
            self.range(step.inputs[1]),
            self.range(step.inputs[2]),
            self.range(gradient),
            place(0),
            place(1),
            place(2),
        ];
        let [q, k, v, dy, dq, dk, dv] = Self::split(self.arena, ranges);
        let [spare_q, spare_k, spare_v] = &mut spare;
        let pick = |wanted: Option<ValueId>, d, spare| if wanted.is_some() { d } else { spare };
        let results = (
            pick(made[0], dq, &mut spare_q[..]),
            pick(made[1], dk, &mut spare_k[..]),
            pick(made[2], dv, &mut spare_v[..]),
        );
        let buffers = &*self.buffers;
        let shape = attention_shape(attend);
        let (pool, isa, sequences) = (&buffers.pool, buffers.isa, &buffers.sequences);
        kernels::attend_sequences_back(pool, isa, &buffers.attention, &shape, sequences, rows, (q, k, v), dy, results);
    }

    fn combine_back(&mut self, step: &Step, gradient: ValueId, made: &[Option<ValueId>]) {
        let (width, chosen) = (self.width(gradient), self.width(step.inputs[1]) / 2);
        let place = |n: usize| made[n].map_or(0..0, |id| self.range(id));
        let ranges = [self.range(step.inputs[0]), self.range(step.inputs[1]), self.range(gradient), place(0), place(1)];
        let [x, route, dy, dx, d_route] = Self::split(self.arena, ranges);
        d_route.fill(0.0);
        for (row, dy) in dy.chunks_exact(width).enumerate() {
            for j in 0..chosen {
                let at = (row * chosen + j) * width;
                let weight = row * 2 * chosen + chosen + j;
                if !dx.is_empty() {
                    dx[at..][..width].iter_mut().zip(dy).for_each(|(dx, dy)| *dx = route[weight] * dy);
                }
                if !d_route.is_empty() {
                    let pairs = x[at..][..width].iter().zip(dy);
                    d_route[weight] = pairs.map(|(x, dy)| f64::from(*x) * f64::from(*dy)).sum::<f64>() as f32;
                }
            }
        }
    }
}
