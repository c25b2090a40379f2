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
}

impl GenerationDefaults {
    /// From `generation_config.json`. Values out of range are taken as not said.
    pub(crate) fn from_json(config: &Map<String, Value>) -> Self {
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
        Self {
            temperature,
            top_k: number("top_k").map(|k| k as u32),
            top_p: share("top_p"),
            min_p: share("min_p"),
            typical_p: share("typical_p"),
            repetition_penalty: float("repetition_penalty").filter(|penalty| *penalty > 0.0),
            max_tokens: number("max_new_tokens").map(|n| n as u32),
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
            temperature: float("temp"),
            top_k: number("top_k").map(|k| k as u32),
            top_p: float("top_p"),
            min_p: float("min_p"),
            typical_p: None,
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
        check(r#"{"temperature": "hot", "top_p": 7, "repetition_penalty": 0}"#, none());
    }
}
