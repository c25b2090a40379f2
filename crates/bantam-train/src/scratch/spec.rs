//! What a new model is to be, as a TOML file says it.

use std::collections::BTreeMap;
use std::path::Path;

use bantam_model::families::FAMILIES;
use bantam_tensor::TensorType;
use serde::{Deserialize, Serialize};

use crate::TrainError;
use crate::schedule::Schedule;

/// A model from nothing: its shape, its tokenizer, what is written into its metadata, and how it is trained.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ScratchSpec {
    /// The family, by the name that `general.architecture` gives it; one whose layers are attention and a gated network.
    pub family: String,
    /// Width of the residual stream.
    pub width: usize,
    /// Layers.
    pub layers: usize,
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values; as many as of queries where not given.
    pub kv_heads: Option<usize>,
    /// Width of a head; `width / heads` where not given.
    pub head_width: Option<usize>,
    /// Inner width of the feed-forward network; 8/3 of the width, rounded up to a multiple of 64, where not given.
    pub feed_forward: Option<usize>,
    /// Most tokens of a sequence.
    #[serde(default = "default_context")]
    pub context: usize,
    /// Whether the embedding is the head, too.
    #[serde(default = "default_tied")]
    pub tied: bool,
    /// Base of the rotary embedding's frequencies.
    #[serde(default = "default_rope_base")]
    pub rope_base: f32,
    /// Epsilon of the norms.
    #[serde(default = "default_norm_eps")]
    pub norm_eps: f32,
    /// What the finished model's matrices are written as: `f32`, `bf16` or `f16`.
    #[serde(default = "default_weights")]
    pub weights: String,
    /// Jinja template of chats; without one the model goes on with texts.
    pub chat_template: Option<String>,
    /// Its tokenizer.
    pub tokenizer: TokenizerSpec,
    /// Keys of GGUF's `general.` and their texts: `name`, `author`, `license`, `description`, …
    #[serde(default)]
    pub general: BTreeMap<String, String>,
    /// What it begins with.
    #[serde(default)]
    pub begin: BeginSpec,
    /// How it is trained.
    #[serde(default)]
    pub training: TrainingSpec,
}

/// Byte-level BPE, learnt from the corpus.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerSpec {
    /// Tokens in all; fewer where the corpus has no more pairs that occur often enough.
    pub size: usize,
    /// What cuts texts into words, by the name that GGUF gives it.
    #[serde(default = "default_pre_tokenizer")]
    pub pre_tokenizer: String,
    /// Special tokens, which never come from plain text.
    #[serde(default)]
    pub special: Vec<String>,
    /// Tokens that always match their own text, before any merging.
    #[serde(default)]
    pub user_defined: Vec<String>,
    /// The special token that texts begin with.
    pub begin: Option<String>,
    /// The special token that ends texts and answers.
    pub end: String,
    /// A pair that occurs less often becomes no token.
    #[serde(default = "default_least_count")]
    pub least_count: u64,
}

/// What the weights begin with.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BeginSpec {
    /// Lines of `{"text": …, "embedding": [width numbers]}`, as `bantam embed` writes them: a token of that text begins with
    /// that direction. A path from the spec's directory.
    pub embeddings: Option<String>,
    /// Heads of the first layer begin by looking so many places back, one for each number: what was said before is then copied
    /// much sooner.
    #[serde(default)]
    pub looks_back: Vec<usize>,
    /// A .gguf file of f32, such as an earlier training gave, of this shape: its weights, its tokenizer and its template are what it
    /// begins with, in the place of all that is said of these. A path from the spec's directory.
    pub model: Option<String>,
}

/// What steps, by the names that `bantam tune --optimiser` has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub enum Optimiser {
    /// AdamW with states of f32.
    #[default]
    #[serde(rename = "adamw")]
    AdamW,
    /// AdamW with states of 8 bits.
    #[serde(rename = "adamw-8bit")]
    EightBit,
    /// Muon for matrices between layers, AdamW for the rest.
    #[serde(rename = "muon")]
    Muon,
}

/// How it is trained; each setting may be left out.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingSpec {
    /// How often every example is seen.
    pub epochs: usize,
    /// Examples of a step.
    pub batch: usize,
    /// Tokens that run together.
    pub rows: usize,
    /// The learning rate at its height.
    pub rate: f32,
    /// How it goes: `constant`, `linear`, `cosine` or `wsd`.
    pub schedule: String,
    /// Share of the steps over which it rises.
    pub warmup: f32,
    /// Share of the numbers left out of embeddings and of what layers add, while it learns.
    pub dropout: f32,
    /// Weight of a prompt's token in the loss, where an answer's is 1; 0: only answers are learned.
    pub prompt_weight: f32,
    /// What steps.
    pub optimiser: Optimiser,
    /// Share of a weight, times the learning rate, that each step takes off.
    pub weight_decay: f32,
    /// Decay of AdamW's mean of squared gradients.
    pub beta2: f32,
    /// Most that the norm of a step's gradients may be; 0: any.
    pub clip: f32,
    /// Decay, by step, of the average of the weights that becomes the model; 0: the last weights do.
    pub average: f32,
    /// Seed of everything random.
    pub seed: u64,
    /// Steps between states kept on the disk.
    pub save_every: usize,
    /// Steps between measurements on validation examples; an epoch where not given.
    pub validate_every: Option<usize>,
}

impl Default for TrainingSpec {
    fn default() -> Self {
        Self {
            epochs: 3,
            batch: 64,
            rows: 2048,
            rate: 1e-3,
            schedule: "cosine".into(),
            warmup: 0.02,
            dropout: 0.0,
            prompt_weight: 0.0,
            optimiser: Optimiser::default(),
            weight_decay: 0.1,
            beta2: 0.98,
            clip: 1.0,
            average: 0.0,
            seed: 0,
            save_every: 200,
            validate_every: None,
        }
    }
}

fn default_context() -> usize {
    512
}

fn default_tied() -> bool {
    true
}

fn default_rope_base() -> f32 {
    10_000.0
}

fn default_norm_eps() -> f32 {
    1e-5
}

fn default_weights() -> String {
    "f32".into()
}

fn default_pre_tokenizer() -> String {
    bantam_text::training::USUAL_PRE_TOKENIZER.into()
}

fn default_least_count() -> u64 {
    2
}

/// Largest count believed of each kind: beyond, a number is a mistake rather than a model of this program's size.
const MOST_WIDTH: usize = 1 << 14;
const MOST_LAYERS: usize = 256;
const MOST_CONTEXT: usize = 1 << 20;

impl ScratchSpec {
    /// Reads and checks a spec.
    ///
    /// # Errors
    /// [`TrainError::Spec`] with the place and what is wrong there.
    pub fn read(path: &Path) -> Result<Self, TrainError> {
        let wrong = |problem: String| TrainError::Spec { path: path.to_owned(), problem };
        let text = std::fs::read_to_string(path)
            .map_err(|error| TrainError::Read { path: path.to_owned(), problem: error.to_string() })?;
        Self::parse(&text).map_err(wrong)
    }

    /// The same from a text.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let spec: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| text.get(..span.start).unwrap_or(text).matches('\n').count() + 1);
            let place = line.map_or(String::new(), |line| format!("line {line}: "));
            format!("{place}{}", error.message())
        })?;
        spec.check()?;
        Ok(spec)
    }

    fn check(&self) -> Result<(), String> {
        let within = |what: &str, found: usize, most: usize| match found {
            0 => Err(format!("`{what}` is 0, expected 1 to {most}")),
            found if found > most => Err(format!("`{what}` is {found}, expected 1 to {most}")),
            _ => Ok(()),
        };
        within("width", self.width, MOST_WIDTH)?;
        within("layers", self.layers, MOST_LAYERS)?;
        within("heads", self.heads, MOST_WIDTH)?;
        within("kv_heads", self.kv_heads(), self.heads)?;
        within("feed_forward", self.feed_forward(), 16 * MOST_WIDTH)?;
        within("context", self.context, MOST_CONTEXT)?;
        within("training.epochs", self.training.epochs, 1 << 20)?;
        within("training.batch", self.training.batch, 1 << 20)?;
        within("training.rows", self.training.rows, 1 << 20)?;
        within("training.save_every", self.training.save_every, usize::MAX)?;
        within("training.validate_every", self.training.validate_every.unwrap_or(1), usize::MAX)?;
        if !self.heads.is_multiple_of(self.kv_heads()) {
            return Err(format!("`heads` is {}, no multiple of `kv_heads`, {}", self.heads, self.kv_heads()));
        }
        if self.head_width.is_none() && !self.width.is_multiple_of(self.heads) {
            return Err(format!("`width` is {}, no multiple of `heads`, {}", self.width, self.heads));
        }
        within("head_width", self.head_width(), MOST_WIDTH)?;
        if !self.head_width().is_multiple_of(2) {
            return Err(format!("heads are {} wide; rotary embeddings turn pairs", self.head_width()));
        }
        for (what, found) in [("rope_base", self.rope_base), ("norm_eps", self.norm_eps)] {
            if !(found.is_finite() && found > 0.0) {
                return Err(format!("`{what}` is {found}, expected more than 0"));
            }
        }
        if self.begin.model.is_some() && (self.begin.embeddings.is_some() || !self.begin.looks_back.is_empty()) {
            return Err(
                "`begin.model` has its weights, and `begin.embeddings` and `begin.looks_back` would change them".into(),
            );
        }
        self.begin.looks_back.iter().try_for_each(|&back| within("begin.looks_back", back, self.context))?;
        self.check_training()?;
        self.weight_type()?;
        if !FAMILIES.iter().any(|family| family.gguf.contains(&self.family.as_str())) {
            let mut known: Vec<&str> = FAMILIES.iter().flat_map(|family| family.gguf).copied().collect();
            known.sort_unstable();
            known.dedup();
            return Err(format!("there is no family `{}`; known are {}", self.family, known.join(", ")));
        }
        let special = |what: &str, token: &String| match self.tokenizer.special.contains(token) {
            true => Ok(()),
            false => Err(format!("`tokenizer.{what}` is {token:?}, which is not among `tokenizer.special`")),
        };
        special("end", &self.tokenizer.end)?;
        self.tokenizer.begin.iter().try_for_each(|token| special("begin", token))
    }

    fn check_training(&self) -> Result<(), String> {
        let training = &self.training;
        let numbers = [
            ("rate", training.rate, f32::MAX),
            ("warmup", training.warmup, 1.0),
            ("dropout", training.dropout, 1.0),
            ("prompt_weight", training.prompt_weight, f32::MAX),
            ("weight_decay", training.weight_decay, f32::MAX),
            ("beta2", training.beta2, 1.0),
            ("clip", training.clip, f32::MAX),
            ("average", training.average, 1.0),
        ];
        for (what, found, most) in numbers {
            if !(0.0..=most).contains(&found) || (most == 1.0 && found == 1.0) {
                let most = if most == 1.0 { ", and below 1" } else { "" };
                return Err(format!("`training.{what}` is {found}, expected at least 0{most}"));
            }
        }
        self.schedule().map(|_| ())
    }

    /// How the learning rate goes.
    pub(super) fn schedule(&self) -> Result<Schedule, String> {
        let name = &self.training.schedule;
        Schedule::from_name(name)
            .ok_or_else(|| format!("there is no schedule `{name}`; known are {}", Schedule::NAMES.join(", ")))
    }

    /// What the finished model's matrices are written as.
    pub(super) fn weight_type(&self) -> Result<TensorType, String> {
        match self.weights.as_str() {
            "f32" => Ok(TensorType::F32),
            "bf16" => Ok(TensorType::BF16),
            "f16" => Ok(TensorType::F16),
            other => Err(format!("`weights` is {other:?}, expected f32, bf16 or f16; bantam convert --type quantizes")),
        }
    }

    /// Heads of keys and values.
    pub fn kv_heads(&self) -> usize {
        self.kv_heads.unwrap_or(self.heads)
    }

    /// Width of a head.
    pub fn head_width(&self) -> usize {
        self.head_width.unwrap_or(self.width / self.heads.max(1))
    }

    /// Inner width of the feed-forward network.
    pub fn feed_forward(&self) -> usize {
        self.feed_forward.unwrap_or_else(|| (self.width.saturating_mul(8) / 3).next_multiple_of(64))
    }
}
