//! The two products of a gated activation and the activation itself in one pass: what comes of a panel of the gate and of the
//! same panel of its partner is at hand together, so neither product is written to memory and read again.
//!
//! Few rows go along one panel after the other, in the way of every product; many, with AVX-512, along both at a time.

use super::int8_rows::{Int8Rows, TILE, Tile};
use super::multiply::{RESIDENT, SHARES, STREAM, tile_function};
use super::panels::{COLUMNS, ReadyPanels};
use super::target::Target;
use super::{Matrix, Store};
use crate::elementwise::{Activation, gate_sums};
use crate::{Isa, Pool};
use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use super::{
    forms::PanelKind,
    pairs::{self, Pairs},
};

/// Fewer rows than these are faster along one matrix and then the other, as memory is read best.
const LEAST: usize = 4;
/// Panels of a pair: the gate's and its partner's.
const PAIR: usize = 2;
/// Of a row with a pair.
type Sums = [[f32; COLUMNS]; PAIR];

/// See [`super::multiply_gated`].
pub(super) fn multiply(
    pool: &Pool,
    x: &Int8Rows,
    (gate, up): (&Matrix, &Matrix),
    activation: Activation,
    out: &mut [f32],
) -> bool {
    let (Store::Panels(gates), Store::Panels(ups)) = (&gate.store, &up.store) else { return false };
    let same = gate.tensor_type == up.tensor_type && gate.inputs == up.inputs && gate.outputs == up.outputs;
    let (isa, few) = (gate.isa.usable(), x.rows() <= TILE);
    if !same || up.isa.usable() != isa || x.rows() < LEAST || !(few || isa == Isa::Avx512) {
        return false;
    }
    assert_eq!((x.kind(), x.width()), (gate.activation(), gate.inputs), "activations for {gate:?}");
    assert_eq!(Some(out.len()), x.rows().checked_mul(gate.outputs), "results of {} rows by {gate:?}", x.rows());
    let bytes = if few { STREAM } else { RESIDENT };
    let fair = gates.count.div_ceil(SHARES * pool.threads());
    let each = (bytes / PAIR / gates.panel_bytes).min(fair).max(1);
    let out = &Target::new(out, gate.outputs, None, false);
    pool.pieces_with(gates.count.div_ceil(each), |worker, piece| {
        let range = piece * each..((piece + 1) * each).min(gates.count);
        let waits = gates.is_waiting() || ups.is_waiting();
        let (mut rooms, mut none) = (waits.then(|| pool.rooms(worker)), [const { Vec::new() }; PAIR]);
        let [first, second] = rooms.as_deref_mut().unwrap_or(&mut none);
        let gates = gates.view(isa, range.clone(), first);
        let ups = ups.view(isa, range.clone(), second);
        let both = GateAndUp { isa, gates, ups, range, activation, out };
        #[cfg(target_arch = "x86_64")]
        if !few {
            return pairs::multiply(&both, x, &mut pool.scratch(worker));
        }
        both.by_tiles(x);
    });
    true
}

struct GateAndUp<'a> {
    isa: Isa,
    gates: ReadyPanels<'a>,
    ups: ReadyPanels<'a>,
    range: Range<usize>,
    activation: Activation,
    out: &'a Target<'a>,
}

impl GateAndUp<'_> {
    /// One panel after the other.
    fn by_tiles(&self, x: &Int8Rows) {
        let multiply = tile_function(self.isa);
        for tile in x.tiles() {
            let records = x.tile(tile).as_ptr();
            for (pair, panel) in self.range.clone().enumerate() {
                let mut both = [[[0f32; COLUMNS]; TILE]; PAIR];
                for (panels, sums) in [self.gates, self.ups].into_iter().zip(&mut both) {
                    // SAFETY: the panel and the tile's records are whole, of as many blocks (the widths have been compared), and
                    // `tile_function` gives only what the machine has.
                    unsafe {
                        multiply(panels.kind, panels.panel(panel), panels.blocks, records, &mut sums[..tile.rows])
                    };
                }
                let mut sums: [Sums; TILE] = std::array::from_fn(|row| [both[0][row], both[1][row]]);
                self.put(pair, tile, &mut sums[..tile.rows]);
            }
        }
    }

    /// Takes a tile's sums with a pair of panels to where they go, gated.
    fn put(&self, pair: usize, tile: Tile, sums: &mut [Sums]) {
        let first = (self.range.start + pair) * COLUMNS;
        let made = gate_sums(self.isa, self.activation, sums);
        self.out.take(self.isa, tile, first, made);
    }
}

#[cfg(target_arch = "x86_64")]
impl Pairs for GateAndUp<'_> {
    fn kind(&self) -> &'static PanelKind {
        self.gates.kind
    }

    fn blocks(&self) -> usize {
        self.gates.blocks
    }

    fn count(&self) -> usize {
        self.range.len()
    }

    fn panels(&self, pair: usize) -> [*const u8; PAIR] {
        let panel = self.range.start + pair;
        [self.gates.panel(panel), self.ups.panel(panel)]
    }

    fn take(&self, pair: usize, tile: Tile, sums: &mut [Sums]) {
        self.put(pair, tile, sums);
    }
}
