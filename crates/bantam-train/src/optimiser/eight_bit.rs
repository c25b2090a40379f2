//! Numbers in blocks of 8 bits with one scale each: block-wise dynamic quantization (Dettmers et al. 2022, "8-bit Optimizers
//! via Block-wise Quantization").
//!
//! A code stands for one of 256 shares of the block's largest magnitude: the first ones of seven powers of ten, evenly spaced
//! within each and the more of them the larger the power, so that both large and very small numbers keep a few digits.

use std::sync::OnceLock;

/// Numbers that share a scale.
pub(super) const BLOCK: usize = 256;
/// Powers of ten.
const POWERS: i32 = 7;

/// Numbers in blocks.
#[derive(Clone, Debug, PartialEq)]
pub struct Blocks {
    /// A byte for each number.
    pub(super) codes: Vec<u8>,
    /// For each block.
    pub(super) scales: Vec<f32>,
    signed: bool,
}

/// The shares that codes stand for, in ascending order.
fn shares(signed: bool) -> &'static [f32; 256] {
    static SHARES: [OnceLock<[f32; 256]>; 2] = [OnceLock::new(), OnceLock::new()];
    SHARES[usize::from(signed)].get_or_init(|| {
        let mut all = vec![0.0, 1.0];
        for power in 0..POWERS {
            let count = 1 << (power + i32::from(!signed));
            for n in 0..count {
                let share = 0.1 + 0.9 * (f64::from(n) + 0.5) / f64::from(count);
                let share = share * 10f64.powi(power - POWERS + 1);
                all.push(share);
                if signed {
                    all.push(-share);
                }
            }
        }
        all.sort_by(f64::total_cmp);
        std::array::from_fn(|n| all[n] as f32)
    })
}

impl Blocks {
    /// So many zeros.
    pub(super) fn new(count: usize, signed: bool) -> Self {
        let zero = shares(signed).iter().position(|share| *share == 0.0).unwrap_or(0) as u8;
        Self { codes: vec![zero; count], scales: vec![0.0; count.div_ceil(BLOCK)], signed }
    }

    /// Bytes they take.
    pub(super) fn bytes(count: usize) -> usize {
        count + 4 * count.div_ceil(BLOCK)
    }

    /// The numbers of a block.
    pub(super) fn read(&self, block: usize, out: &mut [f32]) {
        let (shares, scale) = (shares(self.signed), self.scales[block]);
        let codes = &self.codes[block * BLOCK..];
        out.iter_mut().zip(codes).for_each(|(out, code)| *out = scale * shares[usize::from(*code)]);
    }

    /// Takes the numbers of a block, each as the nearest share.
    pub(super) fn write(&mut self, block: usize, numbers: &[f32]) {
        let shares = shares(self.signed);
        let scale = numbers.iter().fold(0f32, |most, x| most.max(x.abs()));
        self.scales[block] = scale;
        let by = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        for (code, x) in self.codes[block * BLOCK..].iter_mut().zip(numbers) {
            let x = x * by;
            let above = shares.partition_point(|share| *share < x).min(255);
            let below = above.saturating_sub(1);
            *code = if x - shares[below] < shares[above] - x { below } else { above } as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Blocks, shares};

    /// Some shares by the authors' `create_dynamic_map` (bitsandbytes 0.4x, functional.py), to seven digits.
    #[test]
    fn shares_are_those_of_the_authors() {
        let check = |signed: bool, at: usize, expected: f32| {
            let found = shares(signed)[at];
            assert!((found - expected).abs() <= 1e-6 * expected.abs(), "{signed} {at}: {found} against {expected}");
        };
        check(true, 0, -0.992_968_74);
        check(true, 100, -0.007_468_75);
        check(true, 126, -5.5e-7);
        check(true, 127, 0.0);
        check(true, 128, 5.5e-7);
        check(true, 255, 1.0);
        check(false, 0, 0.0);
        check(false, 1, 3.25e-7);
        check(false, 101, 0.064_140_63);
        check(false, 128, 0.110_546_88);
        check(false, 254, 0.996_484_4);
    }

    #[test]
    fn numbers_come_back_nearly() {
        let numbers: Vec<f32> = (0..600).map(|n| (n as f32 * 0.1).sin() * 10f32.powi(-(n % 3))).collect();
        let mut blocks = Blocks::new(600, true);
        for (block, numbers) in numbers.chunks(256).enumerate() {
            blocks.write(block, numbers);
            let mut back = vec![0.0; numbers.len()];
            blocks.read(block, &mut back);
            for (x, back) in numbers.iter().zip(back) {
                assert!((x - back).abs() <= 0.1 * x.abs() + 3e-4, "{x} as {back}");
            }
        }
    }
}
