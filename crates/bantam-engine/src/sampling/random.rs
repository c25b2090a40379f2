//! The random numbers of one sequence: xoshiro256++ (Blackman and Vigna, 2019), seeded through SplitMix64 as its authors
//! advise. A sequence has a generator of its own, so what it draws does not depend on its neighbours in a batch.

use std::hash::{BuildHasher, Hasher, RandomState};

/// A generator of random numbers that is the same on every machine.
#[derive(Clone, Debug)]
pub struct Random {
    state: [u64; 4],
}

impl Random {
    /// The generator that a seed names.
    pub fn new(seed: u64) -> Self {
        let mut counter = seed;
        Self { state: std::array::from_fn(|_| split_mix(&mut counter)) }
    }

    /// A seed that nobody chose, from the randomness the system gives to hash tables.
    pub fn fresh_seed() -> u64 {
        RandomState::new().build_hasher().finish()
    }

    /// The seed of the `index`-th stream beside a seed; stream 0 is the seed itself.
    pub fn stream(seed: u64, index: u64) -> u64 {
        if index == 0 {
            return seed;
        }
        let mut counter = seed ^ index.wrapping_mul(0xD1B5_4A32_D192_ED03);
        split_mix(&mut counter)
    }

    /// 64 random bits.
    pub fn next_bits(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// A number from 0 up to but not including 1, with 53 random bits.
    pub fn next_unit(&mut self) -> f64 {
        (self.next_bits() >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn split_mix(counter: &mut u64) -> u64 {
    *counter = counter.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *counter;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
