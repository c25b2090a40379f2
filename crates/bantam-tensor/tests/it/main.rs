//! What the crate promises: bits as the references give them, errors within bounds, nothing infinite from finite numbers.

mod bounds;
mod goldens;
mod nf4;
