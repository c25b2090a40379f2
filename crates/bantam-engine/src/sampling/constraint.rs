//! The hook for output that must follow rules: a grammar, a schema, a list of choices.

use crate::EngineError;

/// Sets the logits of tokens that may not come next to minus infinity; the row has one place a token.
pub type Mask<'m> = &'m mut dyn FnMut(&mut [f32]) -> Result<(), EngineError>;
