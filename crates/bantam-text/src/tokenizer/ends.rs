//! Which tokens end an answer.

use super::Tokenizer;
use crate::vocabulary::TokenKind;

/// Spellings that end a turn, a message or a text in the models at large. GGUF names at most three of them by key, so
/// every tool in the field looks for the others by spelling.
const ENDS: &[&str] = &[
    "<|eot_id|>",
    "<|eom_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<turn|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|end_of_turn|>",
    "<|eom|>",
    "<|eot|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<end_of_utterance>",
    "<｜end▁of▁sentence｜>",
    "<|end▁of▁sentence|>",
    "<|END_OF_TURN_TOKEN|>",
    "[|endofturn|]",
];

impl Tokenizer {
    /// Gathers the ids that end an answer from the ones named by metadata and the ones known by spelling.
    pub(super) fn gather_ends(&mut self, named: &[u32]) {
        let mut ends: Vec<u32> = named.to_vec();
        ends.extend(self.ends.eos);
        for spelling in ENDS {
            if let Some(id) = self.token_id(spelling)
                && self.token_kind(id).is_some_and(|kind| kind != TokenKind::Normal)
            {
                ends.push(id);
            }
        }
        // With both of these present, `<|end|>` closes a channel of an answer that goes on.
        let (returns, calls, end) = (self.token_id("<|return|>"), self.token_id("<|call|>"), self.token_id("<|end|>"));
        if returns.is_some_and(|id| ends.contains(&id)) && calls.is_some_and(|id| ends.contains(&id)) {
            ends.retain(|&id| Some(id) != end);
        }
        ends.sort_unstable();
        ends.dedup();
        self.ends.end_of_generation = ends;
    }
}
