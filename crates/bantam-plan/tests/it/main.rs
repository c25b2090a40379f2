//! Tests of the Plan, its rewrites and the reference interpreter.

mod arena;
mod gradients;
mod reference;
mod rewrites;
mod tiny;
