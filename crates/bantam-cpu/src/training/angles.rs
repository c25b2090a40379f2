//! Cosines and sines of a batch's positions, to turn there and back.

use bantam_kernels as kernels;
use bantam_plan::RopeTable;

/// Angles of one rope table.
pub(crate) struct Angles {
    table: RopeTable,
    cosines: Vec<f32>,
    sines: Vec<f32>,
    /// The sines' opposites: a rotation's transpose turns back.
    back: Vec<f32>,
}

impl Angles {
    pub(crate) fn new(table: RopeTable, rows: usize) -> Self {
        let length = rows * table.frequencies.len();
        Self { table, cosines: vec![0.0; length], sines: vec![0.0; length], back: vec![0.0; length] }
    }

    /// Makes them for these positions.
    pub(crate) fn make(&mut self, positions: &[u32]) {
        let length = positions.len() * self.table.frequencies.len();
        let (cosines, sines) = (&mut self.cosines[..length], &mut self.sines[..length]);
        kernels::rope_angles(positions, &self.table.frequencies, self.table.magnitude, cosines, sines);
        self.back[..length].iter_mut().zip(sines).for_each(|(back, sine)| *back = -*sine);
    }

    /// Cosines and sines of so many rows; for the way back, where `back`.
    pub(crate) fn get(&self, rows: usize, back: bool) -> (&[f32], &[f32]) {
        let length = rows * self.table.frequencies.len();
        (&self.cosines[..length], if back { &self.back[..length] } else { &self.sines[..length] })
    }
}
