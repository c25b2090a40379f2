//! What is computed: ops, [`Plan`], rewrites, cost model and the reference interpreter.
//!
//! A [`Plan`] is a straight list of coarse steps over matrices `[rows, width]`, built once per model. It is plain
//! data: everything clever is a pure `Plan → Plan` rewrite (module [`mod@rewrite`]), printable and tested as text. The
//! interpreter in [`mod@reference`] is the meaning of every op; a backend's fast path is compared with it.
//!
//! Invariants
//! * Rows are the only dynamic size, so a Plan never depends on a batch. Which sequence and position a row belongs
//!   to travels beside it in [`Batch`].
//! * Every value is written by exactly one step, before any step that reads it ([`Plan::check`] holds this).
//! * An op knows widths and weights, never a model family.
//!
//! Not here: how a step runs fast (backends), where weights come from (the runtime), what a model is (`bantam-model`).
#![forbid(unsafe_code)]
#![deny(clippy::wildcard_enum_match_arm)]

mod arena;
mod backend;
mod batch;
mod cost;
mod error;
mod op;
mod plan;
mod print;
mod profile;
pub mod reference;
pub mod rewrite;
mod weights;

pub use arena::{Arena, Placement};
pub use backend::{Backend, CompileOptions, Parameter, Program, ProgramMemory, TrainingProgram};
pub use batch::{Batch, PAGE_CELLS, Place, Target};
pub use cost::{Cost, CostQuestion, step_cost, total_cost};
pub use error::PlanError;
pub use op::{
    Activate, Activation, Add, Attend, Backward, Combine, Dropout, Embed, EmbedBy, ExpertLinear, Glu, Linear, Loss,
    Magnitude, Norm, NormKind, Observe, Op, Rope, RopePairs, Route, Router, Scale, Select, Softcap, Spread,
};
pub use plan::{Plan, RopeTable, Rows, Step, TableId, Value, ValueId, Weight, WeightId};
pub use profile::{Profile, ProfiledStep};
pub use weights::{WeightView, Weights, fetch as fetch_weight};
