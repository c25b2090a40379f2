//! Steps that go through their rows number by number: norms, rotary embedding, activations.
//!
//! Rows are spread over the pool where there are enough numbers to be worth a region; a single row stays on the caller's
//! thread. Lengths are checked once a call; a mismatch is a mistake of the caller and panics with both lengths.

mod activate;
mod norm;
mod rope;

pub(crate) use activate::gate_sums;
pub use activate::{Activation, activate, add, glu, scale, softcap};
pub use norm::{norm_layer, norm_rms};
pub use rope::{RopePairs, rope_angles, rope_apply};

use crate::Pool;
use std::ops::Range;

/// Numbers below which a region would cost more than it saves.
const WORTH_A_REGION: usize = 1 << 14;
/// Numbers in a piece of work.
const PIECE: usize = 1 << 13;

/// Calls `part` with ranges that cover `0..items`, on the pool where `items * width` numbers are worth it.
pub(crate) fn spread(pool: &Pool, items: usize, width: usize, part: impl Fn(Range<usize>) + Sync) {
    if items < 2 || items.saturating_mul(width) < WORTH_A_REGION || pool.threads() == 1 {
        part(0..items);
        return;
    }
    let each = (PIECE / width.max(1)).max(1);
    pool.pieces(items.div_ceil(each), |piece| part(piece * each..((piece + 1) * each).min(items)));
}

/// Panics, naming both lengths, where a slice is not as long as its shape says.
#[track_caller]
pub(crate) fn expect_length(what: &str, found: usize, rows: usize, width: usize) {
    assert!(rows.checked_mul(width) == Some(found), "{what}: expected {rows} rows of {width}, found {found} numbers");
}
