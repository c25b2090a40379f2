//! Tests of loaded models: right logits whatever the batch, right memory, right refusals.

mod goldens;
mod memory;
mod opening;
mod optimised;
mod peak;
mod perplexity;
mod quantized;
mod stories;
mod types;
