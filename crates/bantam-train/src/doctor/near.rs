//! Texts that are nearly the same: shingles of words, `MinHash` (Broder 1997), bands (Leskovec et al., "Mining of Massive
//! Datasets", chapter 3), and the true Jaccard index of the candidates. Linear in the length of all texts.

use std::collections::HashMap;

/// Words of a shingle.
const WORDS: usize = 3;
/// Bands of a signature and hashes of a band: two texts with 0.8 of their shingles in common meet in one of them with a
/// probability above 0.999.
const BANDS: usize = 20;
const ROWS: usize = 5;
/// How alike texts are that are nearly the same.
pub(super) const ALIKE: f64 = 0.8;
/// How many texts of a bucket one is compared with.
const COMPARED: usize = 8;
/// Shingles that more than this share of the texts have say nothing: an instruction that all begin with.
const COMMON: f64 = 0.1;
/// Texts below which nothing is common.
const FEW: usize = 50;
/// Counters of shingles; two may share one.
const COUNTERS: usize = 1 << 20;

/// The hashes of a text's shingles, each once, ascending.
pub(super) fn shingles(text: &str) -> Vec<u32> {
    let words = text.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty());
    let hashes: Vec<u64> = words.map(|word| hash(word.chars().flat_map(char::to_lowercase))).collect();
    let join = |words: &[u64]| {
        let mixed = words.iter().fold(0x9e37_79b9_7f4a_7c15, |state, word| mix(state ^ *word));
        (mixed >> 32) as u32
    };
    let mut shingles: Vec<u32> = match hashes.len() {
        0 => Vec::new(),
        1..=WORDS => vec![join(&hashes)],
        _ => hashes.windows(WORDS).map(join).collect(),
    };
    shingles.sort_unstable();
    shingles.dedup();
    shingles
}

/// FNV-1a of the characters.
fn hash(characters: impl Iterator<Item = char>) -> u64 {
    characters.fold(0xcbf2_9ce4_8422_2325, |state, character| {
        (state ^ u64::from(u32::from(character))).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn mix(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// By text, an earlier one that is nearly the same.
pub(super) fn nearly_the_same(texts: &mut [Vec<u32>]) -> Vec<Option<usize>> {
    leave_out_common(texts);
    let mut buckets: HashMap<(usize, u64), Vec<usize>> = HashMap::new();
    let mut found = vec![None; texts.len()];
    for (at, text) in texts.iter().enumerate() {
        if text.is_empty() {
            continue;
        }
        for (band, key) in bands(text).into_iter().enumerate() {
            let bucket = buckets.entry((band, key)).or_default();
            if found[at].is_none() {
                found[at] = bucket.iter().copied().find(|other| jaccard(&texts[*other], text) >= ALIKE);
            }
            // What is like an earlier text is found by that one.
            if found[at].is_none() && bucket.len() < COMPARED {
                bucket.push(at);
            }
        }
    }
    found
}

fn leave_out_common(texts: &mut [Vec<u32>]) {
    let most = (texts.len() as f64 * COMMON) as u32;
    if texts.len() < FEW {
        return;
    }
    let mut counts = vec![0u32; COUNTERS];
    let slot = |shingle: u32| mix(u64::from(shingle)) as usize % COUNTERS;
    texts.iter().flatten().for_each(|shingle| counts[slot(*shingle)] += 1);
    texts.iter_mut().for_each(|text| text.retain(|shingle| counts[slot(*shingle)] <= most));
}

fn bands(text: &[u32]) -> [u64; BANDS] {
    let mut signature = [u32::MAX; BANDS * ROWS];
    for shingle in text {
        // Families of hashes `(a·x + b) mod 2^64`, upper half: 2-independent for 32-bit keys (Dietzfelbinger 1996).
        for (number, least) in signature.iter_mut().enumerate() {
            let (a, b) = FACTORS[number];
            *least = (*least).min((a.wrapping_mul(u64::from(*shingle)).wrapping_add(b) >> 32) as u32);
        }
    }
    let mut bands = [0; BANDS];
    for (band, rows) in bands.iter_mut().zip(signature.chunks(ROWS)) {
        *band = rows.iter().fold(0, |state, row| mix(state ^ u64::from(*row)));
    }
    bands
}

const FACTORS: [(u64, u64); BANDS * ROWS] = {
    let mut factors = [(0, 0); BANDS * ROWS];
    let (mut at, mut state) = (0, 0x5eed_0f5e_ed5e_ed5eu64);
    while at < factors.len() {
        // Two numbers of Weyl's sequence through xorshift and a product; the first odd.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let first = (state ^ (state >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let second = (state ^ (state >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb);
        factors[at] = (first | 1, second);
        at += 1;
    }
    factors
};

/// Shared shingles over all of both.
fn jaccard(one: &[u32], other: &[u32]) -> f64 {
    let (mut left, mut right, mut shared) = (0, 0, 0usize);
    while let (Some(a), Some(b)) = (one.get(left), other.get(right)) {
        match a.cmp(b) {
            std::cmp::Ordering::Less => left += 1,
            std::cmp::Ordering::Greater => right += 1,
            std::cmp::Ordering::Equal => (left, right, shared) = (left + 1, right + 1, shared + 1),
        }
    }
    shared as f64 / (one.len() + other.len() - shared).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearly_the_same_texts_are_found() {
        let long: String = (0..60).map(|n| format!("word{n} ")).collect();
        let check = |one: &str, other: &str, expected: bool| {
            let found = nearly_the_same(&mut [shingles(one), shingles(other)]);
            assert_eq!(found[1], expected.then_some(0), "{one} | {other}");
        };
        check("What is the weather?", "what is the WEATHER", true);
        check("play some jazz", "play some rock", false);
        check(&long, &long.replace("word30", "other"), true);
        check(&long, &long.replace("word1", "other"), false);
        check("", "", false);
    }

    #[test]
    fn what_all_have_in_common_says_nothing() {
        let prefix: String = (0..60).map(|n| format!("word{n} ")).collect();
        let mut texts: Vec<Vec<u32>> = (0..200).map(|n| shingles(&format!("{prefix} a{n} b{n} c{n} d{n}"))).collect();
        texts.push(shingles(&format!("{prefix} a7 b7 c7 d7!")));
        let found = nearly_the_same(&mut texts);
        assert_eq!(found.iter().filter(|found| found.is_some()).count(), 1);
        assert_eq!(found[200], Some(7));
    }
}
