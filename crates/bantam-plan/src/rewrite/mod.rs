//! Rewrites: pure `Plan → Plan` functions. Each is small because a Plan is plain data.

mod adapters;
mod apart;
mod dropout;
mod observe;
mod recompute;
mod train;

pub use adapters::{Adapter, with_adapters};
pub use apart::apart;
pub use dropout::with_dropout;
pub use observe::{Observed, observe};
pub use recompute::recompute;
pub use train::{Training, train};
