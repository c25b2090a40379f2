//! A small matrix of numbers beside a weight: its scales or offsets.

use bantam_tensor::{SharedBytes, bf16_to_f32, e4m3_to_f32, e8m0_to_f32, f16_to_f32};

use crate::Tensor;

/// How numbers of a grid are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    F32,
    F16,
    Bf16,
    E4m3,
    E8m0,
}

impl Number {
    /// By the name of the element type; an `U8` is what a scheme says it is.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "F32" => Some(Self::F32),
            "F16" => Some(Self::F16),
            "BF16" => Some(Self::Bf16),
            "F8_E4M3" => Some(Self::E4m3),
            "F8_E8M0" => Some(Self::E8m0),
            _ => None,
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::E4m3 | Self::E8m0 => 1,
        }
    }

    #[inline]
    fn read(self, bytes: &[u8], index: usize) -> f32 {
        let size = self.bytes();
        match (self, bytes.get(index * size..index * size + size)) {
            (Self::F32, Some(&[a, b, c, d])) => f32::from_le_bytes([a, b, c, d]),
            (Self::F16, Some(&[a, b])) => f16_to_f32(u16::from_le_bytes([a, b])),
            (Self::Bf16, Some(&[a, b])) => bf16_to_f32(u16::from_le_bytes([a, b])),
            (Self::E4m3, Some(&[a])) => e4m3_to_f32(a),
            (Self::E8m0, Some(&[a])) => e8m0_to_f32(a),
            _ => 0.0,
        }
    }
}

/// Numbers by row and group of a weight. Strides of 0 make one number serve several.
pub(super) struct Grid {
    pub(super) bytes: SharedBytes,
    pub(super) number: Number,
    /// Numbers from one row (of `rows_each` rows of the weight) to the next, and from one group to the next.
    pub(super) strides: (usize, usize),
    pub(super) rows_each: usize,
}

impl Grid {
    /// The numbers of a tensor, `strides` as said above; `None` where its elements are no numbers of ours or `rows` and
    /// `groups` leave it.
    pub(super) fn of(tensor: &Tensor, strides: (usize, usize), rows: usize, groups: usize) -> Option<Self> {
        Self::stored(tensor.bytes.clone(), Number::named(tensor.element_name())?, strides, rows, groups)
    }

    /// The same from bytes.
    pub(super) fn stored(
        bytes: SharedBytes,
        number: Number,
        strides: (usize, usize),
        rows: usize,
        groups: usize,
    ) -> Option<Self> {
        let last =
            rows.checked_sub(1)?.checked_mul(strides.0)?.checked_add(groups.checked_sub(1)?.checked_mul(strides.1)?)?;
        let needed = last.checked_add(1)?.checked_mul(number.bytes())?;
        (needed <= bytes.len()).then_some(Self { bytes, number, strides, rows_each: 1 })
    }

    /// Where one number stands in [`Grid::read`]'s count.
    #[inline]
    pub(super) fn index(&self, row: usize, group: usize) -> usize {
        row / self.rows_each * self.strides.0 + group * self.strides.1
    }

    /// One number; nothing (0) outside.
    #[inline]
    pub(super) fn get(&self, row: usize, group: usize) -> f32 {
        self.number.read(&self.bytes, self.index(row, group))
    }

    /// Whether every number is one of F16 too.
    pub(super) fn is_f16(&self) -> bool {
        let fits = |value: f32| f16_to_f32(bantam_tensor::f32_to_f16(value)).to_bits() == value.to_bits();
        match self.number {
            Number::F16 => true,
            Number::E4m3 => !(0..self.count()).any(|index| self.number.read(&self.bytes, index).is_nan()),
            Number::F32 | Number::Bf16 | Number::E8m0 => {
                (0..self.count()).all(|index| fits(self.number.read(&self.bytes, index)))
            }
        }
    }

    /// How many numbers are stored.
    pub(super) fn count(&self) -> usize {
        self.bytes.len() / self.number.bytes()
    }

    /// Whether any number is not one.
    pub(super) fn has_nan(&self) -> bool {
        (0..self.count()).any(|index| self.number.read(&self.bytes, index).is_nan())
    }
}
