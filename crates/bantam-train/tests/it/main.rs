//! Tuning against PyTorch, against itself interrupted, and data against its own rules.

mod data;
mod peft;
mod runs;
mod support;
