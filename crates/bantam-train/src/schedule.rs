//! The learning rate of each step.

use serde::{Deserialize, Serialize};

/// How the learning rate goes, after it has risen evenly from 0 over the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// It stays.
    Constant,
    /// It falls evenly to 0.
    #[default]
    Linear,
    /// It falls to 0 along half a cosine (Loshchilov & Hutter 2017).
    Cosine,
    /// It stays, and falls evenly to 0 over the last part of the steps (Hu et al. 2024).
    WarmupStableDecay {
        /// That part's share of all steps.
        decay: f32,
    },
}

impl Schedule {
    /// Names as a command takes them.
    pub const NAMES: [&str; 4] = ["constant", "linear", "cosine", "wsd"];

    /// The schedule of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "constant" => Some(Self::Constant),
            "linear" => Some(Self::Linear),
            "cosine" => Some(Self::Cosine),
            "wsd" => Some(Self::WarmupStableDecay { decay: 0.1 }),
            _ => None,
        }
    }

    /// Factor on the learning rate at `step`, counted from 0, of `steps`, the first `warmup` of which warm up. As
    /// transformers' schedulers: step `warmup` has the whole rate, and the step after the last would have none.
    pub fn factor(self, step: usize, steps: usize, warmup: usize) -> f32 {
        if step < warmup {
            return (step as f64 / warmup as f64) as f32;
        }
        let left = |from: usize| {
            let (done, all) = (step.saturating_sub(from) as f64, steps.saturating_sub(from).max(1) as f64);
            (1.0 - done / all).max(0.0)
        };
        let factor = match self {
            Self::Constant => 1.0,
            Self::Linear => left(warmup),
            Self::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * (1.0 - left(warmup))).cos()),
            Self::WarmupStableDecay { decay } => {
                let last = (steps as f64 * f64::from(decay)).round() as usize;
                let from = steps.saturating_sub(last).max(warmup);
                if step < from { 1.0 } else { left(from) }
            }
        };
        factor as f32
    }
}

#[cfg(test)]
mod tests {
    use super::Schedule;

    #[test]
    fn rates_go_as_transformers_schedulers_do() {
        // get_linear_schedule_with_warmup and get_cosine_schedule_with_warmup of transformers 5.23, warm-up 2 of 10 steps.
        let check = |schedule: Schedule, expected: [f32; 10]| {
            for (step, expected) in expected.into_iter().enumerate() {
                let found = schedule.factor(step, 10, 2);
                assert!((found - expected).abs() < 1e-6, "{schedule:?} at {step}: {found} against {expected}");
            }
        };
        check(Schedule::Constant, [0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
        check(Schedule::Linear, [0.0, 0.5, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]);
        let cosine = [0.0, 0.5, 1.0, 0.961_939_8, 0.853_553_4, 0.691_341_7, 0.5, 0.308_658_3, 0.146_446_6, 0.038_060_2];
        check(Schedule::Cosine, cosine);
        let wsd = Schedule::WarmupStableDecay { decay: 0.4 };
        check(wsd, [0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25]);
    }
}
