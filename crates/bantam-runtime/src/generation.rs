//! The sampling a model's makers recommend.

use bantam_formats::Gguf;
use serde_json::{Map, Value};

/// Sampling defaults from the model's own files; `None` where they say nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GenerationDefaults {
    /// Temperature; 0 where the makers switch sampling off.
    pub temperature: Option<f32>,
    /// Keep only the k likeliest.
    pub top_k: Option<u32>,
    /// Keep the likeliest until their probabilities sum to p.
    pub top_p: Option<f32>,
    /// Keep those at least p times as likely as the likeliest.
    pub min_p: Option<f32>,
    /// Locally typical sampling.
    pub typical_p: Option<f32>,
    /// Repetition penalty.
    pub repetition_penalty: Option<f32>,
    /// Most tokens of an answer.
    pub max_tokens: Option<u32>,
    /// Texts before which an answer ends.
    pub stop_strings: Vec<String>,
    /// Recommendations that Bantam does not follow, as `key = value`: without them answers may differ from their makers'.
    pub not_followed: Vec<String>,
}

/// Keys of `generation_config.json` that change answers and are not followed, with the values that ask for nothing.
const NOT_FOLLOWED: &[(&str, &[&str])] = &[
    ("bad_words_ids", &["[]"]),
    ("begin_suppress_tokens", &["[]"]),
    ("constraints", &["[]"]),
    ("diversity_penalty", &["0.0", "0"]),
    ("encoder_no_repeat_ngram_size", &["0"]),
    ("encoder_repetition_penalty", &["1.0", "1"]),
    ("epsilon_cutoff", &["0.0", "0"]),
    ("eta_cutoff", &["0.0", "0"]),
    ("exponential_decay_length_penalty", &[]),
    ("force_words_ids", &["[]"]),
    ("forced_bos_token_id", &[]),
    ("forced_eos_token_id", &[]),
    ("guidance_scale", &["1.0", "1"]),
    ("min_length", &["0"]),
    ("min_new_tokens", &["0"]),
    ("no_repeat_ngram_size", &["0"]),
    ("num_beams", &["1"]),
    ("penalty_alpha", &["0.0", "0"]),
    ("sequence_bias", &["{}"]),
    ("suppress_tokens", &["[]"]),
    ("top_h", &[]),
    ("watermarking_config", &[]),
];

/// Keys of `general.sampling.*` that are followed.
const FOLLOWED: &[&str] = &["temp", "top_k", "top_p", "min_p", "penalty_repeat"];

fn short(text: &str) -> String {
    text.chars().take(80).collect()
}

impl GenerationDefaults {
    /// From `generation_config.json`. Values out of range are taken as not said.
    pub fn from_json(config: &Map<String, Value>) -> Self {
        let number = |key: &str| config.get(key).and_then(Value::as_f64).filter(|x| x.is_finite() && *x >= 0.0);
        let float = |key: &str| number(key).map(|x| x as f32);
        let share = |key: &str| float(key).filter(|p| *p <= 1.0);
        let sampling = config.get("do_sample").and_then(Value::as_bool);
        // Transformers decodes greedily unless `do_sample` is set, whatever temperature stands beside it.
        let temperature = match sampling {
            Some(true) => float("temperature"),
            Some(false) => Some(0.0),
            None => float("temperature"),
        };
        let stop_strings = match config.get("stop_strings") {
            Some(Value::String(text)) => vec![text.clone()],
            Some(Value::Array(texts)) => texts.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect(),
            _ => Vec::new(),
        };
        Self {
            stop_strings: stop_strings.into_iter().filter(|text| !text.is_empty()).collect(),
            temperature,
            top_k: number("top_k").map(|k| k as u32),
            top_p: share("top_p"),
            min_p: share("min_p"),
            typical_p: share("typical_p"),
            repetition_penalty: float("repetition_penalty").filter(|penalty| *penalty > 0.0),
            max_tokens: number("max_new_tokens").map(|n| n as u32),
            not_followed: NOT_FOLLOWED
                .iter()
                .filter_map(|(key, neutral)| Some((key, neutral, config.get(*key)?)))
                .filter(|(_, neutral, value)| !value.is_null() && !neutral.contains(&value.to_string().as_str()))
                .map(|(key, _, value)| format!("{key} = {}", short(&value.to_string())))
                .collect(),
        }
    }

    /// From GGUF's `general.sampling.*`.
    pub(crate) fn from_gguf(gguf: &Gguf) -> Self {
        let number = |key: &str| {
            let value = gguf.get(&format!("general.sampling.{key}"))?;
            value.as_f64().or_else(|| value.as_i64().map(|n| n as f64)).filter(|x| x.is_finite() && *x >= 0.0)
        };
        let float = |key: &str| number(key).map(|x| x as f32);
        Self {
            stop_strings: Vec::new(),
            temperature: float("temp"),
            top_k: number("top_k").map(|k| k as u32),
            top_p: float("top_p"),
            min_p: float("min_p"),
            typical_p: None,
            not_followed: gguf
                .metadata()
                .filter_map(|(key, value)| Some((key.strip_prefix("general.sampling.")?, value)))
                .filter(|(key, _)| !FOLLOWED.contains(key))
                .map(|(key, value)| format!("{key} = {}", short(&value.to_string())))
                .collect(),
            repetition_penalty: float("penalty_repeat").filter(|penalty| *penalty > 0.0),
            max_tokens: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_read_as_transformers_means_them() {
        let check = |json: &str, expected: GenerationDefaults| {
            let config: Map<String, Value> = serde_json::from_str(json).unwrap();
            assert_eq!(GenerationDefaults::from_json(&config), expected, "{json}");
        };
        let none = GenerationDefaults::default;
        check("{}", none());
        check(r#"{"do_sample": false, "temperature": 0.6}"#, GenerationDefaults { temperature: Some(0.0), ..none() });
        check(
            r#"{"do_sample": true, "temperature": 0.6, "top_p": 0.9, "top_k": 40}"#,
            GenerationDefaults { temperature: Some(0.6), top_p: Some(0.9), top_k: Some(40), ..none() },
        );
        check(
            r#"{"num_beams": 4, "no_repeat_ngram_size": 0, "suppress_tokens": null}"#,
            GenerationDefaults { not_followed: vec!["num_beams = 4".into()], ..none() },
        );
        check(
            r#"{"stop_strings": ["x", "", 7, "y\n"]}"#,
            GenerationDefaults { stop_strings: vec!["x".into(), "y\n".into()], ..none() },
        );
        check(r#"{"stop_strings": "x"}"#, GenerationDefaults { stop_strings: vec!["x".into()], ..none() });
        check(r#"{"temperature": "hot", "top_p": 7, "repetition_penalty": 0}"#, none());
    }
}
