//! NF4 with double quantization, as QLoRA (Dettmers et al. 2023) and bitsandbytes keep the weights of linears: a whole tensor's
//! numbers in blocks of 64, four bits each, with a scale whose own 8 bits are one of 256 shares of a scale for 256 blocks.
//!
//! Blocks run on over the ends of rows, and one offset belongs to the whole tensor, so it is no [`crate::TensorType`]. A number
//! takes 4.127 bits.

use std::sync::OnceLock;

use crate::TensorError;

/// Numbers of a block, and blocks under one scale of scales.
const BLOCK: usize = 64;
const BLOCKS: usize = 256;

/// What codes stand for: quantiles of a normal distribution (appendix E of the paper).
const CODES: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// The shares that codes of scales stand for, ascending: block-wise dynamic quantization (Dettmers et al. 2022), signed. In f32
/// as bitsandbytes makes them.
fn shares() -> &'static [f32; 256] {
    static SHARES: OnceLock<[f32; 256]> = OnceLock::new();
    SHARES.get_or_init(|| {
        let mut all = vec![0.0f32, 1.0];
        for power in 0..7 {
            let count = 1usize << power;
            let step = 0.9f32 / count as f32;
            // From the nearer end, as `torch.linspace` does.
            let bound =
                |n: usize| if n < count.div_ceil(2) { 0.1 + step * n as f32 } else { 1.0 - step * (count - n) as f32 };
            for n in 0..count {
                let mean = (bound(n) + bound(n + 1)) / 2.0;
                let share = 10f64.powi(power - 6) as f32 * mean;
                all.extend([share, -share]);
            }
        }
        all.sort_by(f32::total_cmp);
        std::array::from_fn(|n| all[n])
    })
}

/// The code whose value is nearest to `x`; of two as near the lower one.
fn nearest(values: &[f32; 256], x: f32) -> u8 {
    let above = values.partition_point(|value| *value < x).min(255);
    let below = above.saturating_sub(1);
    // Compared with the middle between the two.
    if x > (values[below] + values[above]) / 2.0 { above as u8 } else { below as u8 }
}

/// A weight `[rows, width]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Nf4 {
    rows: usize,
    width: usize,
    /// Two numbers a byte, the first in the upper half.
    codes: Vec<u8>,
    /// For each block.
    scales: Vec<u8>,
    /// For each 256 blocks.
    scales_of_scales: Vec<f32>,
    /// What is added to every scale: their mean.
    offset: f32,
}

impl Nf4 {
    /// Encodes `rows` rows of `width` numbers, which `row` gives one after the other, twice over.
    ///
    /// # Errors
    /// [`TensorError::TooLarge`], and what `row` says.
    pub fn encode<E: From<TensorError>>(
        rows: usize,
        width: usize,
        mut row: impl FnMut(usize, &mut [f32]) -> Result<(), E>,
    ) -> Result<Self, E> {
        let too_large = TensorError::TooLarge { tensor_type: crate::TensorType::F32, rows, width };
        let count = rows.checked_mul(width).filter(|count| count.checked_mul(4).is_some()).ok_or(too_large)?;
        let mut values = vec![0.0; width];
        let mut largest = vec![0f32; count.div_ceil(BLOCK)];
        for number in 0..rows {
            row(number, &mut values)?;
            for (at, x) in (number * width..).zip(&values) {
                let block = &mut largest[at / BLOCK];
                *block = block.max(x.abs());
            }
        }
        let (mut codes, mut nearest_codes) = (vec![0; count.div_ceil(2)], vec![0u8; width]);
        for number in 0..rows {
            row(number, &mut values)?;
            for (at, x) in (number * width..).zip(&mut values) {
                // A shorter last block is divided, the others multiplied, as bitsandbytes does.
                let scale = largest[at / BLOCK].max(1e-38);
                let whole = at / BLOCK < count / BLOCK;
                let share = if whole { *x * (1.0 / scale) } else { *x / scale };
                *x = share.clamp(-1.0, 1.0);
            }
            // The code is how many middles between neighbours lie below: counted for many numbers at once.
            nearest_codes.fill(0);
            for pair in CODES.windows(2) {
                let middle = (pair[0] + pair[1]) / 2.0;
                nearest_codes.iter_mut().zip(&values).for_each(|(code, x)| *code += u8::from(*x > middle));
            }
            for (at, code) in (number * width..).zip(&nearest_codes) {
                codes[at / 2] |= code << if at % 2 == 0 { 4 } else { 0 };
            }
        }
        let sum: f64 = largest.iter().map(|x| f64::from(*x)).sum();
        let offset = (sum / largest.len().max(1) as f64) as f32;
        let (mut scales, mut scales_of_scales) = (Vec::with_capacity(largest.len()), Vec::new());
        for blocks in largest.chunks(BLOCKS) {
            let most = blocks.iter().fold(0f32, |most, x| most.max((x - offset).abs()));
            let by = if most > 0.0 { 1.0 / most } else { 0.0 };
            scales.extend(blocks.iter().map(|x| nearest(shares(), (x - offset) * by)));
            scales_of_scales.push(most);
        }
        Ok(Self { rows, width, codes, scales, scales_of_scales, offset })
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Numbers of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Bytes it takes.
    pub fn bytes(rows: usize, width: usize) -> usize {
        let count = rows.saturating_mul(width);
        count.div_ceil(2) + count.div_ceil(BLOCK) + 4 * count.div_ceil(BLOCK * BLOCKS)
    }

    /// The codes, two a byte, the first of the two in the upper half.
    pub fn codes(&self) -> &[u8] {
        &self.codes
    }

    /// The scale of a block.
    fn scale(&self, block: usize) -> f32 {
        shares()[usize::from(self.scales[block])] * self.scales_of_scales[block / BLOCKS] + self.offset
    }

    /// Writes numbers of one row, from its `first` on, as many as there is room for.
    ///
    /// # Panics
    /// Where they are not in the weight.
    pub fn decode(&self, row: usize, first: usize, out: &mut [f32]) {
        assert!(row < self.rows && first + out.len() <= self.width, "numbers of a row of {}", self.width);
        let mut at = row * self.width + first;
        let mut out = out;
        while !out.is_empty() {
            let here = (BLOCK - at % BLOCK).min(out.len());
            let scale = self.scale(at / BLOCK);
            let values: [f32; 16] = std::array::from_fn(|code| CODES[code] * scale);
            let (block, rest) = out.split_at_mut(here);
            for (at, out) in (at..).zip(block) {
                let byte = self.codes[at / 2];
                *out = values[usize::from(if at % 2 == 0 { byte >> 4 } else { byte & 15 })];
            }
            (at, out) = (at + here, rest);
        }
    }
}
