//! The hook for output that must follow rules: a grammar, a schema, a list of choices.

/// Says which tokens may come next.
pub trait Constraint: Send {
    /// Sets the logits of tokens that may not come next to minus infinity. `logits` has one place a token.
    fn mask(&mut self, logits: &mut [f32]);

    /// The token that was chosen.
    fn accept(&mut self, token: u32);
}
