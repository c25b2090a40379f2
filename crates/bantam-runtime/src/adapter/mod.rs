//! Low-rank adapters of a model, and the PEFT directories that hold them.

mod fingerprint;
mod gguf;
mod peft;
mod write;

use std::collections::HashMap;

use bantam_plan::rewrite::{Adapter as PlanAdapter, with_adapters};
use bantam_plan::{Plan, PlanError, WeightView, Weights};
use bantam_tensor::{SharedBytes, TensorType};

pub use fingerprint::{Fingerprint, base_fingerprint, fingerprint};
pub use gguf::{AdapterTensor, adapter_tensors, read_gguf_adapter, write_gguf_adapter};
pub use peft::{AnyBase, read_peft, template_of_adapter};
pub use write::{PeftSettings, write_peft};

/// An adapter of one weight: `y += scale · (x · Aᵀ) · Bᵀ`.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterPart {
    /// Our name of the weight it stands beside.
    pub weight: String,
    /// Inner width.
    pub rank: usize,
    /// Factor: `alpha / rank`, or `alpha / √rank`.
    pub scale: f32,
    /// `[rank, inputs]`.
    pub a: Vec<f32>,
    /// `[outputs, rank]`, in our order of rows.
    pub b: Vec<f32>,
}

/// An adapter of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Adapter {
    /// One for each weight.
    pub parts: Vec<AdapterPart>,
}

impl Adapter {
    /// Whether it changes the table of tokens, which is the head as well in some models.
    pub fn is_of_token_table(&self) -> bool {
        self.parts.iter().any(|part| part.weight == bantam_model::TOKEN_EMBEDDING)
    }

    /// Adds to a row of a weight what adapters of it add: the row of `W + scale · B · A`.
    pub fn add_to_row(&self, weight: &str, row: usize, values: &mut [f32]) {
        for part in self.parts.iter().filter(|part| part.weight == weight) {
            let of_row = part.b.get(row * part.rank..(row + 1) * part.rank).unwrap_or_default();
            for (b, a) in of_row.iter().zip(part.a.chunks_exact(values.len().max(1))) {
                let by = part.scale * b;
                values.iter_mut().zip(a).for_each(|(value, a)| *value += by * a);
            }
        }
    }

    /// The same with every scale times `factor`.
    #[must_use]
    pub fn scaled(mut self, factor: f32) -> Self {
        self.parts.iter_mut().for_each(|part| part.scale *= factor);
        self
    }
}

/// Adapters put beside a Plan's linears: the Plan, and their matrices under the names that it gives them.
pub struct Adapted<'a> {
    /// The Plan with adapters.
    pub plan: Plan,
    inner: &'a dyn Weights,
    matrices: HashMap<String, WeightView>,
}

impl<'a> Adapted<'a> {
    /// Adapts a Plan; several adapters add up.
    pub fn new(plan: &Plan, inner: &'a dyn Weights, adapters: &[Adapter]) -> Result<Self, PlanError> {
        let parts: Vec<&AdapterPart> = adapters.iter().flat_map(|adapter| &adapter.parts).collect();
        let wanted: Vec<PlanAdapter> = parts
            .iter()
            .map(|part| PlanAdapter { weight: part.weight.clone(), rank: part.rank, scale: part.scale, dropout: 0.0 })
            .collect();
        let mut seen: HashMap<&str, usize> = HashMap::new();
        let mut matrices = HashMap::new();
        for part in &parts {
            let nth = seen.entry(&part.weight).or_default();
            let suffix = if *nth == 0 { String::new() } else { format!(".{nth}") };
            *nth += 1;
            for (letter, values, rows) in [("a", &part.a, part.rank), ("b", &part.b, part.b.len() / part.rank.max(1))] {
                let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
                let width = values.len() / rows.max(1);
                let view =
                    WeightView { tensor_type: TensorType::F32, rows, width, bytes: SharedBytes::from_vec(bytes) };
                matrices.insert(format!("{}.lora_{letter}{suffix}", part.weight), view);
            }
        }
        Ok(Self { plan: with_adapters(plan, &wanted)?, inner, matrices })
    }
}

impl Weights for Adapted<'_> {
    fn weight(&self, name: &str) -> Option<WeightView> {
        self.matrices.get(name).cloned().or_else(|| self.inner.weight(name))
    }
}
