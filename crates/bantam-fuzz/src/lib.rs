//! Damaged input for every parser, on stable Rust and for a bounded time.
//!
//! Duty: take well-formed inputs (made here, or a directory of them), damage them with [`bantam_testkit::mutate`], and see
//! that each parser answers with a value or an error, never a panic. A run is named by its seed; each iteration can be had
//! again by its number.
//!
//! Not in it: coverage guidance (that needs nightly Rust).
#![forbid(unsafe_code)]

mod runner;
pub mod targets;

pub use runner::{Finding, Limits, Report, damaged, run};
pub use targets::{TARGETS, Target};
