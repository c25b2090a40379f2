//! From a path to what lies there: mapped files, vocabulary, templates.

use std::path::{Path, PathBuf};

use bantam_formats::gguf::{SplitGguf, split_parts};
use bantam_formats::huggingface::{HfDirectory, HfFile};
use bantam_formats::safetensors::SafeTensors;
use bantam_formats::{Gguf, ModelReference, what_is_it};
use bantam_model::{Checkpoint, Tensor};
use bantam_tensor::SharedBytes;
use bantam_text::{HfFiles, TextError, Tokenizer};
use serde_json::Value;

use crate::files::{ModelFile, read_ahead};
use crate::generation::GenerationDefaults;
use crate::metadata::{self, TemplateSource};
use crate::{Model, OpenOptions, RuntimeError};

/// The key of the calls that a model answers with; Bantam's own.
const CALLS: &str = "bantam.calls";

/// What a model says about text: its tokenizer and chat templates.
pub struct TextFiles {
    /// The tokenizer, where there is one.
    pub tokenizer: Option<Tokenizer>,
    pub(crate) templates: Vec<TemplateSource>,
}

/// A GGUF model's parts, mapped and parsed.
pub(crate) struct GgufFiles {
    pub(crate) model: SplitGguf,
    pub(crate) files: Vec<ModelFile>,
}

impl GgufFiles {
    pub(crate) fn open(path: &Path) -> Result<Self, RuntimeError> {
        let parse = |path: &Path, bytes: &SharedBytes| Gguf::parse(bytes).map_err(|error| error.in_file(path));
        let first_file = ModelFile::map(path)?;
        let first = parse(path, &first_file.bytes)?;
        let paths = split_parts(path, &first)?;
        let (mut parts, mut files) = (vec![first], vec![first_file]);
        for path in &paths[1..] {
            let file = ModelFile::map(path)?;
            parts.push(parse(path, &file.bytes)?);
            files.push(file);
        }
        let model = SplitGguf::new(parts).map_err(|error| error.in_file(path))?;
        Ok(Self { model, files })
    }

    fn text(&self, path: &Path) -> Result<TextFiles, RuntimeError> {
        let metadata = self.model.first();
        let vocabulary = metadata::vocabulary(metadata).map_err(|error| error.in_file(path))?;
        let templates = metadata::templates(metadata).map_err(|error| error.in_file(path))?;
        // "none" and "no_vocab" say that the file goes without.
        let vocabulary = vocabulary.filter(|vocabulary| !matches!(vocabulary.model.as_str(), "none" | "no_vocab"));
        let tokenizer = vocabulary.map(Tokenizer::from_vocabulary).transpose();
        Ok(TextFiles { tokenizer: tokenizer.map_err(|error| in_model(path, error))?, templates })
    }
}

fn in_model(path: &Path, error: TextError) -> RuntimeError {
    RuntimeError::Text { path: path.to_owned(), error }
}

fn directory_text(directory: &HfDirectory) -> Result<TextFiles, RuntimeError> {
    let path = directory.path();
    let bytes = |file| directory.bytes(file);
    let (tokenizer_config, special_tokens_map) = (bytes(HfFile::TokenizerConfig)?, bytes(HfFile::SpecialTokensMap)?);
    let (generation_config, config) = (bytes(HfFile::GenerationConfig)?, bytes(HfFile::Config)?);
    let added_tokens = bytes(HfFile::AddedTokens)?;
    let files = HfFiles {
        tokenizer_config: tokenizer_config.as_deref(),
        special_tokens_map: special_tokens_map.as_deref(),
        generation_config: generation_config.as_deref(),
        added_tokens: added_tokens.as_deref(),
        config: config.as_deref(),
    };
    let tokenizer = if let Some(json) = bytes(HfFile::Tokenizer)? {
        Some(Tokenizer::from_json(&json, files).map_err(|error| in_model(path, error))?)
    } else if let Some(model) = bytes(HfFile::TokenizerModel)? {
        Some(Tokenizer::from_sentencepiece_directory(&model, files).map_err(|error| in_model(path, error))?)
    } else if let Some(vocab) = bytes(HfFile::VocabTxt)? {
        Some(Tokenizer::from_vocab_txt(&vocab, files).map_err(|error| in_model(path, error))?)
    } else if let (Some(vocab), Some(merges)) = (bytes(HfFile::VocabJson)?, bytes(HfFile::MergesTxt)?) {
        Some(Tokenizer::from_merges_txt(&vocab, &merges, files).map_err(|error| in_model(path, error))?)
    } else {
        None
    };
    let templates = directory.chat_templates()?;
    let templates = templates.into_iter().map(|named| TemplateSource { name: named.name, source: named.source });
    Ok(TextFiles { tokenizer, templates: templates.collect() })
}

/// Opens only what a model says about text: works on vocabulary-only GGUF files of any architecture.
pub fn open_text(path: &Path) -> Result<TextFiles, RuntimeError> {
    match what_is_it(path)? {
        ModelReference::Gguf(path) => GgufFiles::open(&path)?.text(&path),
        ModelReference::HuggingFace(path) => directory_text(&HfDirectory::open(&path)?),
    }
}

impl Model {
    /// Reads what a model is: headers, settings, vocabulary and template, but no weights.
    pub fn open(path: &Path, options: &OpenOptions) -> Result<Self, RuntimeError> {
        let model = match what_is_it(path)? {
            ModelReference::Gguf(path) => open_gguf(path, options)?,
            ModelReference::HuggingFace(path) => open_directory(path, options)?,
        };
        model.with(options)
    }
}

fn open_gguf(path: PathBuf, options: &OpenOptions) -> Result<Model, RuntimeError> {
    let files = GgufFiles::open(&path)?;
    if options.read_ahead {
        read_ahead(&files.files);
    }
    let metadata = files.model.first();
    let bytes: Vec<SharedBytes> = files.files.iter().map(|file| file.bytes.clone()).collect();
    let checkpoint = Checkpoint::from_gguf(&files.model, &bytes)
        .map_err(|error| RuntimeError::Model { path: path.clone(), error })?;
    let defaults = GenerationDefaults::from_gguf(metadata);
    let text_of = |key: &str| metadata.get(key).and_then(|value| value.as_str()).map(str::to_owned);
    let (name, calls) = (text_of("general.name"), text_of(CALLS));
    let text = files.text(&path)?;
    Ok(Model::new(path, name, checkpoint, text, defaults)?.with_calls(calls).with_files(files.files))
}

fn open_directory(path: PathBuf, options: &OpenOptions) -> Result<Model, RuntimeError> {
    let directory = HfDirectory::open(&path)?;
    let weights = directory.weight_files()?;
    let (mut shards, mut files) = (Vec::new(), Vec::new());
    for path in &weights.paths {
        let file = ModelFile::map(path)?;
        shards.push(SafeTensors::parse(&file.bytes).map_err(|error| error.in_file(path))?);
        files.push(file);
    }
    if options.read_ahead {
        read_ahead(&files);
    }
    let assembled = weights.assemble(shards)?;
    let mut tensors = Vec::new();
    for (shard, tensor) in assembled.tensors() {
        let bytes = files
            .get(shard)
            .and_then(|file| file.bytes.slice(tensor.range.clone()))
            .unwrap_or_else(|| SharedBytes::from_vec(Vec::new()));
        let shape = tensor.shape.iter().map(|&n| usize::try_from(n).unwrap_or(usize::MAX)).collect();
        let tensor_type = tensor.dtype.tensor_type().ok_or_else(|| tensor.dtype.name().to_owned());
        tensors.push(Tensor { file_name: tensor.name.clone(), tensor_type, shape, bytes });
    }
    let config = Value::Object(directory.config_with_quantization(&assembled)?);
    let checkpoint = Checkpoint::from_hugging_face(&config, tensors)
        .map_err(|error| RuntimeError::Model { path: path.clone(), error })?;
    let defaults = directory.json(HfFile::GenerationConfig)?;
    let defaults = defaults.as_ref().map(GenerationDefaults::from_json).unwrap_or_default();
    let name =
        path.canonicalize().ok().and_then(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()));
    let text = directory_text(&directory)?;
    // What says how tensors are read is part of what the model holds.
    for file in [HfFile::Config, HfFile::QuantizeConfig, HfFile::QuantConfig] {
        if directory.has(file) {
            files.push(ModelFile::map(&directory.path().join(file.name()))?);
        }
    }
    Ok(Model::new(path, name, checkpoint, text, defaults)?.with_files(files))
}
