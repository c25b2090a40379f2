//! Tuning against PyTorch, against itself interrupted, and data against its own rules.

mod data;
mod generation;
mod peft;
mod runs;
mod shapes;
mod support;
