//! Tuning a model on the very file that runs.
//!
//! Duty: from lines of data to examples with exact losses, from a model's Plan to one with gradients, and from both to
//! trained weights, with a state on the disk that goes on bit for bit where it stopped.
//!
//! | module | duty |
//! |---|---|
//! | [`data`] | rows of files (JSON lines, lists, CSV, Parquet) to examples: which tokens, and which of them the model is to say; order and packing |
//! | [`doctor`] | what is wrong with a file of examples before anything is learned from it |
//! | [`adapters`] | which weights get an adapter (LoRA, rsLoRA, DoRA), and what it begins with |
//! | [`trainer`] | the loop: batches, gradients, clipping, updates, averages; validation; what is promised beforehand |
//! | [`preference`] | losses over whole answers: DPO, ORPO, KTO |
//! | [`optimiser`] | AdamW over states of f32 or 8 bits, Muon |
//! | [`scratch`] | a model from nothing: spec, tokenizer, first weights, the finished file |
//! | [`schedule`] | the learning rate of each step |
//! | [`checkpoint`] | the state of a run in one file, written atomically |
//!
//! Invariants
//! * The Plan that is trained is the Plan that runs, rewritten (`with_adapters`, `train`, `recompute`); there is no second model.
//! * Everything that is drawn at random is a function of the seed and the step, so an interrupted run that goes on gives the
//!   weights of one that was never interrupted, bit for bit.
//! * Data is never cut or dropped silently: what does not fit is named with its line.
//!
//! Not here: gradients themselves (`bantam-plan`, backends), adapters' files (`bantam-runtime`), printing and arguments.
#![forbid(unsafe_code)]

pub mod adapters;
pub mod checkpoint;
pub mod data;
pub mod doctor;
mod error;
pub mod optimiser;
pub mod preference;
mod random;
pub mod schedule;
pub mod scratch;
pub mod trainer;

pub use error::TrainError;
pub use trainer::{Event, Method, Promise, Recompute, Tokens, TrainOptions, Trainer};
