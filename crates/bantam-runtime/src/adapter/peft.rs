//! Reading a PEFT directory: `adapter_config.json` and `adapter_model.safetensors` (Hugging Face's `peft`, LoRA).

use std::collections::BTreeMap;
use std::path::Path;

use bantam_formats::safetensors::{SafeTensor, SafeTensors};
use bantam_model::exchange::{AdapterPlace, SavedPlace, adapter_places, saved_places};
use bantam_model::{Checkpoint, ModelError};
use bantam_tensor::SharedBytes;
use serde_json::{Map, Value};

use super::{Adapter, AdapterPart, BASE, Dora, SavedWeight, TEMPLATE, foreign_base, refuse};
use crate::files::map;
use crate::{RuntimeError, in_words, memory_limit};

/// Largest `adapter_config.json`.
const LARGEST_CONFIG: u64 = 1 << 20;

/// Where adapters written before their notes went to the tensors' file have them.
const NOTES: &str = "bantam";

/// Settings that say how an adapter was made and change nothing of what it computes.
const HARMLESS: [&str; 23] = [
    "auto_mapping",
    "base_model_name_or_path",
    "revision",
    "task_type",
    "inference_mode",
    "lora_dropout",
    "init_lora_weights",
    "target_modules",
    "layers_to_transform",
    "layers_pattern",
    "loftq_config",
    "eva_config",
    "corda_config",
    "megatron_config",
    "megatron_core",
    "runtime_config",
    "peft_version",
    "qalora_group_size",
    "exclude_modules",
    "fan_in_fan_out",
    "lora_ga_config",
    "monteclora_config",
    NOTES,
];
/// Settings that are read.
const READ: [&str; 9] = [
    "peft_type",
    "r",
    "lora_alpha",
    "use_rslora",
    "use_dora",
    "rank_pattern",
    "alpha_pattern",
    "bias",
    "modules_to_save",
];

/// Rows, width and numbers of a matrix.
type Numbers = (usize, usize, Vec<f32>);

/// What `adapter_config.json` says.
struct Config {
    alpha: f64,
    rank_stabilised: bool,
    dora: bool,
    /// Modules that come whole, by the ends of their paths.
    saved: Vec<String>,
    /// Alphas of modules whose path ends so.
    alphas: Vec<(String, f64)>,
    /// Our notes, where they stood before they went to the tensors' file: under a key that PEFT does not know.
    notes: Option<Value>,
}

impl Config {
    fn read(path: &Path) -> Result<Self, RuntimeError> {
        let failed = |error: std::io::Error| RuntimeError::Read { path: path.to_owned(), problem: error.to_string() };
        if std::fs::metadata(path).map_err(failed)?.len() > LARGEST_CONFIG {
            return Err(refuse(path, "a configuration of more than a megabyte"));
        }
        let bytes = std::fs::read(path).map_err(failed)?;
        let config: Map<String, Value> =
            serde_json::from_slice(&bytes).map_err(|error| refuse(path, error.to_string()))?;
        let kind = config.get("peft_type").and_then(Value::as_str).unwrap_or("");
        if kind != "LORA" {
            return Err(refuse(path, format!("expected an adapter of type LORA, found `{kind}`")));
        }
        for (key, value) in &config {
            let says_nothing = match value {
                Value::Null | Value::Bool(false) => true,
                Value::Array(list) => list.is_empty(),
                Value::Object(map) => map.is_empty(),
                Value::Bool(true) | Value::Number(_) | Value::String(_) => false,
            };
            if !says_nothing && !HARMLESS.contains(&key.as_str()) && !READ.contains(&key.as_str()) {
                let value: String = value.to_string().chars().take(60).collect();
                return Err(refuse(path, format!("`{key}` is {value}, which Bantam does not understand")));
            }
        }
        // Others take a part of the model's own weights for the adapter, which then fits what is left of them.
        if let Some(Value::String(begun)) = config.get("init_lora_weights")
            && !["gaussian", "orthogonal", "eva"].contains(&begun.as_str())
        {
            let begun: String = begun.chars().take(60).collect();
            return Err(refuse(
                path,
                format!("`init_lora_weights` is {begun}: it changes the base; convert it to plain LoRA"),
            ));
        }
        match config.get("bias").and_then(Value::as_str).unwrap_or("none") {
            "none" => {}
            other => return Err(refuse(path, format!("`bias` is {other}: adapters with biases are not supported"))),
        }
        let number = |value: &Value| value.as_f64().filter(|number| number.is_finite());
        let alpha = config.get("lora_alpha").and_then(number);
        let alpha = alpha.ok_or_else(|| refuse(path, "`lora_alpha` is no number"))?;
        let mut alphas = Vec::new();
        if let Some(Value::Object(pattern)) = config.get("alpha_pattern") {
            for (key, value) in pattern {
                let value =
                    number(value).ok_or_else(|| refuse(path, format!("`alpha_pattern` of {key} is no number")))?;
                alphas.push((plain_pattern(key).ok_or_else(|| not_plain(path, "alpha_pattern", key))?, value));
            }
        }
        if let Some(Value::Object(pattern)) = config.get("rank_pattern") {
            // The tensors say the ranks themselves.
            if let Some(key) = pattern.keys().find(|key| plain_pattern(key).is_none()) {
                return Err(not_plain(path, "rank_pattern", key));
            }
        }
        let mut saved = Vec::new();
        for name in config.get("modules_to_save").and_then(Value::as_array).into_iter().flatten() {
            let none = || refuse(path, "`modules_to_save` is no list of names");
            saved.push(name.as_str().filter(|name| !name.is_empty()).ok_or_else(none)?.to_owned());
        }
        let is_on = |key: &str| config.get(key).and_then(Value::as_bool).unwrap_or(false);
        let (rank_stabilised, dora) = (is_on("use_rslora"), is_on("use_dora"));
        let notes = config.get(NOTES).cloned();
        for key in [BASE, TEMPLATE].iter().filter_map(|key| key.strip_prefix("bantam.")) {
            let note = match &notes {
                None => continue,
                Some(Value::Object(notes)) => notes.get(key),
                Some(_) => return Err(refuse(path, format!("`{NOTES}` is no object of notes"))),
            };
            if !note.is_none_or(|note| note.is_null() || note.is_string()) {
                return Err(refuse(path, format!("`{NOTES}.{key}` is no text")));
            }
        }
        Ok(Self { alpha, rank_stabilised, dora, saved, alphas, notes })
    }

    /// A note of ours: from the metadata of the tensors' file, or from where it stood before.
    fn note(&self, file: &SafeTensors, key: &str) -> Option<String> {
        let noted = file.metadata().iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
        let before = || self.notes.as_ref()?.get(key.strip_prefix("bantam.")?)?.as_str();
        noted.or_else(before).map(str::to_owned)
    }

    fn scale(&self, module: &str, rank: usize) -> f32 {
        let ends = |name: &str| module.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        let alpha = self.alphas.iter().find(|(name, _)| ends(name)).map_or(self.alpha, |(_, alpha)| *alpha);
        let by = if self.rank_stabilised { (rank as f64).sqrt() } else { rank as f64 };
        (alpha / by) as f32
    }
}

fn not_plain(path: &Path, key: &str, pattern: &str) -> RuntimeError {
    refuse(path, format!("`{key}` has the expression `{pattern}`: only modules' names are supported"))
}

/// A pattern that is a module's name or the end of its path. PEFT takes them as regular expressions; `.` there also stands
/// for itself.
fn plain_pattern(pattern: &str) -> Option<String> {
    let name = pattern.replace("\\.", ".");
    name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.')).then_some(name)
}

/// Whether an adapter may stand beside another model than the one it was trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnyBase {
    /// Any whose shapes fit.
    Yes,
    /// Only its own, where the adapter says which that is.
    No,
}

/// Reads a weight that comes whole.
fn saved_weight(
    path: &Path,
    bytes: &SharedBytes,
    tensor: &SafeTensor,
    place: &SavedPlace,
) -> Result<SavedWeight, RuntimeError> {
    let shape: Vec<u64> = place.shape.iter().map(|extent| *extent as u64).collect();
    let problem = || format!("tensor `{}`: expected numbers of shape {shape:?}, found {:?}", tensor.name, tensor.shape);
    let (rows, width) = match place.shape[..] {
        [width] => (1, width),
        [rows, width] => (rows, width),
        _ => return Err(refuse(path, problem())),
    };
    let known = tensor.dtype.tensor_type().filter(|_| tensor.shape == shape);
    let data = bytes.slice(tensor.range.clone());
    let (Some(known), Some(data)) = (known, data) else { return Err(refuse(path, problem())) };
    // Its numbers are bounded by the bytes that are there.
    if known.bytes(rows, width).ok() != Some(data.len()) {
        return Err(refuse(path, problem()));
    }
    let mut values = vec![0.0; rows * width];
    known.decode(&data, &mut values).map_err(|error| refuse(path, error.to_string()))?;
    values.iter_mut().for_each(|x| *x -= place.shift);
    Ok(SavedWeight { weight: place.weight.clone(), rows, values })
}

/// Reads an adapter of this model from a PEFT directory.
///
/// # Errors
/// What the files say that cannot be honoured, by name; modules that the model does not have; shapes that do not fit it.
pub fn read_peft(directory: &Path, checkpoint: &Checkpoint, any_base: AnyBase) -> Result<Adapter, RuntimeError> {
    let config = Config::read(&directory.join("adapter_config.json"))?;
    let path = directory.join("adapter_model.safetensors");
    let bytes = map(&path)?;
    let file = SafeTensors::parse(&bytes).map_err(|error| error.in_file(&path))?;
    let foreign_base = foreign_base(directory, config.note(&file, BASE).as_deref(), checkpoint, any_base)?;
    // Numbers are decoded into memory: no more of them than there is room for.
    let numbers: u64 = file.tensors().iter().map(|tensor| tensor.range.len() as u64).sum();
    if let Some(limit) = memory_limit(None).filter(|limit| limit.bytes < numbers.saturating_mul(2)) {
        let problem = format!("it needs {}, but {} {}", in_words(2 * numbers), limit.whose, in_words(limit.bytes));
        return Err(refuse(&path, problem));
    }
    let places = adapter_places(checkpoint);
    let mut modules: BTreeMap<String, [Option<Numbers>; 3]> = BTreeMap::new();
    let failed = |error: ModelError| refuse(directory, error.to_string());
    let whole = if config.saved.is_empty() { Vec::new() } else { saved_places(checkpoint).map_err(failed)? };
    let mut adapter = Adapter { template: config.note(&file, TEMPLATE), foreign_base, ..Adapter::default() };
    for tensor in file.tensors() {
        let unknown = || refuse(&path, format!("tensor `{}` is no part of a LoRA adapter of this model", tensor.name));
        let name = tensor.name.strip_prefix("base_model.model.").ok_or_else(unknown)?;
        // By our name of it, since a tensor may go by several paths; heads alone have one of their own here.
        let named = |tensor: &str| if tensor == "lm_head.weight" { None } else { checkpoint.gguf_name(tensor) };
        let is_it = |place: &&SavedPlace| {
            config.saved.iter().any(|end| place.module().ends_with(end.as_str()))
                && (place.tensor == name || named(name).is_some_and(|ours| named(&place.tensor) == Some(ours)))
        };
        if let Some(place) = whole.iter().find(is_it) {
            adapter.saved.push(saved_weight(&path, &bytes, tensor, place)?);
            continue;
        }
        let (module, which) = name
            .strip_suffix(".lora_A.weight")
            .map(|module| (module, 0))
            .or_else(|| name.strip_suffix(".lora_B.weight").map(|module| (module, 1)))
            .or_else(|| name.strip_suffix(".lora_magnitude_vector").filter(|_| config.dora).map(|module| (module, 2)))
            .ok_or_else(unknown)?;
        let shape = match (which, &tensor.shape[..]) {
            (2, &[length]) => Some([1, length]),
            (0 | 1, &[rows, width]) => Some([rows, width]),
            _ => None,
        };
        let (Some([rows, width]), Some(tensor_type)) = (shape, tensor.dtype.tensor_type()) else {
            let expected = if which == 2 { "vector" } else { "matrix" };
            return Err(refuse(&path, format!("tensor `{}` is no {expected} of plain numbers", tensor.name)));
        };
        let fits = |n: u64| usize::try_from(n).ok().filter(|n| *n > 0);
        let (rows, width) = fits(rows).zip(fits(width)).ok_or_else(unknown)?;
        let data = bytes.slice(tensor.range.clone()).ok_or_else(unknown)?;
        // Its numbers are bounded by the bytes that are there.
        if tensor_type.bytes(rows, width).ok() != Some(data.len()) {
            return Err(unknown());
        }
        let mut values = vec![0.0; rows * width];
        tensor_type.decode(&data, &mut values).map_err(|error| refuse(&path, error.to_string()))?;
        modules.entry(module.to_owned()).or_default()[which] = Some((rows, width, values));
    }
    for end in &config.saved {
        let is_named = |place: &&SavedPlace| place.module().ends_with(end.as_str());
        let held = |place: &SavedPlace| adapter.saved.iter().any(|saved| saved.weight == place.weight);
        if !whole.iter().filter(is_named).any(held) {
            return Err(refuse(&path, format!("`modules_to_save` names `{end}`, and the file holds no weight of it")));
        }
    }
    for (module, pair) in modules {
        let [Some((rank, inputs, a)), Some((outputs, inner, b)), magnitude] = pair else {
            return Err(refuse(&path, format!("module `{module}` has only one of its two matrices")));
        };
        if config.dora && magnitude.as_ref().is_none_or(|(_, length, _)| *length != outputs) {
            let problem =
                format!("module `{module}`: expected a magnitude for each of its {outputs} rows (`use_dora`)");
            return Err(refuse(&path, problem));
        }
        // By our name of it, since one module may go by several paths.
        let named = |module: &str| checkpoint.gguf_name(&format!("{module}.weight"));
        let wanted = named(&module);
        let is_it =
            |place: &&AdapterPlace| place.module == module || (wanted.is_some() && named(&place.module) == wanted);
        let here: Vec<&AdapterPlace> = places.iter().filter(is_it).collect();
        let Some(first) = here.first() else {
            return Err(refuse(&path, format!("this model has no linear `{module}`")));
        };
        if (inputs, outputs, inner) != (first.inputs, first.module_outputs, rank) {
            let expected = format!("[r, {}] and [{}, r]", first.inputs, first.module_outputs);
            let found = format!("[{rank}, {inputs}] and [{outputs}, {inner}]");
            return Err(refuse(&path, format!("module `{module}`: expected {expected}, found {found}")));
        }
        let scale = config.scale(&module, rank);
        if !scale.is_finite() {
            return Err(refuse(directory, format!("module `{module}`: its alpha makes a scale that is no number")));
        }
        for place in here {
            let mut turned = vec![0.0; place.outputs * rank];
            let mut lengths = vec![0.0; if magnitude.is_some() { place.outputs } else { 0 }];
            for row in 0..place.outputs {
                let ours = place.change.source_row(row, place.outputs);
                turned[ours * rank..][..rank].copy_from_slice(&b[(place.rows.start + row) * rank..][..rank]);
                if let Some((_, _, magnitude)) = &magnitude {
                    lengths[ours] = magnitude[place.rows.start + row];
                }
            }
            let dora = magnitude.as_ref().map(|_| Dora { magnitude: lengths, factor: 1.0 });
            let (weight, a) = (place.weight.clone(), a.clone());
            adapter.parts.push(AdapterPart { weight, rank, scale, a, b: turned, dora });
        }
    }
    if adapter.parts.is_empty() && adapter.saved.is_empty() {
        return Err(refuse(&path, "it holds no adapter"));
    }
    Ok(adapter)
}
