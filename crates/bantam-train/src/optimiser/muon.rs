//! Muon (Jordan et al. 2024): momentum whose matrix is made orthogonal before it is added.
//!
//! Five steps of a Newton-Schulz iteration with the authors' coefficients bring every singular value near 1. The step's size
//! is made that of AdamW's (Liu et al. 2025, "Muon is Scalable for LLM Training": times 0.2 · √max(rows, columns)), so that
//! one learning rate serves both. Embeddings, the head and vectors stay with AdamW.

use bantam_plan::Parameter;

/// Settings of Muon.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Muon {
    /// Decay of the sum of gradients.
    pub momentum: f32,
}

impl Default for Muon {
    fn default() -> Self {
        Self { momentum: 0.95 }
    }
}

/// Coefficients of the iteration: `a X + (b A + c A²) X` with `A = X Xᵀ`.
const COEFFICIENTS: [f32; 3] = [3.4445, -4.7750, 2.0315];
const ITERATIONS: usize = 5;

/// Whether it is a matrix between layers, by its name.
pub(super) fn is_hidden(name: &str) -> bool {
    name.starts_with("blk.")
}

impl Muon {
    pub(super) fn step(
        &self,
        parameter: Parameter<'_>,
        sum: &mut [f32],
        width: usize,
        rate: f32,
        factor: f32,
        weight_decay: f32,
    ) {
        let Parameter { values, gradient, .. } = parameter;
        let rows = values.len() / width.max(1);
        let mut direction = Vec::with_capacity(values.len());
        for (sum, gradient) in sum.iter_mut().zip(gradient) {
            let g = factor * std::mem::take(gradient);
            *sum = self.momentum * *sum + g;
            // Nesterov's.
            direction.push(g + self.momentum * *sum);
        }
        orthogonal(&mut direction, rows, width);
        let size = rate * 0.2 * (rows.max(width) as f32).sqrt();
        let kept = 1.0 - rate * weight_decay;
        values.iter_mut().zip(&direction).for_each(|(value, by)| *value = *value * kept - size * by);
    }
}

/// Makes a matrix `[rows, width]` nearly orthogonal.
fn orthogonal(x: &mut Vec<f32>, rows: usize, width: usize) {
    let norm = x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt() as f32;
    if norm == 0.0 {
        return;
    }
    x.iter_mut().for_each(|x| *x /= norm + 1e-7);
    let turned = rows > width;
    let (short, long) = (rows.min(width), rows.max(width));
    if turned {
        *x = transposed(x, rows, width);
    }
    let [a, b, c] = COEFFICIENTS;
    for _ in 0..ITERATIONS {
        let square = times_transposed(x, x, short, long);
        let fourth = times_transposed(&square, &square, short, short);
        let by: Vec<f32> = square.iter().zip(&fourth).map(|(s, f)| b * s + c * f).collect();
        let turned = transposed(x, short, long);
        let product = times_transposed(&by, &turned, short, short);
        x.iter_mut().zip(product).for_each(|(x, p)| *x = a * *x + p);
    }
    if turned {
        *x = transposed(x, short, long);
    }
}

fn transposed(x: &[f32], rows: usize, width: usize) -> Vec<f32> {
    let mut out = vec![0.0; x.len()];
    for (row, numbers) in x.chunks_exact(width).enumerate() {
        numbers.iter().enumerate().for_each(|(column, x)| out[column * rows + row] = *x);
    }
    out
}

/// `x · yᵀ` of rows of `depth` numbers: `[rows of x, rows of y]`.
fn times_transposed(x: &[f32], y: &[f32], rows: usize, depth: usize) -> Vec<f32> {
    let dot = |a: &[f32], b: &[f32]| {
        let mut sums = [0f32; 16];
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
        for (a, b) in a.iter().zip(b) {
            (0..16).for_each(|i| sums[i] += a[i] * b[i]);
        }
        sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
    };
    let mut out = Vec::with_capacity(rows * (y.len() / depth.max(1)));
    for x in x.chunks_exact(depth) {
        out.extend(y.chunks_exact(depth).map(|y| dot(x, y)));
    }
    out
}

#[cfg(test)]
mod tests {
    use bantam_plan::{Parameter, WeightId};

    use super::{Muon, orthogonal};

    #[test]
    fn steps_are_those_of_pytorch() {
        // The steps of torch.optim.Muon(lr=0.1, weight_decay=0.5, momentum=0.9, adjust_lr_fn="match_rms_adamw") of a [3, 4]
        // matrix, by PyTorch with the iteration in f32 (which it runs in bf16: within 0.012 of these).
        let expected =
            [-0.0595, 0.5255, 0.306, 0.0799, -0.8113, -0.8392, 0.0613, 0.2853, 0.6598, 0.1394, 0.6679, 0.1315f32];
        let mut values: Vec<f32> = (0..12).map(|n| (0.7 * (n * n) as f32).sin()).collect();
        let mut sum = vec![0.0; 12];
        for step in 1..=3 {
            let mut gradient: Vec<f32> = (1..=12).map(|n| (0.3 * (n * step) as f32).cos()).collect();
            let parameter = Parameter { weight: WeightId(0), values: &mut values, gradient: &mut gradient };
            Muon { momentum: 0.9 }.step(parameter, &mut sum, 4, 0.1, 1.0, 0.5);
            assert!(gradient.iter().all(|g| *g == 0.0));
        }
        for (found, expected) in values.iter().zip(expected) {
            assert!((found - expected).abs() < 2e-4, "{values:?}");
        }
    }

    #[test]
    fn directions_come_near_to_orthogonal() {
        for (rows, width) in [(3, 8), (8, 3), (5, 5)] {
            let mut x: Vec<f32> = (0..rows * width).map(|n| ((n * n) as f32 * 0.7).sin()).collect();
            orthogonal(&mut x, rows, width);
            // All singular values are between 0.6 and 1.3, so the sum of squares is near the shorter side.
            let squares: f32 = x.iter().map(|x| x * x).sum();
            let short = rows.min(width) as f32;
            assert!(squares > 0.4 * short && squares < 1.7 * short, "{squares} for {short}");
        }
    }
}
