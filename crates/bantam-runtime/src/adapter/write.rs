//! Writing a PEFT directory that `peft` loads beside the same model.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;

use bantam_cpu::row_lengths;
use bantam_formats::atomic::AtomicFile;
use bantam_formats::safetensors::{Dtype, SafeTensorsWriter};
use bantam_kernels::{Pool, available_threads};
use bantam_model::Checkpoint;
use bantam_model::exchange::{AdapterPlace, SavedPlace, adapter_places, saved_places};
use bantam_plan::{PlanError, Weights};
use serde_json::{Map, Value, json};

use super::{Adapter, AdapterPart, BASE, SavedWeight, TEMPLATE};
use crate::RuntimeError;

/// What a PEFT directory says beside its matrices.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PeftSettings {
    /// The rank that most modules have.
    pub rank: usize,
    /// `lora_alpha`.
    pub alpha: f64,
    /// Whether scales go by the root of the rank.
    pub rank_stabilised: bool,
    /// Share left out while it was trained.
    pub dropout: f32,
    /// The model it belongs to, as the user named it.
    pub base: String,
}

/// A module's adapter as PEFT keeps it.
struct Module {
    rank: usize,
    alpha: f64,
    inputs: usize,
    outputs: usize,
    a: Vec<f32>,
    b: Vec<f32>,
    /// Lengths of all its rows, where it is DoRA's.
    magnitude: Option<Vec<f32>>,
}

/// Puts the parts of one module together: a rank for each, side by side, each in its own rows.
fn together(parts: &[(&AdapterPlace, &AdapterPart)], settings: &PeftSettings) -> Module {
    let (first, _) = parts[0];
    let rank: usize = parts.iter().map(|(_, part)| part.rank).sum();
    let by = |rank: usize| if settings.rank_stabilised { (rank as f64).sqrt() } else { rank as f64 };
    let scale = parts.iter().map(|(_, part)| part.scale).find(|scale| *scale != 0.0).unwrap_or(1.0);
    let alpha = f64::from(scale) * by(rank);
    let (inputs, outputs) = (first.inputs, first.module_outputs);
    let (mut a, mut b) = (Vec::with_capacity(rank * inputs), vec![0.0; outputs * rank]);
    for (place, part) in parts {
        // A module has one scale; what a part has more or less of it goes into its B.
        let factor = part.scale / scale;
        let before = a.len() / inputs.max(1);
        a.extend_from_slice(&part.a);
        for row in 0..place.outputs {
            let ours = &part.b[place.change.source_row(row, place.outputs) * part.rank..][..part.rank];
            let at = (place.rows.start + row) * rank + before;
            b[at..at + part.rank].iter_mut().zip(ours).for_each(|(b, ours)| *b = factor * ours);
        }
    }
    Module { rank, alpha, inputs, outputs, a, b, magnitude: None }
}

/// The lengths of a module's rows: those that are trained, and of rows that no part adapts the weights' own.
fn magnitude(
    checkpoint: &Checkpoint,
    places: &[AdapterPlace],
    parts: &[(&AdapterPlace, &AdapterPart)],
    pool: &LazyCell<Pool>,
) -> Result<Vec<f32>, RuntimeError> {
    let (first, _) = parts[0];
    let mut all = vec![0.0; first.module_outputs];
    let mut put = |place: &AdapterPlace, lengths: &[f32]| {
        for row in 0..place.outputs {
            all[place.rows.start + row] = lengths[place.change.source_row(row, place.outputs)];
        }
    };
    for place in places.iter().filter(|place| place.module == first.module) {
        let part = parts.iter().find(|(other, _)| other.weight == place.weight).map(|(_, part)| part);
        match part.and_then(|part| part.dora.as_ref()) {
            Some(dora) => put(place, &dora.magnitude),
            None => {
                let missing = || PlanError::MissingWeight { name: place.weight.clone() };
                let weight = checkpoint.weight(&place.weight).ok_or_else(missing)?;
                put(place, &row_lengths(pool, &place.weight, &weight, None)?);
            }
        }
    }
    Ok(all)
}

/// What PEFT finds a module by, which is the end of its path: the last part where that is no other module's, too.
fn module_to_save(place: &SavedPlace, all: &[SavedPlace], saved: &[SavedWeight]) -> String {
    let module = place.module();
    let short = module.rsplit_once('.').map_or(module, |(_, short)| short);
    let is_saved = |place: &SavedPlace| saved.iter().any(|saved| saved.weight == place.weight);
    let alone = all.iter().all(|other| !other.module().ends_with(short) || is_saved(other));
    if alone { short.to_owned() } else { module.to_owned() }
}

/// Writes `adapter_config.json` and `adapter_model.safetensors` into a directory, both or, where the disk is full, neither.
///
/// The configuration has only keys that PEFT 0.10 knows: older versions refuse others and newer ones warn of them. The model
/// and the template it belongs to are noted in the tensors' metadata, which nobody else reads.
///
/// # Errors
/// A part of a weight that the model has no module for, and what the file system says.
pub fn write_peft(
    directory: &Path,
    checkpoint: &Checkpoint,
    adapter: &Adapter,
    settings: &PeftSettings,
) -> Result<(), RuntimeError> {
    let refuse = |problem: String| RuntimeError::Adapter { path: directory.to_owned(), problem };
    let places = adapter_places(checkpoint);
    let mut by_module: BTreeMap<&str, Vec<(&AdapterPlace, &AdapterPart)>> = BTreeMap::new();
    for part in &adapter.parts {
        let place = places.iter().find(|place| place.weight == part.weight);
        let place = place.ok_or_else(|| refuse(format!("no module of Hugging Face's holds `{}`", part.weight)))?;
        by_module.entry(&place.module).or_default().push((place, part));
    }
    let (mut ranks, mut alphas) = (Map::new(), Map::new());
    let (mut names, mut transposed) = (BTreeSet::new(), false);
    let mut writer = SafeTensorsWriter::new();
    writer.set("format", "pt");
    writer.set(BASE, adapter.base(checkpoint));
    if let Some(template) = &adapter.template {
        writer.set(TEMPLATE, template.clone());
    }
    let mut data: BTreeMap<String, Vec<f32>> = BTreeMap::new();
    let dora = adapter.is_dora();
    // Threads for those that need lengths of rows; most adapters do not.
    let pool: LazyCell<Pool> = LazyCell::new(|| Pool::new(available_threads()));
    if dora && adapter.parts.iter().any(|part| part.dora.as_ref().is_none_or(|dora| dora.factor != 1.0)) {
        return Err(refuse("PEFT's form has all modules weight-decomposed (DoRA) or none, and wholly".into()));
    }
    for (module, parts) in &by_module {
        let name = parts[0].0.module_name();
        names.insert(name.to_owned());
        transposed |= parts[0].0.transposed;
        let mut made = together(parts, settings);
        if dora {
            made.magnitude = Some(magnitude(checkpoint, &places, parts, &pool)?);
        }
        if made.rank != settings.rank {
            ranks.insert((*module).to_owned(), json!(made.rank));
        }
        if (made.alpha - settings.alpha).abs() > 1e-6 * settings.alpha.abs() {
            alphas.insert((*module).to_owned(), number(made.alpha));
        }
        for (letter, rows, width, values) in
            [("A", made.rank, made.inputs, made.a), ("B", made.outputs, made.rank, made.b)]
        {
            let name = format!("base_model.model.{module}.lora_{letter}.weight");
            writer.add_tensor(name.clone(), Dtype::F32, &[rows as u64, width as u64])?;
            data.insert(name, values);
        }
        if let Some(values) = made.magnitude {
            let name = format!("base_model.model.{module}.lora_magnitude_vector");
            writer.add_tensor(name.clone(), Dtype::F32, &[made.outputs as u64])?;
            data.insert(name, values);
        }
    }
    let (mut saved_modules, mut whole) = (BTreeSet::new(), Vec::new());
    if !adapter.saved.is_empty() {
        whole = saved_places(checkpoint).map_err(|error| refuse(error.to_string()))?;
    }
    for saved in &adapter.saved {
        let place = whole.iter().find(|place| place.weight == saved.weight);
        let place = place.ok_or_else(|| refuse(format!("no module of Hugging Face's is `{}` alone", saved.weight)))?;
        saved_modules.insert(module_to_save(place, &whole, &adapter.saved));
        let shape: Vec<u64> = place.shape.iter().map(|extent| *extent as u64).collect();
        let name = format!("base_model.model.{}", place.tensor);
        writer.add_tensor(name.clone(), Dtype::F32, &shape)?;
        data.insert(name, saved.values.iter().map(|x| x + place.shift).collect());
    }
    let saved_modules = if saved_modules.is_empty() { Value::Null } else { json!(saved_modules) };
    std::fs::create_dir_all(directory)
        .map_err(|error| RuntimeError::Write { path: directory.to_owned(), problem: error.to_string() })?;
    let matrices = writer.sealed(&directory.join("adapter_model.safetensors"), |tensor, out| {
        let values = data.get(&tensor.name).map_or(&[][..], Vec::as_slice);
        values.iter().try_for_each(|x| out.write_all(&x.to_le_bytes()))
    })?;
    let config = json!({
        "alpha_pattern": alphas,
        "base_model_name_or_path": settings.base,
        "bias": "none",
        "fan_in_fan_out": transposed,
        "inference_mode": true,
        "init_lora_weights": true,
        "lora_alpha": number(settings.alpha),
        "lora_dropout": settings.dropout,
        "modules_to_save": saved_modules,
        "peft_type": "LORA",
        "r": settings.rank,
        "rank_pattern": ranks,
        "target_modules": names,
        "task_type": "CAUSAL_LM",
        "use_dora": dora,
        "use_rslora": settings.rank_stabilised,
    });
    let path = directory.join("adapter_config.json");
    let mut file = AtomicFile::create(&path)?;
    let text = serde_json::to_string_pretty(&config).unwrap_or_default() + "\n";
    let failed = |error: std::io::Error| RuntimeError::Write { path: path.clone(), problem: error.to_string() };
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.seal()?;
    // Both are on the disk; now they get their names, one right behind the other.
    matrices.commit()?;
    file.commit()?;
    Ok(())
}

/// A whole number without its point, as PEFT writes alphas.
fn number(x: f64) -> Value {
    if x.fract() == 0.0 && x.abs() < 1e9 { json!(x as i64) } else { json!(x) }
}
