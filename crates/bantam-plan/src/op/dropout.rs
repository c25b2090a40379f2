//! Dropout: numbers left out at random while a model is trained.

use super::{Operation, inputs, shape_error};
use crate::reference::Scope;
use crate::{Plan, PlanError, Rows, ValueId};

/// Each number is zero with probability `rate`, and `x / (1 - rate)` otherwise (Srivastava et al. 2014).
///
/// Which ones is a function of [`crate::Batch::dropout`], of `stream` and of the number's place in the matrix alone: the
/// same forwards, backwards and where a step is run again, on any backend. Without a seed everything is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Dropout {
    /// Probability of being left out, at least 0 and below 1.
    pub rate: f32,
    /// Tells one dropout of a Plan from another.
    pub stream: u64,
}

/// A number of 64 even bits from another (`SplitMix64`, Steele et al. 2014).
fn mixed(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Dropout {
    /// `out = mask · x`, for numbers that begin with the `first`th of their matrix. The same takes gradients back.
    pub fn apply(&self, seed: Option<u64>, first: usize, x: &[f32], out: &mut [f32]) {
        let Some(seed) = seed else {
            out.copy_from_slice(x);
            return;
        };
        let start = mixed(seed ^ mixed(self.stream));
        // Of 2^32: below it is left out.
        let bound = (f64::from(self.rate) * 4_294_967_296.0) as u32;
        let kept = (1.0 / (1.0 - f64::from(self.rate))) as f32;
        for (index, (y, x)) in (first as u64..).zip(out.iter_mut().zip(x)) {
            let word = mixed(start.wrapping_add(index / 2));
            let half = if index % 2 == 0 { word as u32 } else { (word >> 32) as u32 };
            *y = if half < bound { 0.0 } else { kept * x };
        }
    }
}

impl Operation for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn parameters(&self, _: &Plan) -> String {
        format!("rate={} stream={}", self.rate, self.stream)
    }

    fn shape(&self, plan: &Plan, values: &[ValueId], step: &str) -> Result<(Rows, usize), PlanError> {
        let [x] = inputs(values, step)?;
        if !(0.0..1.0).contains(&self.rate) {
            return Err(shape_error(step, "a dropout rate of at least 0 and below 1", self.rate.to_string()));
        }
        Ok((plan.get(x).rows, plan.get(x).width))
    }

    fn flops(&self, plan: &Plan, values: &[ValueId], _: u64) -> u64 {
        plan.get(values[0]).width as u64
    }

    fn backward_reads(&self, _: &Plan, _: usize) -> bool {
        false
    }

    fn forward(&self, scope: &mut Scope<'_>, values: &[&[f32]], output: &mut [f32]) -> Result<(), PlanError> {
        self.apply(scope.batch.dropout, 0, values[0], output);
        Ok(())
    }

    fn backward(
        &self,
        scope: &mut Scope<'_>,
        _: &[&[f32]],
        gradient: &[f32],
        wanted: &mut [Option<Vec<f32>>],
    ) -> Result<(), PlanError> {
        if let Some(wanted) = &mut wanted[0] {
            let mut kept = vec![0.0; gradient.len()];
            self.apply(scope.batch.dropout, 0, gradient, &mut kept);
            wanted.iter_mut().zip(kept).for_each(|(d, g)| *d += g);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Dropout;

    #[test]
    fn masks_keep_the_mean_and_do_not_depend_on_how_they_are_cut() {
        let dropout = Dropout { rate: 0.25, stream: 3 };
        let ones = vec![1.0; 40_000];
        let mut whole = ones.clone();
        dropout.apply(Some(9), 0, &ones, &mut whole);
        let mean = whole.iter().sum::<f32>() / 40_000.0;
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        let left_out = whole.iter().filter(|x| **x == 0.0).count();
        assert!((9_600..10_400).contains(&left_out), "{left_out}");
        let mut parts = ones.clone();
        dropout.apply(Some(9), 0, &ones[..777], &mut parts[..777]);
        dropout.apply(Some(9), 777, &ones[777..], &mut parts[777..]);
        assert_eq!(parts, whole);
        let mut other = ones.clone();
        Dropout { stream: 4, ..dropout.clone() }.apply(Some(9), 0, &ones, &mut other);
        assert_ne!(other, whole);
        dropout.apply(None, 0, &ones, &mut other);
        assert_eq!(other, ones);
    }
}
