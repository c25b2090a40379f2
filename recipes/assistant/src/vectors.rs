//! What the words' embeddings begin with: the vectors that a sentence encoder gives to single words, in as many dimensions as
//! the model is wide.
//!
//! Few utterances name each intent, so what `gas` and `fuel` have in common is learnt from elsewhere: all-MiniLM-L6-v2
//! (Reimers & Gurevych 2019; Wang et al. 2020), Apache-2.0, read by `bantam embed`. Its dimensions are turned to those in which the
//! words of the data differ most (principal components), each word counted by the root of how often it occurs.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use serde_json::json;

/// The words of texts, each as it is written, and how often.
pub fn words<'t>(texts: impl Iterator<Item = &'t str>) -> BTreeMap<String, usize> {
    let mut words = BTreeMap::new();
    let mut count = |word: &str| *words.entry(word.to_owned()).or_default() += 1;
    for text in texts {
        // Letters and digits are cut apart, as the tokenizer does.
        for part in text.split(|letter: char| !letter.is_alphanumeric()).filter(|part| !part.is_empty()) {
            let mut from = 0;
            let mut before: Option<char> = None;
            for (at, letter) in part.char_indices() {
                if before.is_some_and(|before| before.is_alphabetic() != letter.is_alphabetic()) {
                    count(&part[from..at]);
                    from = at;
                }
                before = Some(letter);
            }
            count(&part[from..]);
        }
    }
    words
}

/// What an encoder is asked about: the words in lower case, each once.
pub fn asked(words: &BTreeMap<String, usize>) -> Vec<String> {
    let mut asked: Vec<String> = words.keys().map(|word| word.to_lowercase()).collect();
    asked.sort_unstable();
    asked.dedup();
    asked
}

/// Reads one vector a line, as many as were asked for.
///
/// # Errors
/// A line that is no list of numbers, vectors of several lengths, or too few.
pub fn read(lines: &str, count: usize) -> anyhow::Result<Vec<Vec<f64>>> {
    let number = |text: &str| text.parse::<f64>().with_context(|| format!("{text:?} is no number"));
    let vector = |line: &str| line.split_whitespace().map(number).collect::<anyhow::Result<Vec<f64>>>();
    let vectors: Vec<Vec<f64>> = lines.lines().map(vector).collect::<anyhow::Result<_>>()?;
    let width = vectors.first().map_or(0, Vec::len);
    if vectors.len() != count || width == 0 || vectors.iter().any(|vector| vector.len() != width) {
        bail!("expected {count} vectors of one length, found {}", vectors.len());
    }
    Ok(vectors)
}

/// Lines of `{"text", "embedding"}` with a direction of `width` numbers for every word.
///
/// # Errors
/// Where the encoder's vectors are shorter than `width`.
pub fn lines(
    words: &BTreeMap<String, usize>,
    asked: &[String],
    vectors: &[Vec<f64>],
    width: usize,
) -> anyhow::Result<Vec<String>> {
    let mut counts = vec![0usize; asked.len()];
    let place = |word: &str| asked.binary_search_by(|other| other.as_str().cmp(&word.to_lowercase())).ok();
    for (word, count) in words {
        if let Some(place) = place(word) {
            counts[place] += count;
        }
    }
    let weights: Vec<f64> = counts.iter().map(|&count| (count as f64).sqrt()).collect();
    let reduced = principal(vectors, &weights, width)?;
    let line = |word: &String| {
        let vector = reduced.get(place(word)?)?;
        let rounded: Vec<f64> = vector.iter().map(|x| (x * 1e5).round() / 1e5).collect();
        Some(json!({ "text": word, "embedding": rounded }).to_string())
    };
    // Words that begin a line are in lower case the first time they are read.
    let mut all: Vec<&String> = words.keys().chain(asked).collect();
    all.sort_unstable();
    all.dedup();
    Ok(all.into_iter().filter_map(line).collect())
}

/// Vectors, their weighted mean taken off, along their `width` principal directions, each of length 1.
fn principal(vectors: &[Vec<f64>], weights: &[f64], width: usize) -> anyhow::Result<Vec<Vec<f64>>> {
    let from = vectors.first().map_or(0, Vec::len);
    if from < width {
        bail!("the encoder's vectors have {from} numbers, fewer than the {width} asked for");
    }
    let total: f64 = weights.iter().sum();
    let mut mean = vec![0.0; from];
    for (vector, weight) in vectors.iter().zip(weights) {
        mean.iter_mut().zip(vector).for_each(|(mean, x)| *mean += weight * x / total);
    }
    let centred: Vec<Vec<f64>> =
        vectors.iter().map(|vector| vector.iter().zip(&mean).map(|(x, mean)| x - mean).collect()).collect();
    let mut covariance = vec![vec![0.0; from]; from];
    for (vector, weight) in centred.iter().zip(weights) {
        for (row, x) in covariance.iter_mut().zip(vector) {
            let factor = weight * x / total;
            row.iter_mut().zip(vector).for_each(|(sum, y)| *sum += factor * y);
        }
    }
    let directions = eigenvectors(covariance);
    let along = |vector: &Vec<f64>| {
        let dot = |direction: &Vec<f64>| vector.iter().zip(direction).map(|(x, y)| x * y).sum::<f64>();
        let mut made: Vec<f64> = directions.iter().take(width).map(dot).collect();
        let length = made.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12);
        made.iter_mut().for_each(|x| *x /= length);
        made
    };
    Ok(centred.iter().map(along).collect())
}

/// Eigenvectors of a symmetric matrix, those of the largest eigenvalues first (Jacobi's method, sweep by sweep). The first large
/// number of each is positive, so that they are the same however it is computed.
fn eigenvectors(mut matrix: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let count = matrix.len();
    let mut vectors: Vec<Vec<f64>> =
        (0..count).map(|n| (0..count).map(|m| f64::from(u8::from(n == m))).collect()).collect();
    let rotate = |one: &mut f64, other: &mut f64, (cosine, sine): (f64, f64)| {
        (*one, *other) = (cosine * *one - sine * *other, sine * *one + cosine * *other);
    };
    for _ in 0..30 {
        let beside: f64 = (0..count).map(|n| matrix[n][n + 1..].iter().map(|x| x * x).sum::<f64>()).sum();
        let along: f64 = (0..count).map(|n| matrix[n][n] * matrix[n][n]).sum();
        if beside <= 1e-24 * along {
            break;
        }
        for p in 0..count {
            for q in p + 1..count {
                if matrix[p][q].abs() < 1e-300 {
                    continue;
                }
                let theta = (matrix[q][q] - matrix[p][p]) / (2.0 * matrix[p][q]);
                let tangent = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                let cosine = 1.0 / (tangent * tangent + 1.0).sqrt();
                let turn = (cosine, tangent * cosine);
                for row in &mut matrix {
                    let (left, right) = row.split_at_mut(q);
                    rotate(&mut left[p], &mut right[0], turn);
                }
                let (above, below) = matrix.split_at_mut(q);
                above[p].iter_mut().zip(&mut below[0]).for_each(|(one, other)| rotate(one, other, turn));
                let (above, below) = vectors.split_at_mut(q);
                above[p].iter_mut().zip(&mut below[0]).for_each(|(one, other)| rotate(one, other, turn));
            }
        }
    }
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|&a, &b| matrix[b][b].total_cmp(&matrix[a][a]));
    let signed = |n: usize| {
        let vector = &vectors[n];
        let most = vector.iter().fold(0.0f64, |most, x| most.max(x.abs()));
        let sign = vector.iter().find(|x| x.abs() > 0.5 * most).map_or(1.0, |x| x.signum());
        vector.iter().map(|x| sign * x).collect()
    };
    order.into_iter().map(signed).collect()
}

#[cfg(test)]
mod tests {
    use super::{eigenvectors, principal, words};

    #[test]
    fn directions_are_those_of_the_largest_spread() {
        // Eigenvalues 3 and 1 along (1, 1) and (1, -1), by hand.
        let found = eigenvectors(vec![vec![2.0, 1.0], vec![1.0, 2.0]]);
        let root = 0.5f64.sqrt();
        let expected = [[root, root], [root, -root]];
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.iter().zip(expected).all(|(x, y)| (x - y).abs() < 1e-9), "{found:?}");
        }
        // Of numpy.linalg.eigh of [[4, 1, 0.5], [1, 3, 0.2], [0.5, 0.2, 1]]: the first.
        let found = eigenvectors(vec![vec![4.0, 1.0, 0.5], vec![1.0, 3.0, 0.2], vec![0.5, 0.2, 1.0]]);
        let expected = [0.844_983_3, 0.515_520_8, 0.142_272_8];
        assert!(found[0].iter().zip(expected).all(|(x, y)| (x - y).abs() < 1e-5), "{found:?}");
        let points = [vec![1.0, 1.0], vec![-1.0, -1.0], vec![0.1, -0.1], vec![-0.1, 0.1]];
        let one = principal(&points, &[1.0; 4], 1).unwrap();
        assert!((one[0][0] - 1.0).abs() < 1e-9 && (one[1][0] + 1.0).abs() < 1e-9, "{one:?}");
    }

    #[test]
    fn words_are_cut_as_the_tokenizer_cuts_them() {
        let found: Vec<(String, usize)> = words(["Play 5pm's jazz", "play jazz!"].into_iter()).into_iter().collect();
        let expected = [("5", 1), ("Play", 1), ("jazz", 2), ("play", 1), ("pm", 1), ("s", 1)];
        assert_eq!(found, expected.map(|(word, count)| (word.to_owned(), count)));
    }
}
