//! The two products of a gated activation and the activation itself in one pass over many rows.
//!
//! A panel of the gate and the same panel of its partner are the two that the kernel takes at a time, so what comes of them is
//! at hand together: neither product is written to memory and read again.

use super::forms::PanelKind;
use super::int8_avx512::PAIR;
use super::int8_rows::{Int8Rows, TILE, Tile};
use super::multiply::{RESIDENT, SHARES};
use super::pairs::{self, Pairs, Sums};
use super::panels::{COLUMNS, ReadyPanels};
use super::{Matrix, Store};
use crate::buffer::Shared;
use crate::elementwise::{Activation, gate_sums};
use crate::{Isa, Pool};
use std::ops::Range;

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
    if !same || gate.isa.usable() != Isa::Avx512 || up.isa.usable() != Isa::Avx512 || x.rows() <= TILE {
        return false;
    }
    assert_eq!((x.kind(), x.width()), (gate.activation(), gate.inputs), "activations for {gate:?}");
    assert_eq!(Some(out.len()), x.rows().checked_mul(gate.outputs), "results of {} rows by {gate:?}", x.rows());
    let fair = gates.count.div_ceil(SHARES * pool.threads());
    let each = (RESIDENT / PAIR / gates.panel_bytes).min(fair).max(1);
    let out = Shared::new(out);
    pool.pieces_with(gates.count.div_ceil(each), |worker, piece| {
        let range = piece * each..((piece + 1) * each).min(gates.count);
        let mut rooms = pool.rooms(worker);
        let [first, second] = &mut *rooms;
        let gates = gates.view(Isa::Avx512, range.clone(), first);
        let ups = ups.view(Isa::Avx512, range.clone(), second);
        let pairs = GateAndUp { gates, ups, range, outputs: gate.outputs, activation, out };
        pairs::multiply(&pairs, x, &mut pool.scratch(worker));
    });
    true
}

struct GateAndUp {
    gates: ReadyPanels,
    ups: ReadyPanels,
    range: Range<usize>,
    outputs: usize,
    activation: Activation,
    out: Shared<f32>,
}

impl Pairs for GateAndUp {
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
        let first = (self.range.start + pair) * COLUMNS;
        let columns = COLUMNS.min(self.outputs - first);
        gate_sums(Isa::Avx512, self.activation, sums);
        for (row, [made, _]) in sums.iter().enumerate() {
            // SAFETY: the row is below the rows, and these outputs belong to this pair of this piece alone.
            let out = unsafe { self.out.part((tile.first + row) * self.outputs + first, columns) };
            out.copy_from_slice(&made[..columns]);
        }
    }
}
