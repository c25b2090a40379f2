//! SIMD kernels, thread pool and memory maps: the only unsafe code of the house.
mod attention;
mod buffer;
mod elementwise;
mod error;
mod isa;
mod mapping;
mod math;
mod matrix;
mod pool;
mod simd;

pub use attention::{
    AttentionScratch, AttentionShape, KvFormat, KvLayer, KvMemory, PAGE_CELLS, PageTables, RowPlace, attend,
};
pub use elementwise::{
    Activation, RopePairs, activate, add, glu, norm_layer, norm_rms, rope_angles, rope_apply, scale, softcap,
};
pub use error::KernelError;
pub use isa::Isa;
pub use mapping::Mapping;
pub use matrix::{ActivationKind, Activations, Int8Rows, Matrix, Product, multiply};
pub use pool::{Pool, available_threads};
