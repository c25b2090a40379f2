//! Sampling, generation, batching and chat sessions over a loaded model.
#![forbid(unsafe_code)]
