//! Weight matrices and their products with activation rows.
//!
//! Weights in block formats are repacked once into panels ([`panels`], [`forms`]) and multiplied with rows quantized to int8
//! ([`Int8Rows`]). Numbers without blocks stay where they are and are multiplied in f32 ([`float`]).
//!
//! A result is the same bits whatever the number of rows, tiles and threads: each has one order of summation.

mod float;
mod forms;
#[cfg(target_arch = "x86_64")]
mod int8_avx2;
#[cfg(target_arch = "x86_64")]
mod int8_avx512;
mod int8_portable;
mod int8_rows;
mod multiply;
mod panels;
mod unpack;
mod wide;

pub use int8_rows::Int8Rows;
pub use multiply::{Activations, Product, multiply};

use crate::{Isa, KernelError, Pool};
use bantam_tensor::{SharedBytes, TensorType};
use forms::PanelKind;
use panels::Panels;

/// What a matrix wants to be multiplied with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ActivationKind {
    /// Plain rows.
    F32,
    /// Rows quantized by [`Int8Rows`].
    Int8,
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
    InPlace { bytes: SharedBytes, row_bytes: usize },
}

impl Matrix {
    /// Takes a weight of `outputs` rows of `inputs` numbers in the given format.
    ///
    /// Block formats are repacked here, in parallel, into memory of their own ([`Matrix::owned_bytes`] says how much);
    /// everything else stays in `bytes` and is decoded tile by tile as it is used. The pool's scratch is made large
    /// enough for the matrix, so that products need no memory.
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
        let shape_error = KernelError::WeightShape { tensor_type, outputs, inputs };
        let (Ok(row_bytes), Ok(expected)) = (tensor_type.row_bytes(inputs), tensor_type.bytes(outputs, inputs)) else {
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
                let panels = Panels::pack(kind, outputs, inputs, &bytes, pool)?;
                pool.reserve_scratch(multiply::scratch_length(isa, kind, inputs));
                Store::Panels(panels)
            }
            None => {
                pool.reserve_scratch(float::scratch_length(inputs));
                Store::InPlace { bytes, row_bytes }
            }
        };
        Ok(Self { tensor_type, outputs, inputs, isa: isa.usable(), store })
    }

    /// Bytes that [`Matrix::new`] would take for itself; 0 where the weight stays in place.
    pub fn owned_bytes(tensor_type: TensorType, outputs: usize, inputs: usize, _isa: Isa) -> usize {
        PanelKind::of(tensor_type).and_then(|kind| panels::bytes(kind, outputs, inputs)).unwrap_or(0)
    }

    /// What [`Matrix::activation`] of such a weight would say.
    pub fn activation_of(tensor_type: TensorType) -> ActivationKind {
        if PanelKind::of(tensor_type).is_some() { ActivationKind::Int8 } else { ActivationKind::F32 }
    }

    /// What it wants to be multiplied with.
    pub fn activation(&self) -> ActivationKind {
        Self::activation_of(self.tensor_type)
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
            Store::InPlace { bytes, .. } => bytes.len(),
        }
    }

    /// Writes one row of the weight as f32: exactly the values that the format decodes to, repacked or not.
    ///
    /// # Panics
    /// Where `row` is not below [`Matrix::outputs`] or `out` is not [`Matrix::inputs`] long.
    pub fn decode_row(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.outputs, "row {row} of a weight of {} rows", self.outputs);
        assert_eq!(out.len(), self.inputs, "length of a decoded row");
        match &self.store {
            Store::Panels(panels) => panels.decode_row(row, out),
            Store::InPlace { bytes, row_bytes } => self.decode_in_place(&bytes[row * row_bytes..][..*row_bytes], out),
        }
    }

    /// Decodes one row's bytes; both lengths have been checked.
    #[inline]
    fn decode_in_place(&self, bytes: &[u8], out: &mut [f32]) {
        let decoded = self.tensor_type.decode(bytes, out);
        debug_assert!(decoded.is_ok(), "lengths of a row are checked when the matrix is made");
    }
}

impl std::fmt::Debug for Matrix {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Matrix({:?} [{}, {}], {})", self.tensor_type, self.outputs, self.inputs, self.isa.name())
    }
}
