//! Numbers drawn from a seed: the same on every machine, for ever.

/// `SplitMix64` (Steele et al. 2014). Not for secrets.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// Draws that depend on a seed and on what they are for.
    pub(crate) fn new(seed: u64, purpose: u64) -> Self {
        let mut random = Self(seed ^ purpose.wrapping_mul(0xd6e8_feb8_6659_fd93));
        random.bits();
        random
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// An index below `end`, at least 1.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.bits()) * end as u128) >> 64) as usize
    }

    /// An even number in `-bound .. bound`.
    pub(crate) fn within(&mut self, bound: f32) -> f32 {
        let unit = (self.bits() >> 40) as f32 * (1.0 / (1u32 << 24) as f32);
        bound * (2.0 * unit - 1.0)
    }

    /// A normally distributed number of deviation 1, to within what twelve even ones add up to: the same bits everywhere, as no
    /// logarithm or cosine takes part.
    pub(crate) fn normal(&mut self) -> f32 {
        // Each has the variance 1/12.
        (0..12).map(|_| self.within(0.5)).sum()
    }

    /// The numbers `0 .. count` in an order of chance (Fisher and Yates).
    pub(crate) fn order(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for last in (1..count).rev() {
            order.swap(last, self.below(last + 1));
        }
        order
    }
}
