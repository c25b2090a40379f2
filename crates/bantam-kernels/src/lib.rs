//! SIMD kernels, thread pool and memory maps: the only unsafe code of the house.
//!
//! **Duty.** Everything that must be fast on a processor, behind functions of slices that check every length once and
//! spread their own work over a [`Pool`]: matrix products on quantized and plain weights ([`Matrix`], [`multiply`]),
//! norms, rotary embedding and activations, and attention over paged memory ([`KvMemory`], [`attend`]). Also the two
//! other things that need unsafe code: the pool itself and mapped files ([`Mapping`]).
//!
//! **Invariants.**
//! * A row's result is the same bits whatever other rows are in the batch, however work is cut into tiles, chunks and
//!   spans, and on any number of threads: every sum has one fixed order.
//! * No call that belongs to a decode step allocates; what it needs is in objects made before. Products with weights that wait
//!   to be repacked ([`Matrix::waiting`]) do, until each thread has room for the largest piece.
//! * Each kernel has a portable twin that the tests compare it with. Asking for an [`Isa`] that the machine lacks is safe.
//! * A length that does not fit is the caller's mistake and panics with both lengths; what can be wrong with a model or a
//!   machine is a [`KernelError`].
//!
//! **Not here.** What is computed in which order (the Plan), what the formats mean (`bantam-tensor`), files' contents
//! (`bantam-formats`).

#![allow(
    clippy::needless_range_loop,
    reason = "register tiles are arrays walked by row and column; iterators hide which register is meant"
)]
#![allow(
    clippy::too_many_arguments,
    reason = "kernels take slices and their shape, as BLAS does; a struct for each would only rename the arguments"
)]

mod attention;
mod backward;
mod buffer;
mod elementwise;
mod error;
mod isa;
mod limits;
mod mapping;
mod math;
mod matrix;
mod pool;
#[cfg(target_os = "linux")]
mod region;
mod simd;

pub use attention::{
    AttentionScratch, AttentionShape, KvFormat, KvLayer, KvMemory, PAGE_CELLS, PageTables, RowPlace, attend,
};
pub use backward::{
    ONE_SUM, ProductScratch, SequenceScratch, Sequences, WeightRows, activate_back, add_norm_gradients, add_row_sums,
    add_to, add_weight_gradient, attend_sequences, attend_sequences_back, cross_entropy, cross_entropy_back,
    cross_entropy_back_in_place, glu_back, in_pieces, multiply_back, multiply_trained, norm_back, softcap_back,
};
pub use elementwise::{
    Activation, RopePairs, activate, add, glu, norm_layer, norm_rms, rope_angles, rope_apply, scale, softcap,
};
pub use error::KernelError;
pub use isa::Isa;
pub use limits::{FloatPeak, f32_peak, float_peak, int8_peak, read_bandwidth};
pub use mapping::Mapping;
pub use matrix::{
    ActivationKind, Activations, FillTile, FloatRows, Int8Rows, Matrix, PANEL_LAYOUT, Precision, Product, multiply,
    multiply_gated, multiply_through, multiply_tiles,
};
pub use pool::{Pool, PoolCounts, available_threads};
