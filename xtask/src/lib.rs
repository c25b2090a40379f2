//! House-keeping: the tidy rules, the line counts and the steps of readiness.
//!
//! Invariants: every rule is a pure function of a [`tree::Tree`] (files in memory), so that its tests need no disk;
//! nothing here depends on a crate of the house, so that tidy runs when they do not compile. Generated documents need
//! those crates and are therefore made by this crate's integration tests (`tests/`), run by `cargo xtask docs`.
//!
//! Not here: what a rule is *for*. That stands in `CONTRIBUTING.md` and `docs/ARCHITECTURE.md`.

#![forbid(unsafe_code)]

pub mod evidence;
pub mod loc;
pub mod scan;
pub mod steps;
pub mod tidy;
pub mod tree;
