//! Weight matrices and their products with activation rows.
//!
//! Weights in block formats are repacked once into panels ([`panels`], [`forms`]) and multiplied with rows quantized to int8
//! ([`Int8Rows`]). Plain numbers are repacked as well ([`float_panels`]) and multiplied in floating point, BF16 with rows
//! rounded to bf16 where that is asked for. [`tiles`] multiplies with what is decoded tile by tile, for training.
//!
//! A result is the same bits whatever the number of rows, tiles and threads: each has one order of summation.

mod decode;
mod float_panels;
mod float_rows;
mod float_tile;
#[cfg_attr(
    not(target_arch = "x86_64"),
    allow(dead_code, unused_macros, reason = "what only kernels of an instruction set ask for")
)]
mod forms;
mod gated;
#[cfg(target_arch = "x86_64")]
mod int8_avx2;
#[cfg(target_arch = "x86_64")]
mod int8_avx512;
#[cfg(target_arch = "aarch64")]
mod int8_i8mm;
#[cfg(target_arch = "aarch64")]
mod int8_neon;
mod int8_portable;
mod int8_rows;
#[cfg(target_arch = "x86_64")]
mod int8_rows_avx512;
mod multiply;
mod packing;
#[cfg(target_arch = "x86_64")]
mod pairs;
mod panels;
mod raw;
mod target;
mod tiles;
mod turn;
mod unpack;
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    allow(dead_code, unused_macros, reason = "what only kernels of an instruction set ask for")
)]
mod wide;

pub use float_rows::{FloatRows, Precision};
pub use int8_rows::Int8Rows;
pub use multiply::{Activations, Product, multiply};
pub use tiles::{FillTile, multiply_through, multiply_tiles};

use crate::buffer::{Buffer, Shared};
use crate::{Activation, Isa, KernelError, Pool};
use bantam_tensor::{SharedBytes, TensorType};
use float_panels::FloatPanels;
use forms::PanelKind;
use panels::Panels;
use std::ops::Range;

/// `out = activation(x · gateᵀ) · (x · upᵀ)`, `[rows, outputs]`, in one pass, with the bits that [`multiply`] and [`glu`](crate::glu) give.
/// `false`, and nothing done, where there is no kernel for it: there is one for two matrices of one shape and block format, for 4 to 12
/// rows and, with AVX-512, for more.
///
/// # Panics
/// Where a length does not fit, or the rows are not what the matrices ask for.
pub fn multiply_gated(
    pool: &Pool,
    x: &Int8Rows,
    factors: (&Matrix, &Matrix),
    activation: Activation,
    out: &mut [f32],
) -> bool {
    gated::multiply(pool, x, factors, activation, out)
}

/// Number of the way in which panels are laid out: another one whenever a byte of them changes its place or meaning.
pub const PANEL_LAYOUT: u32 = 1;

/// Rows that are decoded by a thread before it asks for more.
const TOGETHER: usize = 8;

/// What a matrix wants to be multiplied with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ActivationKind {
    /// Plain rows.
    F32,
    /// Plain rows, which a product rounds to bf16 on their way in.
    Bf16,
    /// Rows quantized by [`Int8Rows`], with a scale for 32 numbers.
    Int8,
    /// The same, with a scale for 256: for formats of blocks of 256 with whole sub-scales.
    Int8By256,
}

impl ActivationKind {
    /// Whether rows are to be quantized.
    pub fn is_int8(self) -> bool {
        matches!(self, Self::Int8 | Self::Int8By256)
    }
}

/// A weight matrix `[outputs, inputs]`, ready for one instruction set.
pub struct Matrix {
    tensor_type: TensorType,
    outputs: usize,
    inputs: usize,
    isa: Isa,
    store: Store,
}

enum Store {
    Panels(Panels),
    Float(FloatPanels),
}

impl Matrix {
    /// Takes a weight of `outputs` rows of `inputs` numbers in the given format.
    ///
    /// The weight is repacked here, in parallel, into memory of its own ([`Matrix::owned_bytes`] says how much), and `bytes` are
    /// told piece by piece that they are done with ([`SharedBytes::done_with`]), so that a mapped file and what is made of it
    /// are not in memory both. The pool's scratch is made large enough for products with few rows to need no memory.
    ///
    /// # Errors
    /// A shape of no rows or columns, one whose width the format cannot hold, bytes of another length, no memory.
    pub fn new(
        tensor_type: TensorType,
        outputs: usize,
        inputs: usize,
        bytes: SharedBytes,
        isa: Isa,
        pool: &Pool,
    ) -> Result<Self, KernelError> {
        Self::with_precision(Precision::F32, tensor_type, outputs, inputs, bytes, isa, pool)
    }

    /// As [`Matrix::new`], with BF16 multiplied as `precision` says. Other formats are not concerned.
    ///
    /// # Errors
    /// As [`Matrix::new`].
    pub fn with_precision(
        precision: Precision,
        tensor_type: TensorType,
        outputs: usize,
        inputs: usize,
        bytes: SharedBytes,
        isa: Isa,
        pool: &Pool,
    ) -> Result<Self, KernelError> {
        let mut matrix = Self::waiting(precision, tensor_type, outputs, inputs, bytes, isa, pool)?;
        matrix.repack(pool)?;
        Ok(matrix)
    }

    /// As [`Matrix::with_precision`], with block formats that repack quickly left as they are in `bytes` until
    /// [`Matrix::repack`]. Until then each product repacks what it multiplies, piece by piece in the caches, and gives the same
    /// bits: less work for one or two products than fresh memory for all of it, more for many.
    ///
    /// # Errors
    /// As [`Matrix::new`].
    pub fn waiting(
        precision: Precision,
        tensor_type: TensorType,
        outputs: usize,
        inputs: usize,
        bytes: SharedBytes,
        isa: Isa,
        pool: &Pool,
    ) -> Result<Self, KernelError> {
        let shape_error = KernelError::WeightShape { tensor_type, outputs, inputs };
        let Ok(expected) = tensor_type.bytes(outputs, inputs) else {
            return Err(shape_error);
        };
        // In f32 too it must be addressable.
        if outputs == 0 || inputs == 0 || outputs.checked_mul(inputs).and_then(|n| n.checked_mul(8)).is_none() {
            return Err(shape_error);
        }
        if bytes.len() != expected {
            return Err(KernelError::WeightBytes { tensor_type, outputs, inputs, expected, found: bytes.len() });
        }
        let store = match PanelKind::of(tensor_type) {
            Some(kind) => {
                pool.reserve_scratch(multiply::scratch_length(isa, kind, inputs));
                let mut panels = Panels::waiting(kind, outputs, inputs, bytes)?;
                if !raw::is_turned(tensor_type) {
                    panels.pack(isa.usable(), pool)?;
                }
                Store::Panels(panels)
            }
            None => {
                let panels = FloatPanels::pack(tensor_type, precision, (outputs, inputs), &bytes, pool)?;
                pool.reserve_rows(multiply::rows_length(panels.element, inputs));
                Store::Float(panels)
            }
        };
        Ok(Self { tensor_type, outputs, inputs, isa: isa.usable(), store })
    }

    /// As [`Matrix::new`] of a block format, from what [`Matrix::panels`] gave before: in place, for as long as the matrix lives.
    ///
    /// # Errors
    /// A format without panels, or panels of another length or alignment than this shape has.
    pub fn from_panels(
        tensor_type: TensorType,
        outputs: usize,
        inputs: usize,
        panels: SharedBytes,
        isa: Isa,
        pool: &Pool,
    ) -> Result<Self, KernelError> {
        let shape_error = KernelError::WeightShape { tensor_type, outputs, inputs };
        let (Some(kind), Ok(_)) = (PanelKind::of(tensor_type), tensor_type.bytes(outputs, inputs)) else {
            return Err(shape_error);
        };
        if outputs == 0 || inputs == 0 || outputs.checked_mul(inputs).and_then(|n| n.checked_mul(8)).is_none() {
            return Err(shape_error);
        }
        let (expected, found) = (panels::bytes(kind, outputs, inputs).unwrap_or(usize::MAX), panels.len());
        let panels = Panels::from_bytes(kind, outputs, inputs, panels);
        let panels = panels.ok_or(KernelError::WeightBytes { tensor_type, outputs, inputs, expected, found })?;
        pool.reserve_scratch(multiply::scratch_length(isa, kind, inputs));
        Ok(Self { tensor_type, outputs, inputs, isa: isa.usable(), store: Store::Panels(panels) })
    }

    /// Repacks it in parallel, where it waits for that. Where there is no memory, it stays as it was.
    ///
    /// # Errors
    /// No memory.
    pub fn repack(&mut self, pool: &Pool) -> Result<(), KernelError> {
        match &mut self.store {
            Store::Panels(panels) => panels.pack(self.isa, pool),
            Store::Float(_) => Ok(()),
        }
    }

    /// Whether it was made by [`Matrix::waiting`] and not repacked since.
    pub fn is_waiting(&self) -> bool {
        match &self.store {
            Store::Panels(panels) => panels.is_waiting(),
            Store::Float(_) => false,
        }
    }

    /// The most bytes that a thread needs beside for products with such a weight while it waits: the pool keeps them until
    /// [`Pool::drop_rooms`].
    pub fn room_bytes(tensor_type: TensorType, outputs: usize, inputs: usize) -> usize {
        let Some(kind) = PanelKind::of(tensor_type).filter(|_| raw::is_turned(tensor_type)) else { return 0 };
        let all = panels::bytes(kind, outputs, inputs).unwrap_or(0);
        let panel = all / outputs.div_ceil(panels::COLUMNS).max(1);
        // Of one matrix, and of another whose products are made together with it; each begins on a line.
        2 * ((multiply::RESIDENT + 2 * panel).min(all) + panels::ROOM_BESIDE)
    }

    /// The repacked form of a block format, for [`Matrix::from_panels`] on a machine that lays panels out alike
    /// ([`PANEL_LAYOUT`], and the same byte order); `None` while it waits.
    pub fn panels(&self) -> Option<&[u8]> {
        match &self.store {
            Store::Panels(panels) => panels.packed(),
            Store::Float(_) => None,
        }
    }

    /// Bytes that [`Matrix::new`] would take for itself, or at most as many.
    pub fn owned_bytes(tensor_type: TensorType, outputs: usize, inputs: usize, _isa: Isa) -> usize {
        let bytes = match PanelKind::of(tensor_type) {
            Some(kind) => panels::bytes(kind, outputs, inputs),
            None => float_panels::bytes(float_panels::element(tensor_type, Precision::Bf16), outputs, inputs),
        };
        bytes.unwrap_or(0)
    }

    /// The most that matrices of so many bytes in all ([`Matrix::owned_bytes`]) take beside these: ends of huge pages.
    pub fn bytes_beside(owned: u64) -> u64 {
        if owned == 0 { 0 } else { Buffer::beside_huge(owned) }
    }

    /// What [`Matrix::activation`] of such a weight, made by [`Matrix::new`], would say.
    pub fn activation_of(tensor_type: TensorType) -> ActivationKind {
        Self::activation_in(Precision::F32, tensor_type)
    }

    /// As [`Matrix::activation_of`], of a weight made by [`Matrix::with_precision`].
    pub fn activation_in(precision: Precision, tensor_type: TensorType) -> ActivationKind {
        match (tensor_type, precision) {
            (TensorType::BF16, Precision::Bf16) => ActivationKind::Bf16,
            _ => PanelKind::of(tensor_type).map_or(ActivationKind::F32, PanelKind::activation),
        }
    }

    /// What it wants to be multiplied with.
    pub fn activation(&self) -> ActivationKind {
        match &self.store {
            Store::Panels(panels) => panels.kind.activation(),
            Store::Float(panels) => match panels.element.precision() {
                Precision::F32 => ActivationKind::F32,
                Precision::Bf16 => ActivationKind::Bf16,
            },
        }
    }

    /// Its panels, where they hold pairs of bf16.
    fn pairs(&self) -> Option<&FloatPanels> {
        match &self.store {
            Store::Float(panels) if panels.element == float_tile::Element::Bf16Pairs => Some(panels),
            Store::Float(_) | Store::Panels(_) => None,
        }
    }

    /// The format of the weight.
    pub fn tensor_type(&self) -> TensorType {
        self.tensor_type
    }

    /// Output features: rows of the weight, columns of a product.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Input features: columns of the weight and of activation rows.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The instruction set it is laid out for.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Bytes that a product with one row reads.
    pub fn bytes_read(&self) -> usize {
        match &self.store {
            Store::Panels(panels) => panels.bytes(),
            Store::Float(panels) => panels.bytes(),
        }
    }

    /// Writes one row of the weight as f32: exactly the values that the format decodes to.
    ///
    /// # Panics
    /// Where `row` is not below [`Matrix::outputs`] or `out` is not [`Matrix::inputs`] long.
    pub fn decode_row(&self, row: usize, out: &mut [f32]) {
        if let Store::Panels(panels) = &self.store
            && let Some(bytes) = panels.row_of_file(row)
            && self.tensor_type.decode(bytes, out).is_ok()
        {
            return;
        }
        self.decode_tile(row..row + 1, 0..self.inputs, out);
    }

    /// Writes some rows, `[rows, inputs]`, as [`Matrix::decode_row`] does: for each the one that `named` gives.
    ///
    /// # Panics
    /// As [`Matrix::decode_row`].
    pub fn decode_rows(&self, pool: &Pool, rows: usize, named: &(dyn Fn(usize) -> usize + Sync), out: &mut [f32]) {
        assert_eq!(Some(out.len()), rows.checked_mul(self.inputs), "length of decoded rows");
        let out = Shared::new(out);
        pool.pieces(rows.div_ceil(TOGETHER), |piece| {
            for row in piece * TOGETHER..((piece + 1) * TOGETHER).min(rows) {
                // SAFETY: each row belongs to one piece.
                self.decode_row(named(row), unsafe { out.part(row * self.inputs, self.inputs) });
            }
        });
    }

    /// Writes some rows' values of some inputs, `[outputs, inputs]`, as [`Matrix::decode_row`] does.
    ///
    /// # Panics
    /// Where the ranges are not inside the weight, inputs of block formats not whole blocks of 32, or `out` is not as long
    /// as they say.
    pub fn decode_tile(&self, outputs: Range<usize>, inputs: Range<usize>, out: &mut [f32]) {
        assert!(outputs.end <= self.outputs, "rows {outputs:?} of a weight of {} rows", self.outputs);
        assert!(inputs.end <= self.inputs, "inputs {inputs:?} of a weight of {} inputs", self.inputs);
        assert_eq!(out.len(), outputs.len() * inputs.len(), "length of a decoded tile");
        if out.is_empty() {
            return;
        }
        match &self.store {
            Store::Panels(panels) => {
                let mut room = Vec::new();
                let wanted = outputs.start / panels::COLUMNS..outputs.end.div_ceil(panels::COLUMNS);
                decode::blocks(self.isa, panels.view(self.isa, wanted, &mut room), outputs, inputs, out);
            }
            Store::Float(panels) => decode::numbers(self.isa, panels, outputs, inputs, out),
        }
    }
}

impl std::fmt::Debug for Matrix {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Matrix({:?} [{}, {}], {})", self.tensor_type, self.outputs, self.inputs, self.isa.name())
    }
}
