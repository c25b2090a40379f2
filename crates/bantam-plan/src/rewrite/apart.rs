//! `apart`: linears that read a shared weight read one of their own.

use crate::{Op, Plan};

/// Lets the linears that read the weight named `shared` read one named `own` of the same extents: the head of a model that has
/// it from its table of tokens. A Plan without such a linear stays as it is.
pub fn apart(plan: &Plan, shared: &str, own: &str) -> Plan {
    let mut plan = plan.clone();
    let Some(id) = plan.weight_named(shared) else { return plan };
    let reads = |op: &Op| matches!(op, Op::Linear(linear) if linear.weight == id);
    if !plan.steps.iter().any(|step| reads(&step.op)) {
        return plan;
    }
    let (rows, width) = (plan.weights[id.0].rows, plan.weights[id.0].width);
    let own = plan.weight(own, rows, width);
    for step in &mut plan.steps {
        if let Op::Linear(linear) = &mut step.op
            && linear.weight == id
        {
            linear.weight = own;
        }
    }
    plan
}
