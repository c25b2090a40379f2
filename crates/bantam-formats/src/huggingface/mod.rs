//! Hugging Face directories: which files are there, read with a limit each, and the shards of the weights.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::FormatError;

mod weights;

pub use weights::{ShardedTensors, WeightFiles};

const MIB: u64 = 1 << 20;

macro_rules! files {
    ($($(#[$doc:meta])* $variant:ident $name:literal $limit:expr;)*) => {
        /// A file that a directory may hold, with the name it has there and the most bytes that are read of it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum HfFile {
            $($(#[$doc])* $variant,)*
        }

        impl HfFile {
            /// Every file.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name in the directory.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Most bytes that are read of it; a longer file is refused.
            pub fn limit(self) -> u64 {
                match self {
                    $(Self::$variant => $limit,)*
                }
            }
        }
    };
}

files! {
    /// What the model is.
    Config "config.json" 4 * MIB;
    /// Defaults of sampling.
    GenerationConfig "generation_config.json" MIB;
    /// A tokenizer, in the form of the `tokenizers` library.
    Tokenizer "tokenizer.json" 256 * MIB;
    /// A tokenizer, in the form of SentencePiece.
    TokenizerModel "tokenizer.model" 64 * MIB;
    /// A WordPiece vocabulary, a piece a line, in older directories.
    VocabTxt "vocab.txt" 64 * MIB;
    /// A byte-level vocabulary in older directories; the merges stand in the next file.
    VocabJson "vocab.json" 64 * MIB;
    /// The merges of a byte-level vocabulary in older directories.
    MergesTxt "merges.txt" 64 * MIB;
    /// Tokens that older directories add to their vocabulary.
    AddedTokens "added_tokens.json" 16 * MIB;
    /// Special tokens and, in older directories, the chat template.
    TokenizerConfig "tokenizer_config.json" 64 * MIB;
    /// Special tokens.
    SpecialTokensMap "special_tokens_map.json" 4 * MIB;
    /// The chat template.
    ChatTemplate "chat_template.jinja" 4 * MIB;
    /// The chat template, in the form that processors use.
    ChatTemplateJson "chat_template.json" 4 * MIB;
    /// The modules of sentence-transformers that make an embedding.
    Modules "modules.json" MIB;
    /// How sentence-transformers makes tokens of a text.
    // tidy: allow(family-names) the file's name, whatever the model
    SentenceConfig "sentence_bert_config.json" MIB;
    /// What sentence-transformers puts before a text.
    SentenceTransformersConfig "config_sentence_transformers.json" MIB;
    /// How weights were quantized, in directories of AutoGPTQ.
    QuantizeConfig "quantize_config.json" MIB;
    /// How weights were quantized, in directories of AutoAWQ.
    QuantConfig "quant_config.json" MIB;
    /// Which shard holds which tensor.
    WeightIndex "model.safetensors.index.json" 64 * MIB;
}

const MORE_TEMPLATES: &str = "additional_chat_templates";
/// Most files that are read from the directory of further templates.
const MOST_TEMPLATES: usize = 64;

/// A directory with a `config.json`.
#[derive(Clone, Debug)]
pub struct HfDirectory {
    path: PathBuf,
    config: Map<String, Value>,
}

/// A chat template and the name it goes by; the usual one is called `default`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedTemplate {
    /// `default`, `tool_use`, `rag`…
    pub name: String,
    /// The template's text.
    pub source: String,
}

impl HfDirectory {
    /// Opens a directory and reads its `config.json`.
    ///
    /// # Errors
    ///
    /// Where that file is missing, too large, or no JSON object.
    pub fn open(path: &Path) -> Result<Self, FormatError> {
        let mut directory = Self { path: path.to_path_buf(), config: Map::new() };
        directory.config = directory.json(HfFile::Config)?.ok_or_else(|| {
            FormatError::NotAModel(format!(
                "{} has no {}; a Hugging Face directory needs it",
                path.display(),
                HfFile::Config.name()
            ))
        })?;
        Ok(directory)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The configuration as it stands, keys in order.
    pub fn config(&self) -> &Map<String, Value> {
        &self.config
    }

    /// The configuration with the settings of quantized weights where those stand in a file of their own, as older
    /// directories of AutoGPTQ and AutoAWQ have them.
    ///
    /// # Errors
    ///
    /// Where that file cannot be read or is no JSON object.
    pub fn config_with_quantization(&self, tensors: &ShardedTensors) -> Result<Map<String, Value>, FormatError> {
        let mut config = self.config.clone();
        let stated = ["quantization_config", "compression_config", "quantization"];
        let packed = tensors.tensors().any(|(_, tensor)| tensor.name.ends_with(".qweight"));
        if !packed || stated.into_iter().any(|key| config.get(key).is_some_and(|value| !value.is_null())) {
            return Ok(config);
        }
        for (file, method) in [(HfFile::QuantizeConfig, "gptq"), (HfFile::QuantConfig, "awq")] {
            if let Some(mut settings) = self.json(file)? {
                settings.entry("quant_method").or_insert_with(|| method.into());
                config.insert("quantization_config".to_owned(), Value::Object(settings));
                break;
            }
        }
        Ok(config)
    }

    /// Whether a file is there.
    pub fn has(&self, file: HfFile) -> bool {
        self.path.join(file.name()).is_file()
    }

    /// A whole file, `None` where it is not there.
    ///
    /// # Errors
    ///
    /// Where it is larger than its limit or cannot be read.
    pub fn bytes(&self, file: HfFile) -> Result<Option<Vec<u8>>, FormatError> {
        read_limited(&self.path.join(file.name()), file.limit())
    }

    /// A whole text file, `None` where it is not there.
    ///
    /// # Errors
    ///
    /// As for [`HfDirectory::bytes`], and where it is not UTF-8.
    pub fn text(&self, file: HfFile) -> Result<Option<String>, FormatError> {
        let path = self.path.join(file.name());
        read_limited(&path, file.limit())?.map(|bytes| utf8(bytes, &path)).transpose()
    }

    /// A file that is one JSON object, `None` where it is not there.
    ///
    /// # Errors
    ///
    /// As for [`HfDirectory::bytes`], and where it is no JSON object.
    pub fn json(&self, file: HfFile) -> Result<Option<Map<String, Value>>, FormatError> {
        let path = self.path.join(file.name());
        read_limited(&path, file.limit())?.map(|bytes| json_object(&bytes, &path)).transpose()
    }

    /// A file that is JSON of any shape, `None` where it is not there.
    ///
    /// # Errors
    ///
    /// As for [`HfDirectory::bytes`], and where it is no JSON.
    pub fn value(&self, file: HfFile) -> Result<Option<Value>, FormatError> {
        let path = self.path.join(file.name());
        let Some(bytes) = read_limited(&path, file.limit())? else { return Ok(None) };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| FormatError::damaged("the file", format!("is not JSON: {error}")).in_file(&path))
    }

    /// The `config.json` of a module's own folder in the directory, `None` where it is not there.
    ///
    /// # Errors
    ///
    /// Where the folder is no plain name, and as for [`HfDirectory::json`].
    pub fn module_config(&self, folder: &str) -> Result<Option<Map<String, Value>>, FormatError> {
        let mut parts = Path::new(folder).components();
        let plain = matches!((parts.next(), parts.next()), (Some(std::path::Component::Normal(_)), None));
        if !plain {
            let problem = format!("names the folder {folder:?}, expected a plain name");
            return Err(FormatError::damaged("`modules.json`", problem).in_file(&self.path));
        }
        let path = self.path.join(folder).join(HfFile::Config.name());
        read_limited(&path, MIB)?.map(|bytes| json_object(&bytes, &path)).transpose()
    }

    /// All chat templates, as transformers finds them: `chat_template.jinja` with `additional_chat_templates/*.jinja`, else
    /// `chat_template.json`, else `chat_template` in `tokenizer_config.json` (a text, or a list of names and texts).
    ///
    /// # Errors
    ///
    /// Where one of those files cannot be read or has another shape.
    pub fn chat_templates(&self) -> Result<Vec<NamedTemplate>, FormatError> {
        let mut templates = Vec::new();
        if let Some(source) = self.text(HfFile::ChatTemplate)? {
            templates.push(NamedTemplate { name: "default".to_owned(), source });
        }
        self.more_templates(&mut templates)?;
        for file in [HfFile::ChatTemplateJson, HfFile::TokenizerConfig] {
            if !templates.is_empty() {
                break;
            }
            if let Some(mut object) = self.json(file)?
                && let Some(value) = object.remove("chat_template")
            {
                templates = named_templates(value).map_err(|error| error.in_file(&self.path.join(file.name())))?;
            }
        }
        Ok(templates)
    }

    fn more_templates(&self, templates: &mut Vec<NamedTemplate>) -> Result<(), FormatError> {
        let directory = self.path.join(MORE_TEMPLATES);
        if !directory.is_dir() {
            return Ok(());
        }
        let failed = |error| FormatError::io("list", &directory, error);
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(&directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "jinja") {
                paths.push(path);
            }
        }
        paths.sort();
        for path in paths.iter().take(MOST_TEMPLATES) {
            if let (Some(name), Some(bytes)) = (path.file_stem(), read_limited(path, HfFile::ChatTemplate.limit())?) {
                let name = name.to_string_lossy().into_owned();
                templates.push(NamedTemplate { name, source: utf8(bytes, path)? });
            }
        }
        Ok(())
    }
}

/// Reads a file of at most `limit` bytes, `None` where there is none.
fn read_limited(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, FormatError> {
    let failed = |error| FormatError::io("read", path, error);
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
        Ok(metadata) if !metadata.is_file() => {
            return Err(FormatError::NotAModel("this is not a regular file".to_owned()).in_file(path));
        }
        Ok(_) => {}
    }
    let mut bytes = Vec::new();
    // One byte more than allowed, so that a file that grows meanwhile is seen too.
    File::open(path).map_err(failed)?.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        let problem = format!("is larger than the {limit} bytes allowed for it");
        return Err(FormatError::damaged("the file", problem).in_file(path));
    }
    Ok(Some(bytes))
}

fn utf8(bytes: Vec<u8>, path: &Path) -> Result<String, FormatError> {
    String::from_utf8(bytes).map_err(|error| {
        let problem = format!("is not UTF-8 at byte {}", error.utf8_error().valid_up_to());
        FormatError::damaged("the file", problem).in_file(path)
    })
}

fn json_object(bytes: &[u8], path: &Path) -> Result<Map<String, Value>, FormatError> {
    if crate::reference::FileKind::of(bytes) == crate::reference::FileKind::LfsPointer {
        return Err(crate::reference::FileKind::LfsPointer.refused_as("JSON").in_file(path));
    }
    crate::json::object(bytes)
        .map_err(|error| FormatError::damaged("the file", format!("is not a JSON object: {error}")).in_file(path))
}

/// A `chat_template` value: one text, or a list of objects with `name` and `template`.
fn named_templates(value: Value) -> Result<Vec<NamedTemplate>, FormatError> {
    let wrong = || FormatError::damaged("`chat_template`", "should be a text or a list of names and templates");
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(source) => Ok(vec![NamedTemplate { name: "default".to_owned(), source }]),
        Value::Array(list) => list
            .into_iter()
            .map(|entry| match (entry.get("name"), entry.get("template")) {
                (Some(Value::String(name)), Some(Value::String(source))) => {
                    Ok(NamedTemplate { name: name.clone(), source: source.clone() })
                }
                _ => Err(wrong()),
            })
            .collect(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => Err(wrong()),
    }
}
