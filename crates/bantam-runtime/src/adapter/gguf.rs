//! Adapters as GGUF files, as llama.cpp reads and writes them (`llama_adapter_lora_init` of its `src/llama-adapter.cpp`).
//!
//! Metadata `general.type` is `adapter`, `adapter.type` is `lora`, `adapter.lora.alpha` one number for all; each weight has
//! `NAME.lora_a [rank, inputs]` and `NAME.lora_b [outputs, rank]`, rows in GGUF's own order. The scale is alpha / rank, so what
//! is rank-stabilised is written with alpha · √rank. What the form cannot hold is refused by name.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use bantam_formats::gguf::{Gguf, GgufWriter, TensorKind, Value};
use bantam_model::exchange::{AdapterPlace, adapter_places};
use bantam_model::{Checkpoint, TOKEN_EMBEDDING};
use bantam_tensor::TensorType;

use super::{Adapter, AdapterPart, AnyBase, BASE, TEMPLATE, foreign_base, refuse};
use crate::files::map;
use crate::{RuntimeError, in_words, memory_limit};

/// A weight's place in a GGUF file, which may hold several of ours in one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdapterTensor {
    /// Our name of the weight.
    pub weight: String,
    /// The tensor's name.
    pub tensor: String,
    /// Which of the tensor's rows are the weight's.
    pub rows: Range<usize>,
    /// All of its rows.
    pub outputs: usize,
    /// Its width.
    pub inputs: usize,
}

/// Where the weights that can have an adapter lie in a GGUF model's file.
pub fn adapter_tensors(checkpoint: &Checkpoint) -> Vec<AdapterTensor> {
    let all = adapter_places(checkpoint);
    let tensor_of = |place: &AdapterPlace| checkpoint.tensor(&place.weight).map(|tensor| tensor.file_name.clone());
    let tensors: Vec<Option<String>> = all.iter().map(tensor_of).collect();
    let place = |place: AdapterPlace| {
        let tensor = tensor_of(&place)?;
        let alone = tensors.iter().flatten().filter(|other| **other == tensor).count() == 1;
        let (rows, outputs) =
            if alone { (0..place.outputs, place.outputs) } else { (place.rows, place.module_outputs) };
        Some(AdapterTensor { tensor, rows, outputs, inputs: place.inputs, weight: place.weight })
    };
    all.into_iter().filter_map(place).collect()
}

/// Reads an adapter of this model from a GGUF file.
///
/// # Errors
/// What the file says that cannot be honoured, by name; weights that the model does not have; shapes that do not fit it.
pub fn read_gguf_adapter(path: &Path, checkpoint: &Checkpoint, any_base: AnyBase) -> Result<Adapter, RuntimeError> {
    let bytes = map(path)?;
    let file = Gguf::parse(&bytes).map_err(|error| error.in_file(path))?;
    let text = |key: &str| file.str(key).map_err(|error| error.in_file(path));
    for (key, expected) in [("general.type", "adapter"), ("adapter.type", "lora")] {
        let found = text(key)?.unwrap_or("missing");
        if found != expected {
            return Err(refuse(path, format!("expected an adapter whose `{key}` is `{expected}`, found `{found}`")));
        }
    }
    let (base, own) = (text("general.architecture")?.unwrap_or_default(), checkpoint.architecture());
    let Some(own) = own else {
        let problem = "it adapts weights in the order that GGUF has them; use it with the model as GGUF";
        return Err(refuse(path, problem));
    };
    if base != own {
        return Err(refuse(path, format!("it is for a model of architecture `{base}`, and this one is `{own}`")));
    }
    let foreign_base = foreign_base(path, text(BASE)?, checkpoint, any_base)?;
    let alpha = file.f32("adapter.lora.alpha").map_err(|error| error.in_file(path))?.unwrap_or(0.0);
    if !alpha.is_finite() {
        return Err(refuse(path, "`adapter.lora.alpha` is no number"));
    }
    // Numbers are decoded into memory: no more of them than there is room for.
    let numbers = file.tensors().iter().map(|tensor| (tensor.rows() as u64).saturating_mul(tensor.width() as u64));
    let needed = numbers.fold(0u64, u64::saturating_add).saturating_mul(8);
    if let Some(limit) = memory_limit(None).filter(|limit| limit.bytes < needed) {
        let problem = format!("it needs {}, but {} {}", in_words(needed), limit.whose, in_words(limit.bytes));
        return Err(refuse(path, problem));
    }
    // Shapes of every pair, before any number is decoded.
    let mut pairs: BTreeMap<&str, [Option<usize>; 2]> = BTreeMap::new();
    for (at, tensor) in file.tensors().iter().enumerate() {
        let unknown = || refuse(path, format!("tensor `{}` is no part of a LoRA adapter", tensor.name));
        let a = tensor.name.strip_suffix(".lora_a").map(|name| (name, 0));
        let (name, which) = a.or(tensor.name.strip_suffix(".lora_b").map(|name| (name, 1))).ok_or_else(unknown)?;
        pairs.entry(name).or_default()[which] = Some(at);
    }
    let places = adapter_tensors(checkpoint);
    let template = text(TEMPLATE)?.map(str::to_owned);
    let mut adapter = Adapter { template, foreign_base, ..Adapter::default() };
    for (name, pair) in pairs {
        let [Some(a), Some(b)] = pair else {
            return Err(refuse(path, format!("weight `{name}` has only one of its two matrices")));
        };
        if name == TOKEN_EMBEDDING {
            return Err(refuse(path, format!("`{name}`: adapters of the look-up of tokens are not supported")));
        }
        let here: Vec<&AdapterTensor> = places.iter().filter(|place| place.tensor == name).collect();
        let Some(first) = here.first() else { return Err(refuse(path, format!("this model has no linear `{name}`"))) };
        let (outputs, inputs) = (first.outputs, first.inputs);
        let (a, b) = (&file.tensors()[a], &file.tensors()[b]);
        let rank = a.rows();
        if rank == 0 || (a.width(), b.rows(), b.width()) != (inputs, outputs, rank) {
            let found = format!("[{rank}, {}] and [{}, {}]", a.width(), b.rows(), b.width());
            let problem = format!("weight `{name}`: expected [r, {inputs}] and [{outputs}, r], found {found}");
            return Err(refuse(path, problem));
        }
        let numbers = |tensor: &bantam_formats::gguf::TensorInfo| {
            let undecodable = || refuse(path, format!("tensor `{}` is of a type that cannot be decoded", tensor.name));
            let known = tensor.kind.known().ok_or_else(undecodable)?;
            let data = bytes.slice(tensor.range.clone()).ok_or_else(undecodable)?;
            // Its numbers are bounded by the bytes that are there.
            if known.bytes(tensor.rows(), tensor.width()).ok() != Some(data.len()) {
                return Err(undecodable());
            }
            let mut values = vec![0.0; tensor.rows() * tensor.width()];
            known.decode(&data, &mut values).map_err(|error| refuse(path, error.to_string()))?;
            Ok(values)
        };
        let scale = if alpha == 0.0 { 1.0 } else { alpha / rank as f32 };
        let (a, b) = (numbers(a)?, numbers(b)?);
        for place in here {
            let b = b[place.rows.start * rank..place.rows.end * rank].to_vec();
            adapter.parts.push(AdapterPart { weight: place.weight.clone(), rank, scale, a: a.clone(), b, dora: None });
        }
    }
    if adapter.parts.is_empty() {
        return Err(refuse(path, "it holds no adapter"));
    }
    Ok(adapter)
}

/// Writes an adapter of this model, which is GGUF, as a GGUF file that llama.cpp reads.
///
/// # Errors
/// A model in another form, an adapter of the head of a model that has it from its table of tokens, and what the file system
/// says.
pub fn write_gguf_adapter(path: &Path, checkpoint: &Checkpoint, adapter: &Adapter) -> Result<(), RuntimeError> {
    let Some(architecture) = checkpoint.architecture() else {
        let problem =
            "a GGUF adapter has its rows in the order of a GGUF model: name the model as GGUF (bantam convert)";
        return Err(refuse(path, problem));
    };
    let Some(first) = adapter.parts.iter().max_by_key(|part| part.scale != 0.0) else {
        return Err(refuse(path, "there is no adapter to write"));
    };
    if let Some(saved) = adapter.saved.first() {
        let problem = format!(
            "GGUF's form of an adapter has no place for saved modules (`{}`); keep it in PEFT's form, or merge it into the model \
             (bantam merge MODEL ADAPTER -o MERGED.gguf)",
            saved.weight
        );
        return Err(refuse(path, problem));
    }
    if adapter.is_dora() {
        let problem = "GGUF's form of an adapter has no place for DoRA's magnitudes; keep it in PEFT's form, or merge it into \
                       the model (bantam merge MODEL ADAPTER -o MERGED.gguf)";
        return Err(refuse(path, problem));
    }
    if adapter.is_of_token_table() {
        let problem = "the model's head is its table of tokens, whose adapter would mean the look-up in a GGUF file; train \
                       without it (--target all-linear), or keep it in PEFT's form";
        return Err(refuse(path, problem));
    }
    // One alpha for all; what a weight's scale is more or less than that goes into its B.
    let alpha = if first.scale == 0.0 { 1.0 } else { first.scale } * first.rank as f32;
    if !alpha.is_finite() {
        return Err(refuse(
            path,
            format!("a scale of {} at rank {} is too much for its alpha", first.scale, first.rank),
        ));
    }
    let mut writer = GgufWriter::new();
    for (key, value) in [
        ("general.architecture", architecture.to_owned()),
        ("general.type", "adapter".to_owned()),
        ("adapter.type", "lora".to_owned()),
        (BASE, adapter.base(checkpoint)),
    ] {
        writer.set(key, value);
    }
    if let Some(template) = &adapter.template {
        writer.set(TEMPLATE, template.clone());
    }
    writer.set("adapter.lora.alpha", Value::F32(alpha));
    writer.set("general.file_type", Value::U32(0));
    let mut data: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let places = adapter_tensors(checkpoint);
    let mut tensors: BTreeMap<&str, Vec<(&AdapterTensor, &AdapterPart)>> = BTreeMap::new();
    for part in &adapter.parts {
        let place = places.iter().find(|place| place.weight == part.weight);
        let place = place.ok_or_else(|| refuse(path, format!("this model has no linear `{}`", part.weight)))?;
        tensors.entry(&place.tensor).or_default().push((place, part));
    }
    for (name, parts) in tensors {
        // Several adapters of one tensor stand side by side, each in its own rows.
        let rank: usize = parts.iter().map(|(_, part)| part.rank).sum();
        let (inputs, outputs) = (parts[0].0.inputs, parts[0].0.outputs);
        let (mut a, mut b) = (Vec::with_capacity(rank * inputs), vec![0.0f32; outputs * rank]);
        for (place, part) in parts {
            let (before, factor) = (a.len() / inputs.max(1), part.scale * rank as f32 / alpha);
            a.extend_from_slice(&part.a);
            for (row, ours) in place.rows.clone().zip(part.b.chunks_exact(part.rank)) {
                let into = &mut b[row * rank + before..][..part.rank];
                into.iter_mut().zip(ours).for_each(|(b, ours)| *b = factor * ours);
            }
        }
        let kind = TensorKind::Known(TensorType::F32);
        for (letter, width, rows, values) in [("a", inputs, rank, a), ("b", rank, outputs, b)] {
            let name = format!("{name}.lora_{letter}");
            writer.add_tensor(name.as_str(), &[width as u64, rows as u64], kind)?;
            data.insert(name, values.iter().flat_map(|x| x.to_le_bytes()).collect());
        }
    }
    writer.write(path, |tensor, out| out.write_all(data.get(&tensor.name).map_or(&[][..], Vec::as_slice)))?;
    Ok(())
}
