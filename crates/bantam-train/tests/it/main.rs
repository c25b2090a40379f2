//! Tuning against PyTorch, against itself interrupted, and data against its own rules.

mod data;
mod doctor;
mod generation;
mod gguf;
mod peft;
mod preferences;
mod runs;
mod shapes;
mod support;
