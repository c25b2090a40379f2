//! Which tokens of a chat are the model's own words, for training: what stands in `{% generation %}` blocks.

use std::ops::Range;

use super::{ChatInput, ChatTemplate};
use crate::error::TextError;
use crate::tokenizer::Tokenizer;

/// A chat as tokens, with what its template marks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marked {
    /// As [`super::Prompt::ids`].
    pub ids: Vec<u32>,
    /// By block, the tokens that have a character of it, as transformers' `return_assistant_tokens_mask` counts them.
    pub spans: Vec<Range<usize>>,
}

impl ChatTemplate {
    /// Renders a chat as [`ChatTemplate::render_guarded`] does, and says which tokens stand in `{% generation %}` blocks. None
    /// where that cannot be told: a block within a macro or another capture, or a tokenizer whose tokens do not spell the text.
    ///
    /// # Errors
    /// As [`ChatTemplate::render_guarded`].
    pub fn render_marked(&self, input: &ChatInput, tokenizer: &Tokenizer) -> Result<Option<Marked>, TextError> {
        let (text, Some(blocks)) = self.render_spans(input)? else { return Ok(None) };
        let prompt = self.render_guarded(input, tokenizer)?;
        let Some(ends) = ends(&text, &prompt.ids, tokenizer) else { return Ok(None) };
        let tokens = |block: Range<usize>| {
            // The first token that ends behind the block's begin, and the first that begins at its end or behind it.
            let first = ends.partition_point(|end| *end <= block.start);
            let behind = ends.partition_point(|end| *end < block.end) + 1;
            if block.is_empty() { first..first } else { first..behind.min(ends.len()) }
        };
        let spans = blocks.into_iter().map(tokens).collect();
        Ok(Some(Marked { ids: prompt.ids, spans }))
    }
}

/// Where in the text each token ends, in bytes; none where the tokens' bytes are not the text's.
fn ends(text: &str, ids: &[u32], tokenizer: &Tokenizer) -> Option<Vec<usize>> {
    let mut at = 0;
    let mut ends = Vec::with_capacity(ids.len());
    for (number, id) in ids.iter().enumerate() {
        let bytes = tokenizer.token_bytes(*id).filter(|bytes| !bytes.is_empty());
        let bytes = bytes.or_else(|| tokenizer.token_spelling(*id))?;
        let rest = text.as_bytes().get(at..)?;
        // Vocabularies with a mark for spaces write one before the text's begin, and behind special tokens.
        let bytes = match bytes.strip_prefix(b" ") {
            Some(shorter) if !rest.starts_with(bytes) => shorter,
            _ => bytes,
        };
        // One that the template does not write (BOS) would stand at the front.
        at += if rest.starts_with(bytes) {
            bytes.len()
        } else if number == 0 && tokenizer.is_special(*id) {
            0
        } else {
            return None;
        };
        ends.push(at);
    }
    (at == text.len()).then_some(ends)
}
