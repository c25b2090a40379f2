//! From lines of JSON to examples, and from examples to batches.

mod examples;
mod lines;
mod pack;

pub use examples::{Encoder, Example};
pub use lines::{DataFile, LineKind, fingerprint, read};
pub use pack::{micro_batches, step_order};
