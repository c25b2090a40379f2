//! Low-rank adapters of a model, and the PEFT directories that hold them.

mod fingerprint;
mod gguf;
mod peft;
mod write;

use std::collections::HashMap;
use std::path::Path;

use bantam_cpu::{LowRank, length, row_factor};
use bantam_model::{Checkpoint, HEAD, TOKEN_EMBEDDING};
use bantam_plan::rewrite::{Adapter as PlanAdapter, apart, with_adapters};
use bantam_plan::{Plan, PlanError, WeightView, Weights};
use bantam_tensor::{SharedBytes, TensorType};

use crate::RuntimeError;

pub use fingerprint::{Fingerprint, base_fingerprint, fingerprint};
pub use gguf::{AdapterTensor, adapter_tensors, read_gguf_adapter, write_gguf_adapter};
pub use peft::{AnyBase, read_peft};
pub use write::{PeftSettings, write_peft};

/// Where an adapter's file notes the fingerprint of the model it was trained on: in metadata that other programs pass over.
const BASE: &str = "bantam.base_fingerprint";
/// That of the chat template it was trained with.
const TEMPLATE: &str = "bantam.template_fingerprint";

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
    /// Where it is weight-decomposed (DoRA).
    pub dora: Option<Dora>,
}

/// The lengths of the rows of `W + scale · B · A` (DoRA, Liu et al. 2024).
#[derive(Clone, Debug, PartialEq)]
pub struct Dora {
    /// `[outputs]`, in our order of rows.
    pub magnitude: Vec<f32>,
    /// Factor on what the adapter changes of a product; 1 is all of it.
    pub factor: f32,
}

impl AdapterPart {
    fn low_rank(&self) -> LowRank<'_> {
        LowRank { rank: self.rank, scale: self.scale, a: &self.a, b: &self.b }
    }
}

/// An adapter of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Adapter {
    /// One for each weight.
    pub parts: Vec<AdapterPart>,
    /// Weights that stand in the place of the model's own (PEFT's `modules_to_save`).
    pub saved: Vec<SavedWeight>,
    /// [`fingerprint`] of the chat template it was trained with, where it says one; its files note it.
    pub template: Option<String>,
    /// [`base_fingerprint`] of the model it was trained on, where it says one and that is another than it was read beside, which
    /// only [`AnyBase::Yes`] allows; its files go on noting it.
    pub foreign_base: Option<String>,
}

/// A weight that was trained wholly beside an adapter.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedWeight {
    /// Our name of it; the head's own also where the model has its head from its table of tokens.
    pub weight: String,
    /// Output features (1 for a vector).
    pub rows: usize,
    /// All its numbers, row after row.
    pub values: Vec<f32>,
}

impl SavedWeight {
    /// Whether a model that has its head from its table of tokens needs a head of its own beside it.
    fn takes_apart(weight: &str) -> bool {
        weight == HEAD || weight == TOKEN_EMBEDDING
    }
}

/// The Plan with these weights trained or replaced: where the model has its head from its table of tokens and one of them is
/// among them, as two.
pub fn with_saved<'w>(plan: &Plan, weights: impl IntoIterator<Item = &'w str>) -> Plan {
    let takes_apart = weights.into_iter().any(SavedWeight::takes_apart);
    if takes_apart { apart(plan, TOKEN_EMBEDDING, HEAD) } else { plan.clone() }
}

fn refuse(path: &Path, problem: impl Into<String>) -> RuntimeError {
    RuntimeError::Adapter { path: path.to_owned(), problem: problem.into() }
}

/// The base that an adapter notes, where that is another than the model it is read beside; refused unless that is allowed.
fn foreign_base(
    path: &Path,
    noted: Option<&str>,
    checkpoint: &Checkpoint,
    any_base: AnyBase,
) -> Result<Option<String>, RuntimeError> {
    let foreign = noted.filter(|base| *base != base_fingerprint(checkpoint));
    if any_base == AnyBase::No && foreign.is_some() {
        return Err(refuse(path, "it was trained on another model, or on this one in another form or type"));
    }
    Ok(foreign.map(str::to_owned))
}

impl Adapter {
    /// The base that its files note, written beside this model.
    fn base(&self, checkpoint: &Checkpoint) -> String {
        self.foreign_base.clone().unwrap_or_else(|| base_fingerprint(checkpoint))
    }

    /// Whether it changes the table of tokens, which is the head as well in some models.
    pub fn is_of_token_table(&self) -> bool {
        self.parts.iter().any(|part| part.weight == TOKEN_EMBEDDING)
    }

    /// A saved weight that a model which has its head from its table of tokens would have to hold beside that.
    pub fn saved_head(&self) -> Option<&SavedWeight> {
        self.saved.iter().find(|saved| SavedWeight::takes_apart(&saved.weight))
    }

    /// Whether a part of it is weight-decomposed (DoRA).
    pub fn is_dora(&self) -> bool {
        self.parts.iter().any(|part| part.dora.is_some())
    }

    /// Adds to a row of a weight what this adapter adds to it, `base` being the row as the model has it.
    pub fn add_to_row(&self, weight: &str, row: usize, base: &[f32], values: &mut [f32]) {
        for part in self.parts.iter().filter(|part| part.weight == weight) {
            let Some(Dora { magnitude, factor }) = &part.dora else {
                part.low_rank().add_to_row(row, values);
                continue;
            };
            let mut turned = base.to_vec();
            part.low_rank().add_to_row(row, &mut turned);
            let wanted = f64::from(magnitude.get(row).copied().unwrap_or(0.0));
            let longer = row_factor(wanted, length(&turned)) as f32;
            let changed = turned.iter().zip(base).map(|(turned, base)| factor * (longer * turned - base));
            values.iter_mut().zip(changed).for_each(|(value, changed)| *value += changed);
        }
    }

    /// The same with all that it changes times `factor`.
    #[must_use]
    pub fn scaled(mut self, factor: f32) -> Self {
        for part in &mut self.parts {
            match &mut part.dora {
                Some(dora) => dora.factor *= factor,
                None => part.scale *= factor,
            }
        }
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
            .map(|part| PlanAdapter {
                weight: part.weight.clone(),
                rank: part.rank,
                scale: part.scale,
                dropout: 0.0,
                dora: part.dora.as_ref().map(|dora| dora.factor),
            })
            .collect();
        let mut seen: HashMap<&str, usize> = HashMap::new();
        let mut matrices = HashMap::new();
        for part in &parts {
            let nth = seen.entry(&part.weight).or_default();
            let suffix = if *nth == 0 { String::new() } else { format!(".{nth}") };
            *nth += 1;
            let magnitude = part.dora.as_ref().map(|dora| ("magnitude", &dora.magnitude, 1));
            let matrices_of = [("a", &part.a, part.rank), ("b", &part.b, part.b.len() / part.rank.max(1))];
            for (letter, values, rows) in matrices_of.into_iter().chain(magnitude) {
                let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
                let width = values.len() / rows.max(1);
                let view =
                    WeightView { tensor_type: TensorType::F32, rows, width, bytes: SharedBytes::from_vec(bytes) };
                matrices.insert(format!("{}.lora_{letter}{suffix}", part.weight), view);
            }
        }
        let saved = || adapters.iter().flat_map(|adapter| &adapter.saved);
        let plan = with_saved(plan, saved().map(|saved| saved.weight.as_str()));
        for SavedWeight { weight, rows, values } in saved() {
            let (width, bytes) = (values.len() / rows.max(&1), values.iter().flat_map(|x| x.to_le_bytes()).collect());
            let bytes = SharedBytes::from_vec(bytes);
            let view = WeightView { tensor_type: TensorType::F32, rows: *rows, width, bytes };
            if matrices.insert(weight.clone(), view).is_some() {
                let problem = format!("two adapters bring `{weight}` of their own");
                return Err(PlanError::Rewrite { rewrite: "with_saved", problem });
            }
        }
        Ok(Self { plan: with_adapters(&plan, &wanted)?, inner, matrices })
    }
}

impl Weights for Adapted<'_> {
    fn weight(&self, name: &str) -> Option<WeightView> {
        // A head taken apart from the table of tokens begins as that.
        let shared = || if name == HEAD { self.inner.weight(TOKEN_EMBEDDING) } else { None };
        self.matrices.get(name).cloned().or_else(|| self.inner.weight(name)).or_else(shared)
    }
}
