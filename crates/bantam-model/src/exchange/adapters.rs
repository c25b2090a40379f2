//! Where the matrices of a Plan lie among the modules of a Hugging Face model: what adapters' files speak of.

use std::ops::Range;

use bantam_plan::{Op, RopePairs};

use super::layout::{Change, fused, pairs_of, pieces, turn};
use crate::{Checkpoint, TOKEN_EMBEDDING};

/// A matrix that linears multiply with, as a module of a Hugging Face model.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterPlace {
    /// Our name of the weight.
    pub weight: String,
    /// The module's path: `model.layers.3.self_attn.q_proj`.
    pub module: String,
    /// Output features.
    pub outputs: usize,
    /// Input features.
    pub inputs: usize,
    /// Which of the module's outputs are this weight's; all but where a module holds several.
    pub rows: Range<usize>,
    /// Outputs of the module.
    pub module_outputs: usize,
    /// Which of our rows stands in which place there.
    pub change: Change,
    /// Whether the module keeps its matrix the other way round (`fan_in_fan_out`).
    pub transposed: bool,
    /// Whether it belongs to a layer (the head does not).
    pub in_layer: bool,
}

impl AdapterPlace {
    /// The last part of the module's path: `q_proj`.
    pub fn module_name(&self) -> &str {
        self.module.rsplit_once('.').map_or(&self.module, |(_, name)| name)
    }
}

/// Every matrix of a linear, in the Plan's order. One whose module the family has no name for is left out.
pub fn adapter_places(checkpoint: &Checkpoint) -> Vec<AdapterPlace> {
    let (plan, spec, names) = (checkpoint.plan(), checkpoint.spec(), checkpoint.family().names);
    let module_of = |name: &str| {
        // The table of tokens is no linear itself; as one it is the head, which has a module of its own there.
        if name == TOKEN_EMBEDDING {
            return Some("lm_head".to_owned());
        }
        let name = names.to_hugging_face(name)?;
        let module = name.strip_suffix(".weight")?;
        // A model with a head holds the one without under a name, which some families' tensors go without.
        let within = names.prefixes.iter().find(|(_, stands_for)| stands_for.is_empty()).map(|(prefix, _)| *prefix);
        let bare = spec.head.is_some() && !module.starts_with("model.") && module != "lm_head";
        Some(within.filter(|_| bare).unwrap_or_default().to_owned() + module)
    };
    let mut places: Vec<AdapterPlace> = Vec::new();
    for step in &plan.steps {
        let Op::Linear(linear) = &step.op else { continue };
        let weight = &plan.weights[linear.weight.0];
        // A router is no matrix that one adapts.
        let is_router = weight.name.contains("ffn_gate_inp");
        if is_router || places.iter().any(|place| place.weight == weight.name) {
            continue;
        }
        let (layer, stem, _) = pieces(&weight.name);
        let at = layer.map_or(String::new(), |layer| format!("blk.{layer}."));
        let numbered = |stem: &str| format!("{at}{stem}.weight");
        let outputs_of = |stem: &str| plan.weight_named(&numbered(stem)).map_or(0, |id| plan.weights[id.0].rows);
        let (module, rows, module_outputs) = match fused(names, stem) {
            Some((whole, parts)) => {
                let before = parts.iter().take_while(|part| **part != stem).map(|part| outputs_of(part)).sum::<usize>();
                let all = parts.iter().map(|part| outputs_of(part)).sum();
                (module_of(&numbered(whole)), before..before + weight.rows, all)
            }
            None => (module_of(&weight.name), 0..weight.rows, weight.rows),
        };
        let Some(module) = module else { continue };
        let change = turn(spec, layer, stem, pairs_of(spec), RopePairs::Halves);
        places.push(AdapterPlace {
            weight: weight.name.clone(),
            transposed: names.is_transposed(&format!("{module}.weight")),
            module,
            outputs: weight.rows,
            inputs: weight.width,
            rows,
            module_outputs,
            change: change.unwrap_or(Change::None),
            in_layer: layer.is_some(),
        });
    }
    places
}
