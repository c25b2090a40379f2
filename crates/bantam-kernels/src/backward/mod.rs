//! Kernels of training: gradients, and the forward steps that training runs in its own way.
//!
//! Sums have one fixed order here too, whatever the number of threads: a row's gradient is made by one thread, and what is
//! summed over rows is summed in the order of rows.

mod activate;
mod attend;
mod gemm;
mod loss;
mod norm;
mod product;

pub use activate::{activate_back, add_to, glu_back, in_pieces, softcap_back};
pub use attend::{SequenceScratch, Sequences, attend_sequences, attend_sequences_back};
pub use loss::{cross_entropy, cross_entropy_back, cross_entropy_back_in_place};
pub use norm::{add_norm_gradients, norm_back};
pub use product::{
    ONE_SUM, ProductScratch, WeightRows, add_row_sums, add_weight_gradient, multiply_back, multiply_trained,
};
