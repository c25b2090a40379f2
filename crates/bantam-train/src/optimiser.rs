//! AdamW (Loshchilov & Hutter 2019), as PyTorch computes it, over f32 states.

use bantam_plan::Parameter;

/// Settings of the optimiser.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Decay of the mean of gradients.
    pub beta1: f32,
    /// Decay of the mean of their squares.
    pub beta2: f32,
    /// Added to the root of the squares.
    pub eps: f32,
    /// Share of a weight, times the learning rate, that is taken off at each step.
    pub weight_decay: f32,
}

impl Default for AdamW {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 }
    }
}

/// Means of one weight's gradients and of their squares.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moments {
    /// Of the gradients.
    pub mean: Vec<f32>,
    /// Of their squares.
    pub square: Vec<f32>,
}

impl Moments {
    /// Those of a weight of so many numbers that has seen nothing.
    pub fn new(count: usize) -> Self {
        Self { mean: vec![0.0; count], square: vec![0.0; count] }
    }
}

/// The norm of all gradients together: the root of the sum of their squares, in f64 and in order.
pub fn norm(parameters: &[Parameter<'_>]) -> f64 {
    let squares = |parameter: &Parameter<'_>| parameter.gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>();
    parameters.iter().map(squares).sum::<f64>().sqrt()
}

impl AdamW {
    /// Takes step `step` (from 1) with learning rate `rate`, every gradient times `factor` first, and sets gradients to zero.
    pub fn step(&self, parameters: Vec<Parameter<'_>>, states: &mut [Moments], step: usize, rate: f32, factor: f32) {
        let corrected = |beta: f32| 1.0 - f64::from(beta).powi(i32::try_from(step).unwrap_or(i32::MAX));
        let size = (f64::from(rate) / corrected(self.beta1)) as f32;
        let root = corrected(self.beta2).sqrt() as f32;
        let kept = 1.0 - rate * self.weight_decay;
        for (parameter, state) in parameters.into_iter().zip(states) {
            let numbers = parameter.values.iter_mut().zip(parameter.gradient.iter_mut());
            for ((value, gradient), (mean, square)) in numbers.zip(state.mean.iter_mut().zip(&mut state.square)) {
                let g = factor * std::mem::take(gradient);
                *mean += (1.0 - self.beta1) * (g - *mean);
                *square = self.beta2 * *square + (1.0 - self.beta2) * g * g;
                *value = *value * kept - size * *mean / (square.sqrt() / root + self.eps);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bantam_plan::{Parameter, WeightId};

    use super::{AdamW, Moments, norm};

    #[test]
    fn steps_are_those_of_pytorch() {
        // torch.optim.AdamW([1, -2], lr=0.1, betas=(0.9, 0.99), eps=1e-3, weight_decay=0.5), gradients [1, 0.5], [-3, 0.25], [0, 2].
        let adam = AdamW { beta2: 0.99, eps: 1e-3, weight_decay: 0.5, ..AdamW::default() };
        let (mut values, mut states) = (vec![1.0f32, -2.0], vec![Moments::new(2)]);
        let expected = EXPECTED;
        for (step, gradient) in [[1.0f32, 0.5], [-3.0, 0.25], [0.0, 2.0]].into_iter().enumerate() {
            let mut gradient = gradient.map(|g| 2.0 * g);
            let parameter = Parameter { weight: WeightId(0), values: &mut values, gradient: &mut gradient };
            assert!((norm(&[parameter]) - 2.0 * norm_of(step)).abs() < 1e-6);
            let parameter = Parameter { weight: WeightId(0), values: &mut values, gradient: &mut gradient };
            adam.step(vec![parameter], &mut states, step + 1, 0.1, 0.5);
            assert_eq!(gradient, [0.0, 0.0]);
            for (found, expected) in values.iter().zip(expected[step]) {
                assert!((found - expected).abs() < 1e-6, "step {step}: {values:?} against {expected:?}");
            }
        }
    }

    fn norm_of(step: usize) -> f64 {
        [1.25f64.sqrt(), 9.0625f64.sqrt(), 2.0][step]
    }

    const EXPECTED: [[f32; 2]; 3] = [[0.8500999, -1.9998003], [0.8569027, -1.9929192], [0.8522555, -1.9737979]];
}
