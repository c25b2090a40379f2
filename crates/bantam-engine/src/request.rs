//! What is asked of a model.

use bantam_constrain::Constraint;

use crate::reasoning::Reasoning;
use crate::tools::ToolReading;
use crate::{EngineError, SamplingSettings};

/// One prompt and how it is to be answered.
#[derive(Clone, Debug)]
pub struct Request {
    /// The prompt's tokens, with BOS where the model wants it.
    pub prompt: Vec<u32>,
    /// How tokens are chosen.
    pub sampling: SamplingSettings,
    /// The same seed gives the same answer; `None` draws one, which the answer names.
    pub seed: Option<u64>,
    /// The answer ends before the first of these texts. They are looked for in all the model writes, thoughts included.
    pub stop: Vec<String>,
    /// Most tokens to generate, the one that ends the answer included; `None`: until the model ends or the context is full.
    pub max_tokens: Option<usize>,
    /// Log-probabilities of the chosen tokens, and of this many of the likeliest beside each.
    pub logprobs: Option<usize>,
    /// How thoughts are told from the answer, where the model thinks.
    pub reasoning: Option<Reasoning>,
    /// What the answer must be; thoughts before it are free.
    pub constraint: Option<Constraint>,
    /// How calls for tools are told from the answer, where there are tools.
    pub tools: Option<ToolReading>,
    /// Whether special tokens are spelled in the answer; normally they are left out.
    pub spell_special: bool,
    /// Special tokens that are spelled nevertheless (markers that a reader of the answer needs).
    pub spelled_tokens: Vec<u32>,
    /// Whether generation goes on behind tokens that end an answer.
    pub ignore_end: bool,
}

impl Request {
    /// A request with the default settings.
    pub fn new(prompt: Vec<u32>) -> Self {
        Self {
            prompt,
            sampling: SamplingSettings::default(),
            seed: None,
            stop: Vec::new(),
            max_tokens: None,
            logprobs: None,
            reasoning: None,
            constraint: None,
            tools: None,
            spell_special: false,
            spelled_tokens: Vec::new(),
            ignore_end: false,
        }
    }

    /// Refuses a prompt that cannot be run.
    pub(crate) fn check(&self, context: usize, vocabulary_len: usize) -> Result<(), EngineError> {
        if self.prompt.is_empty() {
            return Err(EngineError::EmptyPrompt);
        }
        if let Some(&token) = self.prompt.iter().find(|&&token| token as usize >= vocabulary_len) {
            return Err(EngineError::PromptToken { token, vocabulary_len });
        }
        if self.prompt.len() > context {
            return Err(EngineError::PromptTooLong { tokens: self.prompt.len(), context });
        }
        if self.logprobs.is_some_and(|count| count > vocabulary_len) {
            let found = format!("{} of {vocabulary_len}", self.logprobs.unwrap_or_default());
            return Err(EngineError::Setting { name: "logprobs", expected: "at most the vocabulary's size", found });
        }
        Ok(())
    }
}
