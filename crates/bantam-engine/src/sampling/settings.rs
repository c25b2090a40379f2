//! The settings of the samplers: all of them, and the ones somebody chose.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::EngineError;

/// Every setting of the chain.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingSettings {
    /// 0 is greedy; 1 leaves the model's distribution as it is.
    pub temperature: f32,
    /// 0 is off.
    pub top_k: usize,
    /// 1 is off.
    pub top_p: f32,
    /// 0 is off.
    pub min_p: f32,
    /// 1 is off.
    pub typical_p: f32,
    /// 1 is off.
    pub repeat_penalty: f32,
    /// 0 is off.
    pub presence_penalty: f32,
    /// 0 is off.
    pub frequency_penalty: f32,
    /// How many of the last tokens the penalties look at; `None`: all.
    pub penalty_window: Option<usize>,
    /// Added to the logits of these tokens; minus infinity forbids one.
    pub logit_bias: BTreeMap<u32, f32>,
}

impl Default for SamplingSettings {
    /// What llama.cpp does where nobody chose anything.
    fn default() -> Self {
        Self {
            temperature: 0.8,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            typical_p: 1.0,
            repeat_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            penalty_window: Some(64),
            logit_bias: BTreeMap::new(),
        }
    }
}

impl SamplingSettings {
    /// The likeliest token always.
    pub fn greedy() -> Self {
        Self { temperature: 0.0, ..Self::neutral() }
    }

    /// The model's own distribution: every step off.
    pub fn neutral() -> Self {
        Self { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, ..Self::default() }
    }

    pub(super) fn has_penalties(&self) -> bool {
        self.repeat_penalty != 1.0 || self.presence_penalty != 0.0 || self.frequency_penalty != 0.0
    }

    /// Refuses what means nothing, by name.
    pub(crate) fn check(&self, vocabulary_len: usize) -> Result<(), EngineError> {
        let refuse = |name: &'static str, expected: &'static str, found: f32| {
            Err(EngineError::Setting { name, expected, found: found.to_string() })
        };
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return refuse("temperature", "a number from 0", self.temperature);
        }
        if !(self.repeat_penalty > 0.0 && self.repeat_penalty.is_finite()) {
            return refuse("repeat-penalty", "a number above 0", self.repeat_penalty);
        }
        for (name, share) in [("top-p", self.top_p), ("min-p", self.min_p), ("typical-p", self.typical_p)] {
            if !(0.0..=1.0).contains(&share) {
                return refuse(name, "a number from 0 to 1", share);
            }
        }
        let penalties = [("presence-penalty", self.presence_penalty), ("frequency-penalty", self.frequency_penalty)];
        for (name, penalty) in penalties {
            if !penalty.is_finite() {
                return refuse(name, "a finite number", penalty);
            }
        }
        for (&id, &bias) in &self.logit_bias {
            if bias.is_nan() || bias == f32::INFINITY {
                return refuse("logit-bias", "a finite number or minus infinity", bias);
            }
            if id as usize >= vocabulary_len {
                let found = format!("token {id} of a vocabulary of {vocabulary_len}");
                return Err(EngineError::Setting { name: "logit-bias", expected: "tokens of the vocabulary", found });
            }
        }
        Ok(())
    }
}

/// The settings that somebody chose (a user, a saved chat, a model's own defaults); the rest is left open.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the fields of SamplingSettings")]
pub struct SamplingOptions {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_p: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub typical_p: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat_penalty: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<f32>,
    /// -1 for all tokens, as in llama.cpp.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat_last_n: Option<i64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub logit_bias: BTreeMap<u32, f32>,
}

impl SamplingOptions {
    /// What `self` leaves open, `other` says.
    pub fn or(mut self, other: &Self) -> Self {
        self.temperature = self.temperature.or(other.temperature);
        self.top_k = self.top_k.or(other.top_k);
        self.top_p = self.top_p.or(other.top_p);
        self.min_p = self.min_p.or(other.min_p);
        self.typical_p = self.typical_p.or(other.typical_p);
        self.repeat_penalty = self.repeat_penalty.or(other.repeat_penalty);
        self.presence_penalty = self.presence_penalty.or(other.presence_penalty);
        self.frequency_penalty = self.frequency_penalty.or(other.frequency_penalty);
        self.repeat_last_n = self.repeat_last_n.or(other.repeat_last_n);
        for (&id, &bias) in &other.logit_bias {
            self.logit_bias.entry(id).or_insert(bias);
        }
        self
    }

    /// What is still open, [`SamplingSettings::default`] says.
    pub fn resolve(&self) -> SamplingSettings {
        let default = SamplingSettings::default();
        SamplingSettings {
            temperature: self.temperature.unwrap_or(default.temperature),
            top_k: self.top_k.unwrap_or(default.top_k),
            top_p: self.top_p.unwrap_or(default.top_p),
            min_p: self.min_p.unwrap_or(default.min_p),
            typical_p: self.typical_p.unwrap_or(default.typical_p),
            repeat_penalty: self.repeat_penalty.unwrap_or(default.repeat_penalty),
            presence_penalty: self.presence_penalty.unwrap_or(default.presence_penalty),
            frequency_penalty: self.frequency_penalty.unwrap_or(default.frequency_penalty),
            penalty_window: match self.repeat_last_n {
                None => default.penalty_window,
                Some(count) => usize::try_from(count).ok(),
            },
            logit_bias: self.logit_bias.clone(),
        }
    }
}
