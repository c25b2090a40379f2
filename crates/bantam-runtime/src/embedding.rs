//! What a model's own files say about embeddings: which rows of a text make its vector, and how long a text may be.
//!
//! Hugging Face directories say it in the files of sentence-transformers (`modules.json`, the configuration of its
//! pooling module, `sentence_bert_config.json`, `config_sentence_transformers.json`), GGUF in `pooling_type`.

use bantam_formats::Gguf;
use bantam_formats::huggingface::{HfDirectory, HfFile};
use serde_json::{Map, Value};

use crate::RuntimeError;

/// How the rows of a text become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The mean of all rows.
    Mean,
    /// The first row, that of `[CLS]`.
    Cls,
    /// The last row.
    Last,
    /// The largest value of each column.
    Max,
}

impl Pooling {
    /// Makes one vector of the rows `[tokens, width]` of a text; empty where there are none. Sums go row by row, in
    /// double precision.
    pub fn pool(self, rows: &[f32], width: usize) -> Vec<f32> {
        let each = || rows.chunks_exact(width.max(1));
        match self {
            Self::Cls => each().next().unwrap_or_default().to_vec(),
            Self::Last => each().next_back().unwrap_or_default().to_vec(),
            Self::Max => {
                let mut vector = each().next().unwrap_or_default().to_vec();
                for row in each().skip(1) {
                    vector.iter_mut().zip(row).for_each(|(largest, value)| *largest = largest.max(*value));
                }
                vector
            }
            Self::Mean => {
                let mut sums = vec![0.0f64; if rows.is_empty() { 0 } else { width }];
                for row in each() {
                    sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
                }
                let count = each().len() as f64;
                sums.into_iter().map(|sum| (sum / count) as f32).collect()
            }
        }
    }
}

/// Scales a vector to length 1; one of zeros stays as it is.
pub fn normalize(vector: &mut [f32]) {
    let length = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    // The floor is that of PyTorch's `normalize`.
    let length = length.max(1e-12);
    vector.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
}

/// What the files say; `None` where they say nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EmbeddingDefaults {
    /// How rows become a vector.
    pub pooling: Option<Pooling>,
    /// Whether vectors have length 1.
    pub normalize: Option<bool>,
    /// Most tokens of a text, those that frame it included.
    pub max_tokens: Option<usize>,
    /// Whether texts are lower-cased before they become tokens.
    pub lowercase: bool,
    /// What is put before every text.
    pub prompt: Option<String>,
}

fn refuse<T>(text: String) -> Result<T, RuntimeError> {
    Err(RuntimeError::Option(text))
}

impl EmbeddingDefaults {
    pub(crate) fn from_gguf(gguf: &Gguf) -> Result<Self, RuntimeError> {
        let architecture = gguf.str("general.architecture")?.unwrap_or_default();
        let key = format!("{architecture}.pooling_type");
        // The numbers of llama.cpp's `llama_pooling_type`.
        let pooling = match gguf.u32(&key)? {
            None | Some(0) => None,
            Some(1) => Some(Pooling::Mean),
            Some(2) => Some(Pooling::Cls),
            Some(3) => Some(Pooling::Last),
            Some(4) => return refuse(format!("{key} is 4: a model that ranks makes scores, not embeddings")),
            Some(other) => return refuse(format!("{key} is {other}, expected 0 to 4")),
        };
        Ok(Self { pooling, ..Self::default() })
    }

    /// What a directory's files say.
    ///
    /// # Errors
    /// Where they cannot be read, or ask for what is not supported, by name.
    pub fn from_directory(directory: &HfDirectory) -> Result<Self, RuntimeError> {
        let mut defaults = Self::default();
        let config = directory.json(HfFile::SentenceConfig)?.unwrap_or_default();
        defaults.max_tokens = count(&config, "max_seq_length");
        defaults.lowercase = config.get("do_lower_case").and_then(Value::as_bool).unwrap_or(false);
        if defaults.max_tokens.is_none() {
            let tokenizer = directory.json(HfFile::TokenizerConfig)?.unwrap_or_default();
            defaults.max_tokens = count(&tokenizer, "model_max_length");
        }
        let Some(modules) = directory.value(HfFile::Modules)? else { return Ok(defaults) };
        defaults.normalize = Some(false);
        let mut includes_prompt = true;
        let modules = modules.as_array().map(Vec::as_slice).unwrap_or_default();
        for module in modules {
            let text = |key: &str| module.get(key).and_then(Value::as_str).unwrap_or_default();
            let kind = text("type").rsplit('.').next().unwrap_or_default();
            match kind {
                "Transformer" => {}
                "Normalize" => defaults.normalize = Some(true),
                "Pooling" => {
                    let Some(config) = directory.module_config(text("path"))? else {
                        return refuse(format!("modules.json names {}/config.json, which is not there", text("path")));
                    };
                    includes_prompt = config.get("include_prompt").and_then(Value::as_bool).unwrap_or(true);
                    defaults.pooling = Some(pooling(&config)?);
                }
                other => return refuse(format!("modules.json asks for the module '{other}', which is not supported")),
            }
        }
        let prompts = directory.json(HfFile::SentenceTransformersConfig)?.unwrap_or_default();
        if let Some(name) = prompts.get("default_prompt_name").and_then(Value::as_str) {
            let prompt = prompts.get("prompts").and_then(|prompts| prompts.get(name)).and_then(Value::as_str);
            defaults.prompt = prompt.filter(|prompt| !prompt.is_empty()).map(str::to_owned);
            if defaults.prompt.is_some() && !includes_prompt {
                return refuse(
                    "the pooling leaves the prompt out (include_prompt = false), which is not supported".into(),
                );
            }
        }
        Ok(defaults)
    }
}

/// A number of tokens; the huge ones that some files have for "no limit" say nothing.
fn count(config: &Map<String, Value>, key: &str) -> Option<usize> {
    config
        .get(key)?
        .as_u64()
        .filter(|&count| count > 0 && count < 1 << 32)
        .and_then(|count| usize::try_from(count).ok())
}

/// The one pooling that a module's configuration switches on.
fn pooling(config: &Map<String, Value>) -> Result<Pooling, RuntimeError> {
    const MODES: &[(&str, &str, Option<Pooling>)] = &[
        ("pooling_mode_cls_token", "cls", Some(Pooling::Cls)),
        ("pooling_mode_mean_tokens", "mean", Some(Pooling::Mean)),
        ("pooling_mode_max_tokens", "max", Some(Pooling::Max)),
        ("pooling_mode_lasttoken", "lasttoken", Some(Pooling::Last)),
        ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", None),
        ("pooling_mode_weightedmean_tokens", "weightedmean", None),
    ];
    let named = config.get("pooling_mode").and_then(Value::as_str);
    let on = |key: &str| config.get(key).and_then(Value::as_bool).unwrap_or(false);
    let chosen: Vec<_> = match named {
        Some(name) => MODES.iter().filter(|(_, short, _)| *short == name).collect(),
        None => MODES.iter().filter(|(key, ..)| on(key)).collect(),
    };
    match (chosen.as_slice(), named) {
        ([(_, _, Some(pooling))], _) => Ok(*pooling),
        ([(key, _, None)], _) => refuse(format!("the pooling {key} is not supported")),
        ([], Some(name)) => refuse(format!("the pooling '{name}' is not supported")),
        ([], None) => refuse("the pooling module's config.json switches no pooling on".into()),
        _ => refuse("the pooling module's config.json switches several poolings on, which is not supported".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_a_vector() {
        let rows = [1.0, -4.0, 2.0, 8.0, 6.0, -1.0];
        for (pooling, expected) in [
            (Pooling::Mean, [3.0, 1.0]),
            (Pooling::Cls, [1.0, -4.0]),
            (Pooling::Last, [6.0, -1.0]),
            (Pooling::Max, [6.0, 8.0]),
        ] {
            assert_eq!(pooling.pool(&rows, 2), expected, "{pooling:?}");
            assert!(pooling.pool(&[], 2).is_empty());
        }
        let mut vector = [3.0, 4.0];
        normalize(&mut vector);
        assert_eq!(vector, [0.6, 0.8]);
        let mut zeros = [0.0, 0.0];
        normalize(&mut zeros);
        assert_eq!(zeros, [0.0, 0.0]);
    }

    #[test]
    fn pooling_modules_are_read() {
        let check = |json: &str, expected: Result<Pooling, &str>| {
            let config: Map<String, Value> = serde_json::from_str(json).unwrap();
            match (pooling(&config), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{json}"),
                (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{json}: {error}"),
                (found, _) => panic!("{json}: {found:?}"),
            }
        };
        check(r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#, Ok(Pooling::Cls));
        check(r#"{"pooling_mode_mean_tokens": true}"#, Ok(Pooling::Mean));
        check(r#"{"pooling_mode_lasttoken": true}"#, Ok(Pooling::Last));
        check(r#"{"pooling_mode": "max"}"#, Ok(Pooling::Max));
        check(r#"{"pooling_mode": "other"}"#, Err("'other'"));
        check(r#"{}"#, Err("no pooling on"));
        check(r#"{"pooling_mode_weightedmean_tokens": true}"#, Err("pooling_mode_weightedmean_tokens"));
        check(r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}"#, Err("several"));
    }
}
