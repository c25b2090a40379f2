//! From the rows of files to examples, and from examples to batches.

mod comparison;
mod examples;
mod lines;
mod pack;
#[cfg(feature = "parquet")]
mod parquet;
mod record;
mod rows;

pub use comparison::{Compared, Comparison};
pub use examples::{Encoder, Example};
pub use lines::{DataFile, fingerprint, read, read_comparisons};
pub use pack::{micro_batches, micro_batches_with_prompts, step_order, weighted_batches};
pub use record::{Exchange, Learning, Prompt, Record, Shape};
pub use rows::{Form, Row, Rows};
