//! Models there and back again.

mod formats;
mod load;
mod round_trips;
mod safety;
mod support;
mod tokenizers;
