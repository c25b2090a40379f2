//! Plans with gradients: what `bantam_plan::rewrite::train` appends, run on the same kernels.
//!
//! A training program differs from one for inference in four ways. Sequences lie whole in a batch, so attention reads its keys
//! and values there and no paged memory is kept. Trained weights are f32 and change; frozen ones stay as the file has them
//! (repacked as for inference), and gradients pass through them a decoded block at a time. From the head's logits through the
//! loss and back only a chunk of rows exists at any time ([`tail`]), so there is no `[tokens, vocabulary]` matrix. And
//! products are added where their sum is wanted ([`fuse`]).
//!
//! Every sum has one order, whatever the number of threads.

mod angles;
mod compile;
mod experts;
mod fuse;
mod held;
mod magnitude;
mod nf4;
mod run;
mod step_back;
mod step_forward;
mod tail;
mod watch;

pub(crate) use compile::{compile, memory};
pub(crate) use tail::CHUNK_BYTES;
