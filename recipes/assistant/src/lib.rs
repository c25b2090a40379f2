//! The recipe of the assistant that the command carries: which call for a tool does an utterance ask for?
//!
//! The data sets (SNIPS, CC0; CLINC150 by Larson et al. 2019, CC-BY-3.0) become [`Example`]s, a split that keeps what is
//! measured away from what is learnt ([`split`]), more of the same by [`augment`]ation, lines to tune on, and figures
//! ([`judge`]) from what a model answered.
//!
//! Every file is a function of the data sets and a seed: the same on every machine.
//!
//! Not here: how a model is trained and run (the command does that), the data sets themselves.
#![forbid(unsafe_code)]

pub mod augment;
pub mod blend;
mod call;
mod chance;
mod clinc;
pub mod distil;
pub mod elsewhere;
mod example;
pub mod finish;
pub mod judge;
pub mod lines;
pub mod make;
pub mod near;
pub mod second;
mod snips;
pub mod spec;
pub mod split;
pub mod teacher;
pub mod vectors;
mod words;

pub use call::Call;
pub use chance::Chance;
pub use clinc::OUT_OF_SCOPE;
pub use example::{Example, Fragment, Source};

use std::path::Path;

/// Both data sets of a directory that has `snips/` and `clinc150/`.
///
/// # Errors
/// A sentence that names the file and the place in it that is missing or damaged.
pub fn read(directory: &Path) -> anyhow::Result<Vec<Example>> {
    let mut examples = snips::read(&directory.join("snips"))?;
    examples.extend(clinc::read(&directory.join("clinc150"))?);
    Ok(examples)
}
