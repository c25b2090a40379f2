//! Tiny random models with logits (and gradients) from an independent implementation, under `goldens/`.
//!
//! Each is a Hugging Face directory; some have the same weights as `model.gguf` beside. `golden.json` holds what was
//! computed from it. The scripts that made them stand under `tools/goldens/`.

use crate::npy;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A tiny model and what it computes.
#[derive(Clone, Debug)]
pub struct Golden {
    /// Its name, the folder's.
    pub name: String,
    /// Whether it makes hidden states of whole sequences instead of logits.
    pub is_encoder: bool,
    /// The Hugging Face directory.
    pub directory: PathBuf,
    /// The same model as GGUF, where there is one.
    pub gguf: Option<PathBuf>,
    /// Token sequences with their logits.
    pub sequences: Vec<GoldenSequence>,
    /// Largest allowed difference of a logit, as a share of the logits' range.
    pub tolerance: f32,
    /// What changing one setting or weight does to the logits, as a share of their range: `(what was changed, share)`.
    pub sensitivity: Vec<(String, f32)>,
    /// Mean cross-entropy of predicting each next token of the first sequence, where recorded.
    pub loss: Option<f32>,
    /// Gradient of that loss by weight, where recorded.
    pub gradients: Vec<Gradient>,
}

/// A token sequence and the logits of (some of) its positions.
#[derive(Clone, Debug)]
pub struct GoldenSequence {
    /// The tokens' ids.
    pub tokens: Vec<u32>,
    /// Position of the first row of `logits`; the rows go on to the last token.
    pub first_row: usize,
    /// Vocabulary size, the width of a row.
    pub width: usize,
    /// `[tokens.len() - first_row, width]`, in C order.
    pub logits: Vec<f32>,
}

impl GoldenSequence {
    /// Logits after the token at `position`, where recorded.
    pub fn row(&self, position: usize) -> Option<&[f32]> {
        let start = position.checked_sub(self.first_row)? * self.width;
        self.logits.get(start..start + self.width)
    }
}

/// The gradient of one weight.
#[derive(Clone, Debug)]
pub struct Gradient {
    /// The weight's name in the Hugging Face directory.
    pub name: String,
    /// Its shape there.
    pub shape: Vec<usize>,
    /// The gradient in C order.
    pub values: Vec<f32>,
}

/// Goldens whose GGUF form has no key for something, and the rows before it tells: a window of 8 in two; the router's
/// jitter and the rope's magnitude in one.
const SHORT_OF_KEYS: [(&str, usize); 3] = [("tiny-mistral-a", 8), ("tiny-phimoe-short", 0), ("tiny-qwen2-b", 8)];

impl Golden {
    /// How many rows of a sequence the GGUF form can say everything about (all but in `SHORT_OF_KEYS`).
    pub fn rows_of_gguf(&self) -> usize {
        SHORT_OF_KEYS.iter().find(|(name, _)| *name == self.name).map_or(usize::MAX, |(_, rows)| *rows)
    }

    /// The folder that holds all goldens of tiny models.
    pub fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens")
    }

    /// Names of all goldens that make logits, sorted.
    #[track_caller]
    pub fn names() -> Vec<String> {
        let (_, decoders) = Self::all().into_iter().partition(|name| Self::load(name).is_encoder);
        decoders
    }

    /// Names of all goldens that make hidden states of whole sequences, sorted. Their `logits` are those.
    #[track_caller]
    pub fn encoders() -> Vec<String> {
        Self::all().into_iter().filter(|name| Self::load(name).is_encoder).collect()
    }

    #[track_caller]
    fn all() -> Vec<String> {
        let root = Self::root();
        let entries =
            std::fs::read_dir(&root).unwrap_or_else(|error| panic!("cannot list {}: {error}", root.display()));
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok())
            .filter(|entry| entry.path().join("golden.json").is_file())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// Quantized checkpoints, under `goldens-quantized/`; their tables of sensitivity are empty, since they are of one family
    /// and it is their weights that are looked at.
    #[track_caller]
    pub fn quantized() -> Vec<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens-quantized");
        let entries =
            std::fs::read_dir(&root).unwrap_or_else(|error| panic!("cannot list {}: {error}", root.display()));
        let mut directories: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        directories.sort();
        directories.into_iter().map(Self::load_from).collect()
    }

    /// Reads one by name; panics where it is missing or broken.
    #[track_caller]
    pub fn load(name: &str) -> Self {
        Self::load_from(Self::root().join(name))
    }

    #[track_caller]
    fn load_from(directory: PathBuf) -> Self {
        let name = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let path = directory.join("golden.json");
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        let json: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self::from_json(&name, directory, &json).unwrap_or_else(|| panic!("{}: not as expected", path.display()))
    }

    fn from_json(name: &str, directory: PathBuf, json: &Value) -> Option<Self> {
        let mut sequences = Vec::new();
        for each in json["sequences"].as_array()? {
            let tokens: Vec<u32> =
                each["tokens"].as_array()?.iter().map(|id| Some(id.as_u64()? as u32)).collect::<Option<_>>()?;
            let first_row = each["first_row"].as_u64()? as usize;
            let logits = npy::read(directory.join(each["logits"].as_str()?));
            let &[rows, width] = logits.shape.as_slice() else { return None };
            if first_row + rows != tokens.len() {
                return None;
            }
            sequences.push(GoldenSequence { tokens, first_row, width, logits: logits.f32().to_vec() });
        }
        let sensitivity = json["sensitivity"].as_object()?;
        let sensitivity = sensitivity
            .iter()
            .map(|(what, share)| Some((what.clone(), share.as_f64()? as f32)))
            .collect::<Option<_>>()?;
        let mut gradients = Vec::new();
        if let Some(table) = json.get("gradients") {
            let all = npy::read(directory.join(table["file"].as_str()?));
            let mut rest = all.f32();
            for each in table["weights"].as_array()? {
                let shape: Vec<usize> = each["shape"]
                    .as_array()?
                    .iter()
                    .map(|extent| Some(extent.as_u64()? as usize))
                    .collect::<Option<_>>()?;
                let (values, after) = rest.split_at_checked(shape.iter().product())?;
                rest = after;
                gradients.push(Gradient { name: each["name"].as_str()?.to_owned(), shape, values: values.to_vec() });
            }
            if !rest.is_empty() {
                return None;
            }
        }
        let gguf = Some(directory.join("model.gguf")).filter(|path| path.is_file());
        Some(Self {
            name: name.to_owned(),
            is_encoder: json["kind"] == "encoder",
            gguf,
            sequences,
            tolerance: json["tolerance"].as_f64()? as f32,
            sensitivity,
            loss: json.get("loss").and_then(Value::as_f64).map(|loss| loss as f32),
            gradients,
            directory,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_golden_loads_and_every_setting_matters() {
        for name in Golden::all() {
            let golden = Golden::load(&name);
            assert!(!golden.sequences.is_empty(), "{name}");
            for sequence in &golden.sequences {
                let last = sequence.tokens.len() - 1;
                assert!(sequence.row(last).is_some() && sequence.row(last + 1).is_none(), "{name}");
                assert!(sequence.logits.iter().all(|logit| logit.is_finite()), "{name}");
                let tokens = if golden.is_encoder { usize::MAX } else { sequence.width };
                assert!(sequence.tokens.iter().all(|&id| (id as usize) < tokens), "{name}");
            }
            assert!(!golden.sensitivity.is_empty(), "{name}");
            for (what, share) in &golden.sensitivity {
                assert!(*share >= 100.0 * golden.tolerance, "{name}: {what} moves the logits by {share} only");
            }
            assert_eq!(golden.gradients.is_empty(), golden.loss.is_none(), "{name}");
        }
    }
}
