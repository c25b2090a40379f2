//! `with_adapters`: low-rank adapters beside linears (LoRA, Hu et al. 2021; DoRA, Liu et al. 2024).

use crate::{Add, Dropout, Linear, Magnitude, Op, Plan, PlanError, Scale, Step, ValueId, WeightId};

/// An adapter of one weight: `y += (scale * (dropout(x) · Aᵀ)) · Bᵀ`, with weights `<name>.lora_a` and `<name>.lora_b`.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapter {
    /// The weight it stands beside.
    pub weight: String,
    /// Inner width.
    pub rank: usize,
    /// Factor: `alpha / rank` in the paper, `alpha / √rank` where it is rank-stabilised (rsLoRA, Kalajdzievski 2023).
    pub scale: f32,
    /// Share of `x` that is left out while it is trained.
    pub dropout: f32,
    /// For DoRA: the rows of `W + scale · B · A` have the lengths of `<name>.lora_magnitude`; times this factor goes what
    /// that changes of the product.
    pub dora: Option<f32>,
}

/// The linear that is adapted, and what its adapters read.
struct Adapted<'a> {
    linear: &'a Linear,
    step: &'a Step,
    name: String,
}

/// Puts adapters beside the linears that read their weights. Several for one weight add up.
pub fn with_adapters(plan: &Plan, adapters: &[Adapter]) -> Result<Plan, PlanError> {
    let mut out = plan.clone();
    out.steps.clear();
    let mut used = vec![false; adapters.len()];
    for step in &plan.steps {
        let Op::Linear(linear) = &step.op else {
            out.steps.push(step.clone());
            continue;
        };
        let name = plan.weights[linear.weight.0].name.clone();
        let mine: Vec<usize> = (0..adapters.len()).filter(|&i| adapters[i].weight == name).collect();
        let &[result] = &step.outputs[..] else { continue };
        out.current_layer = step.layer;
        mine.iter().for_each(|&i| used[i] = true);
        let adapted = Adapted { linear, step, name };
        // Alone and whole, DoRA needs no product but the linear's own.
        if let [only] = mine[..]
            && adapters[only].dora == Some(1.0)
            && adapters[only].dropout == 0.0
        {
            let base = copy_value(&mut out, result);
            let op = Linear { weight: linear.weight, bias: None };
            out.steps.push(Step { op: op.into(), outputs: vec![base], ..step.clone() });
            let sum = copy_value(&mut out, result);
            let (a, b) = adapted.beside(&mut out, &adapters[only], 0, (&step.inputs, base, sum))?;
            let op = adapted.magnitude(&mut out, &adapters[only], 0, (a, b), linear.bias);
            out.steps.push(Step { op: op.into(), inputs: vec![sum], outputs: vec![result], layer: step.layer });
            continue;
        }
        let base = if mine.is_empty() { result } else { copy_value(&mut out, result) };
        out.steps.push(Step { outputs: vec![base], ..step.clone() });
        let mut sum = base;
        for (n, &i) in mine.iter().enumerate() {
            let adapter = &adapters[i];
            let mut source = step.inputs.clone();
            if adapter.dropout > 0.0 {
                let dropout = Dropout { rate: adapter.dropout, stream: i as u64 };
                source = vec![out.step(format!("{}.lora_dropout", adapted.name), dropout, &step.inputs)?];
            }
            let next = if n + 1 == mine.len() { result } else { copy_value(&mut out, result) };
            match adapter.dora {
                None => drop(adapted.beside(&mut out, adapter, n, (&source, sum, next))?),
                Some(factor) => adapted.changed(&mut out, (adapter, factor), n, (&source, sum, next))?,
            }
            sum = next;
        }
    }
    if let Some(unused) = used.iter().position(|used| !used) {
        let problem = format!("no linear reads weight `{}`", adapters[unused].weight);
        return Err(PlanError::Rewrite { rewrite: "with_adapters", problem });
    }
    out.check()?;
    Ok(out)
}

impl Adapted<'_> {
    /// The name of a matrix of the `n`th adapter.
    fn named(&self, letter: &str, n: usize) -> String {
        let suffix = if n == 0 { String::new() } else { format!(".{n}") };
        format!("{}.lora_{letter}{suffix}", self.name)
    }

    /// `next = sum + (scale * (source · Aᵀ)) · Bᵀ`; the matrices.
    fn beside(
        &self,
        out: &mut Plan,
        adapter: &Adapter,
        n: usize,
        (source, sum, next): (&[ValueId], ValueId, ValueId),
    ) -> Result<(WeightId, WeightId), PlanError> {
        let (rows, width) = (out.weights[self.linear.weight.0].rows, out.weights[self.linear.weight.0].width);
        let name = &self.name;
        let a = out.weight(self.named("a", n), adapter.rank, width);
        let b = out.weight(self.named("b", n), rows, adapter.rank);
        let inner = out.step(format!("{name}.lora_a"), Linear { weight: a, bias: None }, source)?;
        // On the narrow side, where the factor costs nothing.
        let scaled = out.step(format!("{name}.lora_scale"), Scale { by: adapter.scale }, &[inner])?;
        let outer = out.step(format!("{name}.lora_b"), Linear { weight: b, bias: None }, &[scaled])?;
        out.steps.push(Step { op: Add.into(), inputs: vec![sum, outer], outputs: vec![next], layer: self.step.layer });
        Ok((a, b))
    }

    fn magnitude(
        &self,
        out: &mut Plan,
        adapter: &Adapter,
        n: usize,
        (a, b): (WeightId, WeightId),
        bias: Option<WeightId>,
    ) -> Magnitude {
        let rows = out.weights[self.linear.weight.0].rows;
        let magnitude = out.weight(self.named("magnitude", n), 1, rows);
        Magnitude { magnitude, weight: self.linear.weight, a, b, scale: adapter.scale, bias }
    }

    /// `next = sum + factor * (magnitude(source · (W + scale · B · A)ᵀ) - source · Wᵀ)`, as PEFT has it with dropout.
    fn changed(
        &self,
        out: &mut Plan,
        (adapter, factor): (&Adapter, f32),
        n: usize,
        (source, sum, next): (&[ValueId], ValueId, ValueId),
    ) -> Result<(), PlanError> {
        let name = &self.name;
        let plain = out.step(format!("{name}.plain"), Linear { weight: self.linear.weight, bias: None }, source)?;
        let both = copy_value(out, plain);
        let matrices = self.beside(out, adapter, n, (source, plain, both))?;
        let magnitude = self.magnitude(out, adapter, n, matrices, None);
        let turned = out.step(format!("{name}.lora_magnitude"), magnitude, &[both])?;
        let less = out.step(format!("{name}.less"), Scale { by: -1.0 }, &[plain])?;
        let mut change = out.step(format!("{name}.change"), Add, &[turned, less])?;
        if factor != 1.0 {
            change = out.step(format!("{name}.part"), Scale { by: factor }, &[change])?;
        }
        let layer = self.step.layer;
        out.steps.push(Step { op: Add.into(), inputs: vec![sum, change], outputs: vec![next], layer });
        Ok(())
    }
}

fn copy_value(plan: &mut Plan, of: ValueId) -> ValueId {
    let value = plan.get(of).clone();
    plan.value(format!("{} base", value.name), value.rows, value.width)
}
