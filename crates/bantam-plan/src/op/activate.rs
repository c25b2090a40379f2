//! Activate: a function of each number.

use super::{Operation, inputs};
use crate::reference::Scope;
use crate::{Plan, PlanError, Rows, ValueId};

/// The functions models use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `x / (1 + exp(-x))` (also called swish).
    Silu,
    /// `x * Φ(x)`, with the error function.
    GeluErf,
    /// The tanh approximation of GELU (Hendrycks & Gimpel 2016).
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
    /// `max(x, 0)²`.
    ReluSquared,
}

impl Activation {
    /// The function's value at `x`.
    pub fn value(self, x: f64) -> f64 {
        match self {
            Self::Silu => x / (1.0 + (-x).exp()),
            Self::GeluErf => x * normal_distribution(x),
            Self::GeluTanh => 0.5 * x * (1.0 + tanh_argument(x).tanh()),
            Self::Relu => x.max(0.0),
            Self::ReluSquared => x.max(0.0).powi(2),
        }
    }

    /// Its derivative at `x`.
    pub fn slope(self, x: f64) -> f64 {
        match self {
            Self::Silu => {
                let s = 1.0 / (1.0 + (-x).exp());
                s * (1.0 + x * (1.0 - s))
            }
            Self::GeluErf => normal_distribution(x) + x * (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt(),
            Self::GeluTanh => {
                let tanh = tanh_argument(x).tanh();
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (1.0 + 3.0 * 0.044715 * x * x);
                0.5 * (1.0 + tanh) + 0.5 * x * (1.0 - tanh * tanh) * inner
            }
            Self::Relu => f64::from(u8::from(x > 0.0)),
            Self::ReluSquared => 2.0 * x.max(0.0),
        }
    }
}

fn tanh_argument(x: f64) -> f64 {
    (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)
}

/// Φ(x) by the series of the error function near 0 and its continued fraction beyond; absolute error below 1e-14.
fn normal_distribution(x: f64) -> f64 {
    let z = x / std::f64::consts::SQRT_2;
    let erf = if z.abs() < 3.0 {
        let (mut term, mut sum, mut n) = (z, z, 0.0);
        while term.abs() > 1e-17 * sum.abs() {
            n += 1.0;
            term *= -z * z / n;
            sum += term / (2.0 * n + 1.0);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    } else {
        let a = z.abs();
        let fraction = (1..=60).rev().fold(a, |fraction, n| a + (f64::from(n) / 2.0) / fraction);
        (1.0 - (-a * a).exp() / (fraction * std::f64::consts::PI.sqrt())).copysign(z)
    };
    0.5 * (1.0 + erf)
}

/// `y = f(x)`, number by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activate {
    /// The function.
    pub activation: Activation,
}

impl Operation for Activate {
    fn name(&self) -> &'static str {
        "activate"
    }

    fn parameters(&self, _: &Plan) -> String {
        format!("{:?}", self.activation)
    }

    fn shape(&self, plan: &Plan, values: &[ValueId], step: &str) -> Result<(Rows, usize), PlanError> {
        let [x] = inputs(values, step)?;
        Ok((plan.get(x).rows, plan.get(x).width))
    }

    fn flops(&self, plan: &Plan, values: &[ValueId], _: u64) -> u64 {
        8 * plan.get(values[0]).width as u64
    }

    fn forward(&self, _: &mut Scope<'_>, values: &[&[f32]], output: &mut [f32]) -> Result<(), PlanError> {
        for (y, x) in output.iter_mut().zip(values[0]) {
            *y = self.activation.value(f64::from(*x)) as f32;
        }
        Ok(())
    }

    fn backward(
        &self,
        _: &mut Scope<'_>,
        values: &[&[f32]],
        gradient: &[f32],
        wanted: &mut [Option<Vec<f32>>],
    ) -> Result<(), PlanError> {
        if let Some(wanted) = &mut wanted[0] {
            for ((d, g), x) in wanted.iter_mut().zip(gradient).zip(values[0]) {
                *d += (f64::from(*g) * self.activation.slope(f64::from(*x))) as f32;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Activation;

    #[test]
    fn values_and_slopes_agree_with_known_figures() {
        // From mpmath at 40 digits: x, silu, gelu(erf), gelu(tanh).
        let known = [
            (-6.0, -0.014835738939808645, -5.9195258702261885e-09, -8.439646700762303e-11),
            (-1.0, -0.2689414213699951, -0.15865525393145705, -0.1588080093917233),
            (0.5, 0.3112296656009273, 0.34573123063700656, 0.34571400982514394),
            (4.5, 4.45055875816233, 4.4999847104709385, 4.499994863262588),
        ];
        for (x, silu, erf, tanh) in known {
            for (activation, expected) in
                [(Activation::Silu, silu), (Activation::GeluErf, erf), (Activation::GeluTanh, tanh)]
            {
                let value: f64 = activation.value(x);
                assert!((value - expected).abs() < 1e-15 + 1e-13 * expected.abs(), "{activation:?}({x}) = {value}");
            }
        }
        let all =
            [Activation::Silu, Activation::GeluErf, Activation::GeluTanh, Activation::Relu, Activation::ReluSquared];
        for activation in all {
            for x in [-7.0, -3.1, -2.9, -0.3, 0.2, 1.7, 2.99, 4.5, 8.0] {
                let h = 1e-5;
                let slope = (activation.value(x + h) - activation.value(x - h)) / (2.0 * h);
                assert!((slope - activation.slope(x)).abs() < 1e-8, "{activation:?} at {x}");
            }
        }
    }
}
