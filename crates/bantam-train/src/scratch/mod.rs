//! A small model from nothing: a spec, a tokenizer learnt from the corpus, first weights, and then training like any other.
//!
//! The new model is written as a GGUF file of its first weights, opened like every model and trained with
//! [`Method::Full`]: there is no second road. [`finish`] writes it with the weights it has learnt.

mod corpus;
mod heads;
mod onward;
mod spec;
mod vocabulary;
mod weights;

pub use corpus::examples;
pub use onward::beginning;
pub use spec::{BeginSpec, Optimiser, ScratchSpec, TokenizerSpec, TrainingSpec};
pub use vocabulary::learn;

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;

use bantam_formats::gguf::{Array, Gguf, GgufWriter, Strings, TensorHeader, TensorKind};
use bantam_kernels::Mapping;
use bantam_model::spec::Mixer;
use bantam_runtime::{Model, OpenOptions};
use bantam_tensor::TensorType;
use bantam_text::Vocabulary;

use crate::optimiser::{AdamW, Muon};
use crate::{Method, TrainError, TrainOptions};

impl ScratchSpec {
    /// How it is trained, as the trainer takes it.
    ///
    /// # Errors
    /// A schedule that there is not.
    pub fn options(&self) -> Result<TrainOptions, TrainError> {
        let training = &self.training;
        Ok(TrainOptions {
            method: Method::Full,
            rate: training.rate,
            schedule: self.schedule().map_err(TrainError::Option)?,
            warmup: training.warmup,
            dropout: training.dropout,
            prompt_weight: training.prompt_weight,
            average: training.average,
            epochs: training.epochs,
            batch: training.batch,
            rows: training.rows,
            clip: (training.clip > 0.0).then_some(training.clip),
            optimiser: AdamW {
                beta2: training.beta2,
                weight_decay: training.weight_decay,
                eight_bit: training.optimiser == Optimiser::EightBit,
                muon: (training.optimiser == Optimiser::Muon).then(Muon::default),
                ..AdamW::default()
            },
            seed: training.seed,
            ..TrainOptions::default()
        })
    }
}

/// The header of the new model's file, and what its tensors are.
fn header(spec: &ScratchSpec, vocabulary: &Vocabulary) -> Result<(GgufWriter, Vec<weights::Tensor>), TrainError> {
    let tensors = weights::tensors(spec, vocabulary.tokens.len());
    let mut writer = GgufWriter::new();
    metadata(spec, vocabulary, &mut writer);
    for tensor in &tensors {
        writer.add_tensor(tensor.name.as_str(), &tensor.dims(), TensorKind::Known(TensorType::F32))?;
    }
    Ok((writer, tensors))
}

/// Writes the new model's file with nothing drawn: zeros that take no room on a disk that knows holes. What training will take
/// can be told from it.
///
/// # Errors
/// What the file system says.
pub fn outline(spec: &ScratchSpec, vocabulary: &Vocabulary, target: &Path) -> Result<(), TrainError> {
    Ok(header(spec, vocabulary)?.0.write_outline(target)?)
}

/// Bytes of the finished model's numbers.
///
/// # Errors
/// A type of weights that there is not.
pub fn finished_bytes(spec: &ScratchSpec, numbers: u64) -> Result<u64, TrainError> {
    let tensor_type = spec.weight_type().map_err(TrainError::Option)?;
    Ok(if tensor_type == TensorType::F32 { 4 } else { 2 } * numbers)
}

/// Writes the new model with its first weights, in f32.
///
/// # Errors
/// Vectors to begin with that do not fit, and what the file system says.
pub fn begin(
    spec: &ScratchSpec,
    directory: &Path,
    vocabulary: &Vocabulary,
    target: &Path,
) -> Result<usize, TrainError> {
    let (writer, tensors) = header(spec, vocabulary)?;
    let draw = |(place, tensor)| weights::draw(tensor, place, spec.training.seed);
    let mut drawn: Vec<Vec<f32>> = tensors.iter().enumerate().map(draw).collect();
    let mut found = 0;
    if let Some(vectors) = &spec.begin.embeddings {
        found = weights::begin_with(&directory.join(vectors), vocabulary, (&mut drawn[0], spec.width))?;
    }
    let write = |drawn: &[Vec<f32>]| -> Result<(), TrainError> {
        let mut numbers = drawn.iter();
        writer.write(target, |_, out| numbers.next().map_or(Ok(()), |numbers| put(numbers, TensorType::F32, out)))?;
        Ok(())
    };
    write(&drawn)?;
    if !spec.begin.looks_back.is_empty() {
        // How its places turn is the family's to say, which reads it from the file.
        let model = Model::open(target, &OpenOptions::default())?;
        let Some(Mixer::Attention(attention)) = model.spec().layers.first().map(|layer| &layer.mixer) else {
            return Err(TrainError::Option("`begin.looks_back`: the model has no layer".into()));
        };
        heads::look_back(spec, attention, &tensors, &mut drawn).map_err(TrainError::Option)?;
        write(&drawn)?;
    }
    Ok(found)
}

fn put(numbers: &[f32], tensor_type: TensorType, out: &mut dyn Write) -> io::Result<()> {
    let mut bytes = Vec::new();
    for chunk in numbers.chunks(4096) {
        bytes.clear();
        bytes.resize(tensor_type.bytes(1, chunk.len()).map_err(io::Error::other)?, 0);
        tensor_type.encode(chunk, &mut bytes).map_err(io::Error::other)?;
        out.write_all(&bytes)?;
    }
    Ok(())
}

fn metadata(spec: &ScratchSpec, vocabulary: &Vocabulary, writer: &mut GgufWriter) {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    writer.set("general.architecture", spec.family.as_str());
    writer.set("general.type", "model");
    for (key, text) in &spec.general {
        writer.set(format!("general.{key}"), text.as_str());
    }
    writer.set("general.file_type", 0u32);
    let settings = [
        ("context_length", spec.context),
        ("embedding_length", spec.width),
        ("block_count", spec.layers),
        ("feed_forward_length", spec.feed_forward()),
        ("attention.head_count", spec.heads),
        ("attention.head_count_kv", spec.kv_heads()),
        ("attention.key_length", spec.head_width()),
        ("attention.value_length", spec.head_width()),
        ("rope.dimension_count", spec.head_width()),
        ("vocab_size", vocabulary.tokens.len()),
    ];
    for (key, value) in settings {
        writer.set(format!("{}.{key}", spec.family), count(value));
    }
    writer.set(format!("{}.attention.layer_norm_rms_epsilon", spec.family), spec.norm_eps);
    writer.set(format!("{}.rope.freq_base", spec.family), spec.rope_base);
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    writer.set(key("model"), vocabulary.model.as_str());
    if let Some(pre) = &vocabulary.pre {
        writer.set(key("pre"), pre.as_str());
    }
    writer.set(key("tokens"), Array::Strings(vocabulary.tokens.iter().collect::<Strings>()));
    writer.set(key("token_type"), Array::I32(vocabulary.types.clone()));
    writer.set(key("merges"), Array::Strings(vocabulary.merges.iter().collect::<Strings>()));
    for (name, id) in [("bos_token_id", vocabulary.bos), ("eos_token_id", vocabulary.eos)] {
        if let Some(id) = id {
            writer.set(key(name), id);
        }
    }
    writer.set(key("add_bos_token"), vocabulary.add_bos.unwrap_or(false));
    writer.set(key("add_eos_token"), false);
    if let Some(template) = &spec.chat_template {
        writer.set("tokenizer.chat_template", template.as_str());
    }
}

/// Writes the model of `begun` with these weights in its tensors' places to `target`.
///
/// # Errors
/// A damaged beginning, weights that do not fit it, and what the file system says.
pub fn finish(
    spec: &ScratchSpec,
    begun: &Path,
    weights: &[(String, Vec<f32>)],
    target: &Path,
) -> Result<(), TrainError> {
    let tensor_type = spec.weight_type().map_err(TrainError::Option)?;
    let begin = Mapping::open(begun)
        .map_err(|error| TrainError::Read { path: begun.to_owned(), problem: error.to_string() })?;
    let gguf = Gguf::parse(begin.as_ref()).map_err(|error| error.in_file(begun))?;
    let mut writer = GgufWriter::new();
    for (key, value) in gguf.metadata() {
        writer.set(key, value.clone());
    }
    let file_type = match tensor_type {
        TensorType::F16 => 1u32,
        TensorType::BF16 => 32,
        _ => 0,
    };
    writer.set("general.file_type", file_type);
    let by_name: HashMap<&str, &[f32]> = weights.iter().map(|(name, numbers)| (&name[..], &numbers[..])).collect();
    for tensor in gguf.tensors() {
        let numbers = tensor.dims.iter().product::<u64>();
        if by_name.get(tensor.name.as_str()).is_none_or(|found| found.len() as u64 != numbers) {
            return Err(TrainError::Option(format!("no weight of {numbers} numbers was trained for {}", tensor.name)));
        }
        let kind = if tensor.dims.len() > 1 { tensor_type } else { TensorType::F32 };
        writer.add_tensor(tensor.name.as_str(), &tensor.dims, TensorKind::Known(kind))?;
    }
    let data = |header: &TensorHeader, out: &mut dyn Write| {
        let numbers = by_name.get(header.name.as_str()).copied().unwrap_or_default();
        put(numbers, header.kind.known().unwrap_or(TensorType::F32), out)
    };
    Ok(writer.write(target, data)?)
}
