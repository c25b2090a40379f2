//! AdamW (Loshchilov & Hutter 2019), as PyTorch computes it, over states of f32 or of 8 bits; Muon for matrices.

mod eight_bit;
mod muon;

use bantam_plan::Parameter;

use eight_bit::Blocks;
pub use muon::Muon;

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
    /// Keeps its means in blocks of 8 bits (Dettmers et al. 2022): a quarter of the memory.
    pub eight_bit: bool,
    /// What hidden matrices are stepped by instead.
    pub muon: Option<Muon>,
}

impl Default for AdamW {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0, eight_bit: false, muon: None }
    }
}

/// Weights of fewer numbers keep their states in f32 always, as they are few and matter (norms, biases).
const LEAST_IN_BLOCKS: usize = 4096;

/// Whether a weight is looked up by rows. Those keep their states in f32, as in the paper: what is looked up seldom has gradients
/// of its own size.
fn is_table(name: &str) -> bool {
    ["token_embd.", "position_embd.", "token_types."].iter().any(|table| name.starts_with(table))
}

/// What the optimiser remembers of one weight.
#[derive(Clone, Debug, PartialEq)]
pub enum Moments {
    /// AdamW's, in f32.
    Full {
        /// Mean of the gradients.
        mean: Vec<f32>,
        /// Mean of their squares.
        square: Vec<f32>,
    },
    /// AdamW's, in blocks of 8 bits.
    EightBit {
        /// Mean of the gradients.
        mean: Blocks,
        /// Mean of their squares.
        square: Blocks,
    },
    /// Muon's.
    Momentum {
        /// Decaying sum of the gradients.
        sum: Vec<f32>,
        /// Columns of the matrix.
        width: usize,
    },
}

impl Default for Moments {
    fn default() -> Self {
        Self::new(0)
    }
}

/// Some of an optimiser's numbers, as they are written down.
#[derive(Debug)]
pub enum Part<'a> {
    /// Plain numbers.
    F32(&'a mut [f32]),
    /// Plain numbers of twice the precision.
    F64(&'a mut [f64]),
    /// Codes.
    U8(&'a mut [u8]),
}

impl Moments {
    /// AdamW's of a weight of so many numbers that has seen nothing.
    pub fn new(count: usize) -> Self {
        Self::Full { mean: vec![0.0; count], square: vec![0.0; count] }
    }

    /// Those of a weight `[rows, width]`; a vector has one row.
    pub fn of(settings: &AdamW, name: &str, rows: usize, width: usize) -> Self {
        let count = rows * width;
        if settings.muon.is_some() && rows > 1 && width > 1 && muon::is_hidden(name) {
            Self::Momentum { sum: vec![0.0; count], width }
        } else if settings.eight_bit && count >= LEAST_IN_BLOCKS && !is_table(name) {
            Self::EightBit { mean: Blocks::new(count, true), square: Blocks::new(count, false) }
        } else {
            Self::new(count)
        }
    }

    /// Bytes of [`Moments::of`].
    pub fn bytes(settings: &AdamW, name: &str, rows: usize, width: usize) -> u64 {
        let count = (rows * width) as u64;
        if settings.muon.is_some() && rows > 1 && width > 1 && muon::is_hidden(name) {
            4 * count
        } else if settings.eight_bit && rows * width >= LEAST_IN_BLOCKS && !is_table(name) {
            2 * Blocks::bytes(rows * width) as u64
        } else {
            8 * count
        }
    }

    /// Its numbers by name.
    pub fn parts(&mut self) -> Vec<(&'static str, Part<'_>)> {
        match self {
            Self::Full { mean, square } => vec![("mean", Part::F32(mean)), ("square", Part::F32(square))],
            Self::EightBit { mean, square } => vec![
                ("mean.codes", Part::U8(&mut mean.codes)),
                ("mean.scales", Part::F32(&mut mean.scales)),
                ("square.codes", Part::U8(&mut square.codes)),
                ("square.scales", Part::F32(&mut square.scales)),
            ],
            Self::Momentum { sum, .. } => vec![("momentum", Part::F32(sum))],
        }
    }
}

/// The norm of all gradients together: the root of the sum of their squares, in f64 and in order.
pub fn norm(parameters: &[Parameter<'_>]) -> f64 {
    let squares = |parameter: &Parameter<'_>| parameter.gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>();
    parameters.iter().map(squares).sum::<f64>().sqrt()
}

/// What one step does to each number.
struct Update {
    beta1: f32,
    beta2: f32,
    eps: f32,
    factor: f32,
    size: f32,
    root: f32,
    kept: f32,
}

impl Update {
    fn apply(&self, values: &mut [f32], gradient: &mut [f32], mean: &mut [f32], square: &mut [f32]) {
        let numbers = values.iter_mut().zip(gradient);
        for ((value, gradient), (mean, square)) in numbers.zip(mean.iter_mut().zip(square)) {
            let g = self.factor * std::mem::take(gradient);
            *mean += (1.0 - self.beta1) * (g - *mean);
            *square = self.beta2 * *square + (1.0 - self.beta2) * g * g;
            *value = *value * self.kept - self.size * *mean / (square.sqrt() / self.root + self.eps);
        }
    }
}

impl AdamW {
    /// Takes step `step` (from 1) with learning rate `rate`, every gradient times `factor` first, and sets gradients to zero.
    pub fn step(&self, parameters: Vec<Parameter<'_>>, states: &mut [Moments], step: usize, rate: f32, factor: f32) {
        let corrected = |beta: f32| 1.0 - f64::from(beta).powi(i32::try_from(step).unwrap_or(i32::MAX));
        let update = Update {
            beta1: self.beta1,
            beta2: self.beta2,
            eps: self.eps,
            factor,
            size: (f64::from(rate) / corrected(self.beta1)) as f32,
            root: corrected(self.beta2).sqrt() as f32,
            kept: 1.0 - rate * self.weight_decay,
        };
        for (parameter, state) in parameters.into_iter().zip(states) {
            match state {
                Moments::Full { mean, square } => update.apply(parameter.values, parameter.gradient, mean, square),
                Moments::EightBit { mean, square } => {
                    let numbers = parameter.values.chunks_mut(eight_bit::BLOCK);
                    let numbers = numbers.zip(parameter.gradient.chunks_mut(eight_bit::BLOCK));
                    for (block, (values, gradient)) in numbers.enumerate() {
                        let (mut means, mut squares) = ([0f32; eight_bit::BLOCK], [0f32; eight_bit::BLOCK]);
                        let (means, squares) = (&mut means[..values.len()], &mut squares[..values.len()]);
                        mean.read(block, means);
                        square.read(block, squares);
                        update.apply(values, gradient, means, squares);
                        mean.write(block, means);
                        square.write(block, squares);
                    }
                }
                Moments::Momentum { sum, width } => {
                    let muon = self.muon.unwrap_or_default();
                    muon.step(parameter, sum, *width, rate, factor, self.weight_decay);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bantam_plan::{Parameter, WeightId};

    use super::{AdamW, Moments, Part, norm};

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

    #[test]
    fn states_have_the_bits_that_are_promised() {
        let adam = AdamW { eight_bit: true, ..AdamW::default() };
        let check = |name: &str, rows: usize, width: usize, eight_bit: bool| {
            let mut state = Moments::of(&adam, name, rows, width);
            assert_eq!(matches!(state, Moments::EightBit { .. }), eight_bit, "{name} [{rows}, {width}]");
            let bytes = |part: &Part<'_>| match part {
                Part::F32(numbers) => 4 * numbers.len(),
                Part::F64(numbers) => 8 * numbers.len(),
                Part::U8(codes) => codes.len(),
            };
            let taken: usize = state.parts().iter().map(|(_, part)| bytes(part)).sum();
            assert_eq!(taken as u64, Moments::bytes(&adam, name, rows, width), "{name} [{rows}, {width}]");
        };
        check("blk.0.attn_q.weight.lora_a", 1, 4095, false);
        check("blk.0.attn_q.weight.lora_a", 1, 4096, true);
        check("blk.0.attn_q.weight.lora_a", 16, 257, true);
        check("token_embd.weight", 100, 64, false);
        check("output.weight", 100, 64, true);
    }

    #[test]
    fn states_of_eight_bits_step_nearly_alike() {
        // A bowl that is steep one way: both go down alike.
        let count = 5000;
        let run = |eight_bit: bool| {
            let adam = AdamW { eight_bit, ..AdamW::default() };
            let mut values: Vec<f32> = (0..count).map(|n| (n as f32 * 0.37).sin()).collect();
            let mut states = vec![Moments::of(&adam, "w", 1, count)];
            assert_eq!(matches!(states[0], Moments::EightBit { .. }), eight_bit);
            for step in 1..=60 {
                let steepness = |n: usize| 1.0 + (n % 7) as f32;
                let mut gradient: Vec<f32> = values.iter().enumerate().map(|(n, x)| steepness(n) * x).collect();
                let parameter = Parameter { weight: WeightId(0), values: &mut values, gradient: &mut gradient };
                adam.step(vec![parameter], &mut states, step, 0.01, 1.0);
            }
            values
        };
        let (full, blocks) = (run(false), run(true));
        let apart = full.iter().zip(&blocks).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let rest = full.iter().map(|x| x.abs()).fold(0.0, f32::max);
        assert!(rest < 0.6 && apart < 0.05, "{apart} apart, {rest} left");
    }

    const EXPECTED: [[f32; 2]; 3] = [[0.8500999, -1.9998003], [0.8569027, -1.9929192], [0.8522555, -1.9737979]];
}
