//! Models there and back again.

mod formats;
mod load;
mod round_trips;
mod support;
