//! A small seeded generator: the same numbers on every machine, for ever.

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014). Not for secrets.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A generator whose numbers depend on the seed alone.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// An index below `end`, which is at least 1.
    pub fn below(&mut self, end: usize) -> usize {
        assert!(end > 0, "there is no index below 0");
        // Lemire's multiply-and-shift; its bias is at most end / 2^64.
        ((self.bits() as u128 * end as u128) >> 64) as usize
    }

    /// An even number in `0.0..1.0`, a multiple of 2^-24.
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 * (1.0 / (1u32 << 24) as f32)
    }

    /// An even number in `low..high`.
    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// A number from the standard normal distribution (Box–Muller).
    pub fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.unit() as f64).ln()).sqrt();
        (radius * (std::f64::consts::TAU * self.unit() as f64).cos()) as f32
    }

    /// `count` numbers from the standard normal distribution, times `scale`.
    pub fn normals(&mut self, count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|_| self.normal() * scale).collect()
    }

    /// `count` random bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.bits() as u8).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_numbers_are_the_published_ones() {
        // SplitMix64 from seed 1234567, as in the test vectors of Rosetta Code and of Java's SplittableRandom.
        let mut random = Random::new(1234567);
        let first: Vec<u64> = (0..3).map(|_| random.bits()).collect();
        assert_eq!(first, [6457827717110365317, 3203168211198807973, 9817491932198370423]);
    }

    #[test]
    fn numbers_stay_in_their_range() {
        let mut random = Random::new(1);
        let normals = random.normals(10_000, 2.0);
        let mean = normals.iter().sum::<f32>() / 1e4;
        let square = normals.iter().map(|x| x * x).sum::<f32>() / 1e4;
        assert!(mean.abs() < 0.1 && (square - 4.0).abs() < 0.3, "{mean} {square}");
        for _ in 0..1000 {
            assert!((0.0..1.0).contains(&random.unit()));
            assert!(random.below(3) < 3);
            assert!((-2.0..5.0).contains(&random.between(-2.0, 5.0)));
        }
        assert_eq!(random.below(1), 0);
    }
}
