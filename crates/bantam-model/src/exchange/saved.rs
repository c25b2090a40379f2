//! Weights that are trained wholly beside an adapter, as modules of a Hugging Face model (PEFT's `modules_to_save`).

use super::layout::Change;
use super::to_hugging_face;
use crate::{Checkpoint, HEAD, ModelError, TOKEN_EMBEDDING};

/// A weight that stands alone in a tensor of a Hugging Face model, number for number.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedPlace {
    /// Our name of the weight; [`HEAD`] also where the model has its head from its table of tokens.
    pub weight: String,
    /// The tensor's path: `model.norm.weight`.
    pub tensor: String,
    /// Extents there, slowest first.
    pub shape: Vec<usize>,
    /// What is added to our numbers there (norms whose factor is kept less one).
    pub shift: f32,
}

impl SavedPlace {
    /// The module's path: `model.norm`.
    pub fn module(&self) -> &str {
        self.tensor.rsplit_once('.').map_or(&self.tensor, |(module, _)| module)
    }
}

/// Every weight that can be trained wholly beside an adapter: tables of tokens, heads, norms and linears whose rows are kept in
/// Hugging Face's order. What is fused there, or in another order, is left out.
///
/// # Errors
/// What of the model Hugging Face's form has no key for.
pub fn saved_places(checkpoint: &Checkpoint) -> Result<Vec<SavedPlace>, ModelError> {
    let names = checkpoint.family().names;
    let within = names.prefixes.iter().find(|(_, stands_for)| stands_for.is_empty()).map(|(prefix, _)| *prefix);
    let has_head = checkpoint.spec().head.is_some();
    let mut places = Vec::new();
    for made in to_hugging_face(checkpoint)?.tensors {
        let shift = match made.change {
            Change::None => 0.0,
            Change::Shift(by) => by,
            Change::Interleave { .. } | Change::Separate { .. } | Change::Transpose => continue,
        };
        let (Some(weight), [_]) = (checkpoint.gguf_name(&made.name), &made.parts[..]) else { continue };
        let whole = checkpoint.plan().weight_named(&weight).map(|id| &checkpoint.plan().weights[id.0]);
        if whole.is_none_or(|whole| whole.rows * whole.width != made.shape.iter().product::<usize>()) {
            continue;
        }
        let bare = has_head && !made.name.starts_with("model.") && !made.name.starts_with("lm_head.");
        let tensor = within.filter(|_| bare).unwrap_or_default().to_owned() + &made.name;
        if weight == TOKEN_EMBEDDING && checkpoint.spec().is_tied() {
            let (tensor, shape) = ("lm_head.weight".to_owned(), made.shape.clone());
            places.push(SavedPlace { weight: HEAD.to_owned(), tensor, shape, shift });
        }
        places.push(SavedPlace { weight, tensor, shape: made.shape, shift });
    }
    Ok(places)
}
