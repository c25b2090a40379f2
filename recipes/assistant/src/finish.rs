//! What the finished model's file says about its calls: their names and slots, when an utterance is out of scope, and the curve
//! that makes a confidence of a probability.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use bantam_formats::Gguf;
use bantam_formats::gguf::GgufWriter;
use serde_json::{Value, json};

use crate::clinc::OUT_OF_SCOPE;
use crate::judge::{Answer, judge, threshold};
use crate::{Example, Source};

/// The key of a model's calls.
const CALLS: &str = "bantam.calls";

/// Slope and offset of the curve, and the least probability of an answer that is not out of scope.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    /// Slope and offset on log-odds.
    pub curve: [f64; 2],
    /// The least probability.
    pub least: f64,
}

/// Percent of what is in scope that may be given up.
const GIVEN: f64 = 0.5;

/// That changes nothing.
pub const UNCALIBRATED: Calibration = Calibration { curve: [1.0, 0.0], least: 0.0 };

/// The metadata: every name with its slots.
pub fn calls(examples: &[Example], calibration: Calibration) -> Value {
    let mut names: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for example in examples {
        let slots = names.entry(&example.intent).or_default();
        for (slot, _) in example.call().arguments {
            if let Err(place) = slots.binary_search(&slot) {
                slots.insert(place, slot);
            }
        }
    }
    json!({
        "calls": names,
        "none": OUT_OF_SCOPE,
        "least": (calibration.least * 1e6).round() / 1e6,
        "calibration": calibration.curve.map(|x| (x * 1e6).round() / 1e6),
    })
}

/// Chooses the threshold and fits the curve on answers that a model without either gave.
pub fn calibrate(examples: &[Example], answers: &[Answer], in_scope: f64) -> Calibration {
    // No more than half a point of what is right in scope is given for what is out of it, and nothing below the percentage asked for.
    let all = judge(examples, answers, 0.0).in_scope.percent();
    // The least probability is asked of the name alone. Where a call has no arguments, that is the call's; names of calls with
    // arguments are as good as certain, and what is uncertain there are the arguments.
    let names: Vec<Answer> = answers.iter().cloned().map(name_alone).collect();
    let least = if all < in_scope { 0.0 } else { threshold(examples, &names, in_scope.max(all - GIVEN)) };
    let points = examples.iter().zip(answers).map(|(example, answer)| {
        let right = answer.call.as_ref().is_some_and(|call| match example.source {
            Source::Snips => *call == example.call(),
            Source::ClincTrain | Source::ClincValidation => call.name == example.intent,
        });
        let sure = answer.confidence.clamp(1e-9, 1.0 - 1e-9);
        ((sure / (1.0 - sure)).ln(), right)
    });
    Calibration { curve: logistic(&points.collect::<Vec<_>>()), least }
}

fn name_alone(answer: Answer) -> Answer {
    let has_arguments = answer.call.as_ref().is_some_and(|call| !call.arguments.is_empty());
    Answer { confidence: if has_arguments { 1.0 } else { answer.confidence }, ..answer }
}

/// Slope and offset of the logistic curve of greatest likelihood, by Newton's steps; targets a little within 0 and 1, so that points
/// that one line parts have a curve too (Platt 1999).
fn logistic(points: &[(f64, bool)]) -> [f64; 2] {
    let right = points.iter().filter(|(_, right)| *right).count() as f64;
    let (high, low) = ((right + 1.0) / (right + 2.0), 1.0 / (points.len() as f64 - right + 2.0));
    let wanted = |right: bool| if right { high } else { low };
    let loss = |slope: f64, offset: f64| -> f64 {
        let one = |(x, right): &(f64, bool)| {
            let odds = slope * x + offset;
            // ln(1 + e^odds) - t odds, without overflow.
            odds.max(0.0) + (-odds.abs()).exp().ln_1p() - wanted(*right) * odds
        };
        points.iter().map(one).sum()
    };
    let [mut slope, mut offset] = [1.0, 0.0];
    for _ in 0..50 {
        let (mut gradient, mut curvature) = ([0.0; 2], [1e-9, 0.0, 1e-9]);
        for (x, right) in points {
            let p = 1.0 / (1.0 + (-(slope * x + offset)).exp());
            let (error, weight) = (p - wanted(*right), p * (1.0 - p));
            gradient = [gradient[0] + error * x, gradient[1] + error];
            curvature = [curvature[0] + weight * x * x, curvature[1] + weight * x, curvature[2] + weight];
        }
        let [a, b, c] = curvature;
        let determinant = a * c - b * b;
        if determinant.abs() < 1e-12 {
            break;
        }
        let step =
            [(c * gradient[0] - b * gradient[1]) / determinant, (a * gradient[1] - b * gradient[0]) / determinant];
        // A whole step may go too far.
        let now = loss(slope, offset);
        let sizes = (0..20).map(|halvings| 0.5f64.powi(halvings));
        let Some(size) = sizes.into_iter().find(|size| loss(slope - size * step[0], offset - size * step[1]) < now)
        else {
            break;
        };
        (slope, offset) = (slope - size * step[0], offset - size * step[1]);
    }
    [slope, offset]
}

/// Writes a model's file anew with this metadata.
///
/// # Errors
/// A damaged model, and what the file system says.
pub fn write(model: &Path, calls: &Value, target: &Path) -> anyhow::Result<()> {
    let bytes = std::fs::read(model).with_context(|| model.display().to_string())?;
    let gguf = Gguf::parse(&bytes).with_context(|| model.display().to_string())?;
    let mut writer = GgufWriter::new();
    for (key, value) in gguf.metadata() {
        writer.set(key, value.clone());
    }
    writer.set(CALLS, calls.to_string());
    // The first training knew nothing of the second.
    writer.set("general.description", crate::spec::description()?);
    // A call is what is likeliest, not what chance draws.
    writer.set("general.sampling.temp", 0.0f32);
    let mut data = BTreeMap::new();
    for tensor in gguf.tensors() {
        writer.add_tensor(tensor.name.as_str(), &tensor.dims, tensor.kind)?;
        data.insert(tensor.name.clone(), bytes.get(tensor.range.clone()).unwrap_or_default());
    }
    writer.write(target, |tensor, out| out.write_all(data.get(&tensor.name).copied().unwrap_or_default()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::logistic;

    #[test]
    fn the_curve_is_that_of_the_points() {
        // Of log-odds x, sigma(0.5 x - 1) are right.
        let points: Vec<(f64, bool)> = (0..20_000)
            .map(|n| {
                let x = f64::from(n % 100) / 10.0 - 5.0;
                let p = 1.0 / (1.0 + (-(0.5 * x - 1.0)).exp());
                (x, f64::from(n / 100) / 200.0 < p)
            })
            .collect();
        let [slope, offset] = logistic(&points);
        assert!((slope - 0.5).abs() < 0.02 && (offset + 1.0).abs() < 0.04, "{slope} {offset}");
    }
}
