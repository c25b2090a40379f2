//! `with_adapters`: low-rank adapters beside linears (LoRA, Hu et al. 2021).

use crate::{Add, Dropout, Linear, Op, Plan, PlanError, Scale, Step};

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
        let (inputs, &[result]) = (step.inputs.clone(), &step.outputs[..]) else { continue };
        out.current_layer = step.layer;
        let base = if mine.is_empty() { result } else { copy_value(&mut out, result) };
        out.steps.push(Step { outputs: vec![base], ..step.clone() });
        let mut sum = base;
        for (n, &i) in mine.iter().enumerate() {
            used[i] = true;
            let (rows, width) = (plan.weights[linear.weight.0].rows, plan.weights[linear.weight.0].width);
            let suffix = if n == 0 { String::new() } else { format!(".{n}") };
            let a = out.weight(format!("{name}.lora_a{suffix}"), adapters[i].rank, width);
            let b = out.weight(format!("{name}.lora_b{suffix}"), rows, adapters[i].rank);
            let mut source = inputs.clone();
            if adapters[i].dropout > 0.0 {
                let dropout = Dropout { rate: adapters[i].dropout, stream: i as u64 };
                source = vec![out.step(format!("{name}.lora_dropout"), dropout, &inputs)?];
            }
            let inner = out.step(format!("{name}.lora_a"), Linear { weight: a, bias: None }, &source)?;
            // On the narrow side, where the factor costs nothing.
            let scaled = out.step(format!("{name}.lora_scale"), Scale { by: adapters[i].scale }, &[inner])?;
            let outer = out.step(format!("{name}.lora_b"), Linear { weight: b, bias: None }, &[scaled])?;
            let next = if n + 1 == mine.len() { result } else { copy_value(&mut out, result) };
            let layer = step.layer;
            out.steps.push(Step { op: Add.into(), inputs: vec![sum, outer], outputs: vec![next], layer });
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

fn copy_value(plan: &mut Plan, of: crate::ValueId) -> crate::ValueId {
    let value = plan.get(of).clone();
    plan.value(format!("{} base", value.name), value.rows, value.width)
}
