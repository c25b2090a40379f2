//! Words that stand near each other: those whose vectors point the same way.

use std::collections::BTreeMap;

use crate::Chance;

/// How near another word must be, as the cosine between the two, to take a word's place.
const LEAST: f32 = 0.45;
/// How many words may take the place of one.
const MOST: usize = 10;

/// Near words by word, the nearest first.
#[derive(Debug, Clone, Default)]
pub struct Near(BTreeMap<String, Vec<String>>);

impl Near {
    /// Of words in lower case and their vectors.
    pub fn of(words: &[String], vectors: &[Vec<f32>]) -> Self {
        let unit = |vector: &Vec<f32>| {
            let length = dot(vector, vector).sqrt().max(1e-12);
            vector.iter().map(|x| x / length).collect::<Vec<f32>>()
        };
        let units: Vec<Vec<f32>> = vectors.iter().map(unit).collect();
        let near = |(word, vector): (&String, &Vec<f32>)| {
            let cosines = units.iter().zip(words).map(|(other, name)| (dot(vector, other), name));
            let mut found: Vec<(f32, &String)> =
                cosines.filter(|(cosine, name)| *cosine >= LEAST && *name != word).collect();
            found.sort_by(|one, other| other.0.total_cmp(&one.0).then_with(|| one.1.cmp(other.1)));
            found.truncate(MOST);
            (word.clone(), found.into_iter().map(|(_, name)| name.clone()).collect())
        };
        Self(words.iter().zip(&units).map(near).collect())
    }

    /// A word that may take the place of another, the nearer the likelier.
    pub fn instead(&self, word: &str, chance: &mut Chance) -> Option<&String> {
        let near = self.0.get(word)?;
        // The lesser of two draws.
        near.get(chance.below(near.len()).min(chance.below(near.len())))
    }
}

/// The product of two vectors; sixteen sums side by side are what the machine adds at once.
pub fn dot(one: &[f32], other: &[f32]) -> f32 {
    let mut sums = [0.0f32; 16];
    for (one, other) in one.chunks(16).zip(other.chunks(16)) {
        for ((sum, x), y) in sums.iter_mut().zip(one).zip(other) {
            *sum += x * y;
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::{Near, dot};
    use crate::Chance;

    #[test]
    fn near_words_point_the_same_way() {
        let words = ["car", "truck", "van", "tea"].map(str::to_owned);
        let vectors = [vec![1.0, 0.0], vec![2.0, 0.2], vec![0.3, 0.3], vec![0.0, -1.0]];
        let near = Near::of(&words, &vectors);
        let check = |word: &str, expected: &[&str]| {
            let mut seen: Vec<&str> =
                (0..50).filter_map(|seed| near.instead(word, &mut Chance::new(seed))).map(String::as_str).collect();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen, expected, "{word}");
        };
        check("car", &["truck", "van"]);
        check("tea", &[]);
        check("coffee", &[]);
        assert!((dot(&[1.0; 17], &[2.0; 17]) - 34.0).abs() < 1e-6);
    }
}
