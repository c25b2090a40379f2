//! What tests share: tiny models with their goldens, tolerance asserts, seeded randomness, an allocation counter.
//!
//! Everything here panics with a clear sentence instead of returning errors: a test has nothing better to do with one.
//! Not here: anything a shipped program needs; anything that knows another Bantam crate.
#![deny(unsafe_code)] // `counting_allocator.rs` alone may, and says why

mod close;
mod counting_allocator;
pub mod evidence;
mod golden;
pub mod mutate;
pub mod npy;
mod random;
mod shared;

pub use close::{assert_bits_equal, assert_close, largest_difference, range_of};
pub use counting_allocator::{Allocations, CountingAllocator};
pub use golden::{Golden, GoldenSequence, Gradient};
pub use random::Random;
pub use shared::shared_dir;
