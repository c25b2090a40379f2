//! Calls for tools in an answer: what is needed to read them.

use bantam_constrain::Constraint;
use bantam_text::tool_calls::{Convention, ToolCallParser, Tools};

/// How calls are read from an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolReading {
    /// How the model writes them.
    pub convention: &'static Convention,
    /// What it may call.
    pub tools: Tools,
    /// Calls earlier in the conversation.
    pub earlier: usize,
    /// What the prompt holds of the answer: the beginning of a call that was asked for.
    pub opened: String,
    /// What holds the answer to such calls; thoughts before it are free.
    pub constraint: Option<Constraint>,
}

impl ToolReading {
    /// The parser of an answer to a prompt. Identifiers depend on the prompt, so that they differ in the turns of a
    /// conversation, and on the seed, so that the same request gives the same answer.
    pub(crate) fn parser(&self, prompt: &[u32], seed: u64) -> ToolCallParser {
        // FNV-1a.
        let mixed = prompt.iter().fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, &token| {
            (hash ^ u64::from(token)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let mut parser = ToolCallParser::new(self.convention, self.tools.clone(), mixed, self.earlier);
        // A call's beginning is held back, so nothing comes out yet.
        parser.push(&self.opened, &mut |_| {});
        parser
    }
}
