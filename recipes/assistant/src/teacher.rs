//! A teacher: sentence vectors of all-MiniLM-L6-v2, as they are, and one linear layer that names intents by them.
//!
//! It learns in a minute from what the model learns from, and names intents better than the model does: its encoder has read a billion
//! pairs of sentences. It is too large to ship, but it can say what other utterances ask for (Hinton, Vinyals, Dean 2015; Tang et al.
//! 2019 for words put in the place of others).

use std::collections::BTreeSet;

use crate::Chance;

/// What vectors of length 1 are multiplied by, so that one layer tells them apart in few steps.
const SCALE: f32 = 8.0;
const EPOCHS: usize = 20;
const BATCH: usize = 256;
const RATE: f32 = 3e-3;
const DECAY: f32 = 1e-4;
/// What of each target is spread over all intents.
const SMOOTHING: f32 = 0.05;

/// The layer.
#[derive(Debug, Clone)]
pub struct Teacher {
    names: Vec<String>,
    /// `[width + 1, names]`; the last row is added whatever the vector.
    weights: Vec<f32>,
}

/// What it says of an utterance.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement<'t> {
    /// The likeliest intent.
    pub name: &'t str,
    /// Its probability.
    pub probability: f32,
}

impl Teacher {
    /// Learns from sentence vectors of one length and their intents, by AdamW (Loshchilov & Hutter 2019) along half a cosine.
    pub fn learn(vectors: &[Vec<f32>], intents: &[&str], seed: u64) -> Self {
        let names: Vec<String> =
            intents.iter().collect::<BTreeSet<_>>().into_iter().map(|name| (*name).to_owned()).collect();
        let (width, count) = (vectors.first().map_or(0, Vec::len), names.len());
        let place = |name: &str| names.binary_search_by(|other| other.as_str().cmp(name)).unwrap_or_default();
        let targets: Vec<usize> = intents.iter().map(|name| place(name)).collect();
        let size = (width + 1) * count;
        let (mut means, mut squares) = (vec![0.0f32; size], vec![0.0f32; size]);
        let mut teacher = Self { weights: vec![0.0; size], names };
        let (mut order, mut chance) = ((0..vectors.len()).collect::<Vec<_>>(), Chance::new(seed));
        let steps = EPOCHS * vectors.len().div_ceil(BATCH);
        let mut step = 0i32;
        for _ in 0..EPOCHS {
            chance.shuffle(&mut order);
            for batch in order.chunks(BATCH) {
                let mut gradient = vec![0.0f32; size];
                for &number in batch {
                    let mut error = teacher.probabilities(&vectors[number]);
                    error.iter_mut().for_each(|x| *x -= SMOOTHING / count as f32);
                    error[targets[number]] -= 1.0 - SMOOTHING;
                    for (row, x) in gradient.chunks_exact_mut(count).zip(inputs(&vectors[number])) {
                        let factor = x / batch.len() as f32;
                        row.iter_mut().zip(&error).for_each(|(sum, error)| *sum += factor * error);
                    }
                }
                let rate = RATE * (0.5 + 0.5 * (std::f32::consts::PI * step as f32 / steps as f32).cos()).max(0.02);
                step += 1;
                let (first, second) = (1.0 - 0.9f32.powi(step), 1.0 - 0.999f32.powi(step));
                for (((weight, gradient), mean), square) in
                    teacher.weights.iter_mut().zip(gradient).zip(&mut means).zip(&mut squares)
                {
                    *mean = 0.9 * *mean + 0.1 * gradient;
                    *square = 0.999 * *square + 0.001 * gradient * gradient;
                    *weight -= rate * (DECAY * *weight + *mean / first / ((*square / second).sqrt() + 1e-8));
                }
            }
        }
        teacher
    }

    /// The likeliest intent of a sentence vector.
    pub fn judge(&self, vector: &[f32]) -> Judgement<'_> {
        let all = self.probabilities(vector);
        let best = all.iter().zip(&self.names).max_by(|one, other| one.0.total_cmp(other.0));
        best.map_or(Judgement { name: "", probability: 0.0 }, |(&probability, name)| Judgement { name, probability })
    }

    fn probabilities(&self, vector: &[f32]) -> Vec<f32> {
        let mut all = vec![0.0f32; self.names.len()];
        for (row, x) in self.weights.chunks_exact(self.names.len().max(1)).zip(inputs(vector)) {
            all.iter_mut().zip(row).for_each(|(sum, weight)| *sum += x * weight);
        }
        let most = all.iter().fold(f32::NEG_INFINITY, |most, x| most.max(*x));
        all.iter_mut().for_each(|x| *x = (*x - most).exp());
        let total: f32 = all.iter().sum();
        all.iter_mut().for_each(|x| *x /= total);
        all
    }
}

fn inputs(vector: &[f32]) -> impl Iterator<Item = f32> {
    vector.iter().map(|x| SCALE * x).chain([1.0])
}

#[cfg(test)]
mod tests {
    use super::Teacher;

    #[test]
    fn what_a_line_parts_is_learnt() {
        // Three directions of a plane, in sectors of 120 degrees, without what lies near the borders.
        let point = |n: usize| {
            let sector = n % 3;
            let angle = (120.0 * sector as f32 + (n % 81) as f32 - 40.0).to_radians();
            (vec![angle.cos(), angle.sin()], ["a", "b", "c"][sector])
        };
        let (vectors, names): (Vec<Vec<f32>>, Vec<&str>) = (0..3000).map(point).unzip();
        let teacher = Teacher::learn(&vectors, &names, 1);
        let check = |degrees: f32, expected: &str, sure: bool| {
            let found = teacher.judge(&[degrees.to_radians().cos(), degrees.to_radians().sin()]);
            assert!(found.name == expected && (found.probability > 0.8) == sure, "{degrees}: {found:?}");
        };
        check(0.0, "a", true);
        check(120.0, "b", true);
        check(-100.0, "c", true);
        check(61.0, "b", false);
    }
}
