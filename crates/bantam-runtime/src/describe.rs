//! What a model is, for people and machines, even where Bantam cannot run it.

use std::collections::BTreeMap;
use std::path::Path;

use bantam_formats::{ModelReference, what_is_it};
use bantam_model::spec::Mixer;
use bantam_text::Tokenizer;
use serde::Serialize;

use crate::open::GgufFiles;
use crate::{GenerationDefaults, LoadOptions, MemoryPromise, Model, OpenOptions, RuntimeError, open_text};

/// What `show` shows.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Description {
    /// Where it lies.
    pub path: String,
    /// `gguf` or `huggingface`.
    pub format: &'static str,
    /// What its makers call it.
    pub name: Option<String>,
    /// The family that runs it, or what the file says it is.
    pub family: Option<String>,
    /// Numbers in its tensors.
    pub parameters: u64,
    /// Bytes of its tensors as stored.
    pub bytes: u64,
    /// How a Hugging Face directory is quantized: the scheme and its bits and groups. Types are those it is kept in here.
    pub quantization: Option<String>,
    /// By type, the most bytes first.
    pub types: Vec<TypeShare>,
    /// The shape of the model.
    pub shape: Option<Shape>,
    /// The tokenizer.
    pub tokenizer: Option<TokenizerFacts>,
    /// Names of the chat templates.
    pub chat_templates: Vec<String>,
    /// The sampling its makers recommend.
    pub generation: BTreeMap<&'static str, f64>,
    /// Memory at a context.
    pub memory: Option<MemoryFacts>,
    /// Tensors that `--type` gives another type than asked for, and why.
    pub fallbacks: Vec<String>,
    /// What its makers left open and how it is read, each in one sentence.
    pub notes: Vec<String>,
    /// What Bantam cannot run, each in one sentence. Empty: it runs.
    pub problems: Vec<String>,
}

/// How much of a model is of one type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TypeShare {
    /// Name of the type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// How many tensors.
    pub tensors: u64,
    /// Their numbers.
    pub parameters: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The shape of a model, of its first layer where layers differ.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names say it all")]
pub struct Shape {
    pub context: usize,
    pub vocabulary: usize,
    pub width: usize,
    pub layers: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_width: usize,
    pub feed_forward: usize,
    pub tied: bool,
}

/// What the tokenizer is.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the names say it all")]
pub struct TokenizerFacts {
    pub tokens: usize,
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    pub adds_bos: bool,
    pub adds_eos: bool,
    pub end_of_generation: Vec<u32>,
}

/// Memory a model takes at a context, in bytes.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs, reason = "the names say it all")]
pub struct MemoryFacts {
    pub context: usize,
    pub weights: u64,
    pub mapped: u64,
    pub cache: u64,
    pub scratch: u64,
    pub overhead: u64,
    pub total: u64,
}

/// Describes what lies at a path. Fails only where nothing there can be read as a model file at all; what keeps Bantam
/// from running it otherwise stands among the [`Description::problems`].
pub fn describe(path: &Path, open: &OpenOptions, load: &LoadOptions) -> Result<Description, RuntimeError> {
    let reference = what_is_it(path)?;
    let mut description = Description { path: path.display().to_string(), ..Description::default() };
    description.format = match reference {
        ModelReference::Gguf(_) => "gguf",
        ModelReference::HuggingFace(_) => "huggingface",
    };
    match Model::open(path, open) {
        Ok(model) => whole(&model, load, &mut description),
        Err(error @ (RuntimeError::Format(_) | RuntimeError::Read { .. } | RuntimeError::Option(_))) => {
            return Err(error);
        }
        Err(error) => {
            description.problems.push(error.to_string());
            if let ModelReference::Gguf(path) = &reference {
                headers(path, &mut description)?;
            }
            match open_text(path) {
                Ok(text) => {
                    description.tokenizer = text.tokenizer.as_ref().map(tokenizer_facts);
                    description.notes =
                        text.tokenizer.as_ref().map(|tokenizer| tokenizer.notes().to_vec()).unwrap_or_default();
                    description.chat_templates = text.template_names().map(str::to_owned).collect();
                }
                Err(error) if description.problems.contains(&error.to_string()) => {}
                Err(error) => description.problems.push(error.to_string()),
            }
        }
    }
    Ok(description)
}

fn whole(model: &Model, load: &LoadOptions, description: &mut Description) {
    let spec = model.spec();
    description.name = Some(model.name());
    description.family = Some(spec.family.to_owned());
    let mut types = Types::default();
    for (name, tensor) in model.checkpoint().tensors() {
        let parameters = tensor.shape.iter().map(|&n| n as u64).product();
        let stored = match &tensor.tensor_type {
            Ok(stored) => *stored,
            Err(unknown) => {
                types.add(unknown, parameters, tensor.bytes.len() as u64);
                continue;
            }
        };
        let (rows, width) = tensor.matrix().unwrap_or((1, 0));
        let loaded = model.loaded_type(name, stored, width);
        let bytes = loaded.bytes(rows, width).map_or(tensor.bytes.len() as u64, |bytes| bytes as u64);
        types.add(loaded.name(), parameters, bytes);
        if let Some(note) = model.fallback_note(name, width, loaded) {
            description.fallbacks.push(note);
        }
    }
    types.into(description);
    if let Some(quantization) = model.checkpoint().quantization() {
        description.quantization = Some(format!("{}: {}", quantization.scheme, quantization.detail));
    }
    description.shape = spec.layers.first().map(|layer| {
        let Mixer::Attention(attention) = &layer.mixer;
        let dense = layer.feed_forward.dense();
        Shape {
            context: spec.context,
            vocabulary: spec.vocabulary,
            width: spec.width,
            layers: spec.layers.len(),
            heads: attention.heads,
            kv_heads: attention.kv_heads,
            head_width: attention.key_width,
            feed_forward: dense.hidden,
            tied: spec.is_tied(),
        }
    });
    match model.tokenizer() {
        Ok(tokenizer) => {
            description.tokenizer = Some(tokenizer_facts(tokenizer));
            description.notes = tokenizer.notes().to_vec();
        }
        Err(error) => description.problems.push(error.to_string()),
    }
    description.chat_templates = model.template_names().map(str::to_owned).collect();
    if let Err(error) = model.chat_template(false) {
        description.problems.push(error.to_string());
    }
    description.generation = generation(model.generation_defaults());
    if let Some(quantization) = model.checkpoint().quantization() {
        description.notes.extend(quantization.notes.iter().cloned());
    }
    let not_followed = model.generation_defaults().not_followed.iter();
    description
        .notes
        .extend(not_followed.map(|setting| format!("the makers recommend {setting}, which is not followed")));
    match model.memory(load) {
        Ok(promise) => description.memory = Some(memory_facts(model.context_for(load), &promise)),
        Err(error) => description.problems.push(error.to_string()),
    }
}

/// What a GGUF file's header alone says, where its model is not understood.
fn headers(path: &Path, description: &mut Description) -> Result<(), RuntimeError> {
    let files = GgufFiles::open(path)?;
    let text = |key: &str| files.model.first().get(key).and_then(|value| value.as_str()).map(str::to_owned);
    description.name = text("general.name");
    description.family = text("general.architecture");
    let mut types = Types::default();
    for (_, tensor) in files.model.tensors() {
        types.add(tensor.kind.name(), tensor.elements() as u64, tensor.range.len() as u64);
    }
    types.into(description);
    Ok(())
}

#[derive(Default)]
struct Types(BTreeMap<String, TypeShare>);

impl Types {
    fn add(&mut self, name: &str, parameters: u64, bytes: u64) {
        let empty = || TypeShare { type_name: name.to_owned(), tensors: 0, parameters: 0, bytes: 0 };
        let share = self.0.entry(name.to_owned()).or_insert_with(empty);
        share.tensors += 1;
        share.parameters = share.parameters.saturating_add(parameters);
        share.bytes = share.bytes.saturating_add(bytes);
    }

    fn into(self, description: &mut Description) {
        let mut shares: Vec<TypeShare> = self.0.into_values().collect();
        shares.sort_by_key(|share| std::cmp::Reverse(share.bytes));
        description.parameters = shares.iter().map(|share| share.parameters).fold(0, u64::saturating_add);
        description.bytes = shares.iter().map(|share| share.bytes).fold(0, u64::saturating_add);
        description.types = shares;
    }
}

fn tokenizer_facts(tokenizer: &Tokenizer) -> TokenizerFacts {
    TokenizerFacts {
        tokens: tokenizer.vocabulary_len(),
        bos: tokenizer.bos(),
        eos: tokenizer.eos(),
        adds_bos: tokenizer.add_bos(),
        adds_eos: tokenizer.add_eos(),
        end_of_generation: tokenizer.end_of_generation().to_vec(),
    }
}

fn memory_facts(context: usize, promise: &MemoryPromise) -> MemoryFacts {
    let MemoryPromise { weights, mapped, cache, scratch, overhead } = *promise;
    MemoryFacts { context, weights, mapped, cache, scratch, overhead, total: promise.total() }
}

fn generation(defaults: &GenerationDefaults) -> BTreeMap<&'static str, f64> {
    let float = |x: Option<f32>| x.map(|x| (f64::from(x) * 1e6).round() / 1e6);
    let count = |n: Option<u32>| n.map(f64::from);
    [
        ("temperature", float(defaults.temperature)),
        ("top_k", count(defaults.top_k)),
        ("top_p", float(defaults.top_p)),
        ("min_p", float(defaults.min_p)),
        ("typical_p", float(defaults.typical_p)),
        ("repetition_penalty", float(defaults.repetition_penalty)),
        ("max_tokens", count(defaults.max_tokens)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}
