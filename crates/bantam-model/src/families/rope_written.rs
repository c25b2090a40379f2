//! Rotary embeddings as checkpoints spell them, written: the other direction of `rope.rs`.

use bantam_formats::gguf::{Array, Value};
use serde_json::{Map, Value as Json, json};

use super::rope::{long_magnitude_of, ramped};
use crate::exchange::short_number;
use crate::spec::{Rope, RopeScaling};

/// What GGUF says of a rope: keys behind the architecture's prefix, and vectors beside the weights.
#[derive(Default)]
pub(crate) struct Written {
    pub(crate) keys: Vec<(&'static str, Value)>,
    pub(crate) vectors: Vec<(&'static str, Vec<f32>)>,
}

/// A rope in a model of this context, as GGUF has it.
pub(crate) fn to_gguf(rope: &Rope, context: usize) -> Written {
    let mut written = Written::default();
    let keys = &mut written.keys;
    keys.push(("rope.dimension_count", Value::U32(rope.rotated as u32)));
    keys.push(("rope.freq_base", Value::F32(rope.theta)));
    match &rope.scaling {
        RopeScaling::None => {}
        RopeScaling::Linear { factor } => {
            keys.push(("rope.scaling.type", Value::from("linear")));
            keys.push(("rope.scaling.factor", Value::F32(*factor)));
        }
        RopeScaling::Banded { .. } => {
            let plain = Rope { scaling: RopeScaling::None, ..rope.clone() }.table(context);
            let scaled = rope.table(context);
            let divisors = plain.frequencies.iter().zip(&scaled.frequencies).map(|(plain, scaled)| plain / scaled);
            written.vectors.push(("rope_freqs.weight", divisors.collect()));
        }
        RopeScaling::Divisors(divisors) => written.vectors.push(("rope_freqs.weight", divisors.clone())),
        RopeScaling::Ramped { factor, fast, slow, original, magnitude, .. } => {
            keys.push(("rope.scaling.type", Value::from("yarn")));
            keys.push(("rope.scaling.factor", Value::F32(*factor)));
            keys.push(("rope.scaling.original_context_length", Value::U32(*original as u32)));
            if let RopeScaling::Ramped { fast: usual_fast, slow: usual_slow, magnitude: usual, .. } =
                ramped(*factor, *original, None)
            {
                if (*fast, *slow) != (usual_fast, usual_slow) {
                    keys.push(("rope.scaling.yarn_beta_fast", Value::F32(*fast)));
                    keys.push(("rope.scaling.yarn_beta_slow", Value::F32(*slow)));
                }
                if *magnitude != usual {
                    keys.push(("rope.scaling.attn_factor", Value::F32(magnitude / (0.1 * factor.max(1.0).ln() + 1.0))));
                }
            }
        }
        RopeScaling::ByContext { original, short, long } => {
            keys.push(("rope.scaling.type", Value::from("longrope")));
            keys.push(("rope.scaling.original_context_length", Value::U32(*original as u32)));
            keys.push(("rope.scaling.attn_factor", Value::F32(long.1)));
            written.vectors.push(("rope_factors_long.weight", long.0.clone()));
            written.vectors.push(("rope_factors_short.weight", short.0.clone()));
        }
    }
    written
}

/// `rope_scaling` of `config.json` for a rope in a model of this context; `None` where it is not scaled.
pub(crate) fn to_config(rope: &Rope, context: usize) -> Option<Map<String, Json>> {
    let number = |x: f32| short_number(x);
    let json = match &rope.scaling {
        RopeScaling::None => return None,
        RopeScaling::Linear { factor } => json!({ "rope_type": "linear", "type": "linear", "factor": number(*factor) }),
        RopeScaling::Banded { factor, low, high, original } => json!({
            "rope_type": "llama3", "factor": number(*factor), "low_freq_factor": number(*low),
            "high_freq_factor": number(*high), "original_max_position_embeddings": original,
        }),
        RopeScaling::Divisors(divisors) => match banded(rope, divisors, context) {
            Some(scaling) => return to_config(&Rope { scaling, ..rope.clone() }, context),
            None => json!({
                "rope_type": "longrope", "short_factor": numbers(divisors), "long_factor": numbers(divisors),
                "attention_factor": 1.0, "factor": 1.0, "original_max_position_embeddings": context,
            }),
        },
        RopeScaling::Ramped { factor, fast, slow, rounded, original, magnitude } => {
            let mut json = json!({
                "rope_type": "yarn", "type": "yarn", "factor": number(*factor),
                "original_max_position_embeddings": original,
            });
            let RopeScaling::Ramped { fast: usual_fast, slow: usual_slow, magnitude: usual, .. } =
                ramped(*factor, *original, None)
            else {
                return None;
            };
            if (*fast, *slow) != (usual_fast, usual_slow) {
                (json["beta_fast"], json["beta_slow"]) = (number(*fast), number(*slow));
            }
            if (magnitude - usual).abs() > 1e-6 {
                json["attention_factor"] = number(*magnitude);
            }
            if !rounded {
                json["truncate"] = Json::Bool(false);
            }
            json
        }
        RopeScaling::ByContext { original, short, long } => {
            let mut json = json!({
                "type": "longrope", "short_factor": numbers(&short.0), "long_factor": numbers(&long.0),
            });
            let usual = long_magnitude_of(context, *original);
            if (short.1 - usual).abs() > 1e-6 || (long.1 - usual).abs() > 1e-6 {
                (json["short_mscale"], json["long_mscale"]) = (number(short.1), number(long.1));
                json["original_max_position_embeddings"] = json!(original);
            }
            json
        }
    };
    json.as_object().cloned()
}

fn numbers(list: &[f32]) -> Vec<Json> {
    list.iter().map(|x| short_number(*x)).collect()
}

/// The bands that a list of divisors was made from, where it was made from some (Llama 3.1): between the high frequencies,
/// which are kept, and the low ones, all divided by one factor, the blend is a straight line over `1 / wavelength`, and two
/// points of it give both its ends. They are known up to a common factor with the original context; the lower is taken as 1.
fn banded(rope: &Rope, divisors: &[f32], context: usize) -> Option<RopeScaling> {
    let plain = Rope { scaling: RopeScaling::None, ..rope.clone() }.table(context).frequencies;
    let factor = divisors.iter().copied().fold(1.0f32, f32::max);
    let (factor64, turn) = (f64::from(factor), 2.0 * std::f64::consts::PI);
    let blended: Vec<(f64, f64)> = plain
        .iter()
        .zip(divisors)
        .filter(|(_, divisor)| **divisor > 1.0 + 1e-4 && **divisor < factor * (1.0 - 1e-4))
        .map(|(frequency, divisor)| {
            let kept = (1.0 / f64::from(*divisor) - 1.0 / factor64) / (1.0 - 1.0 / factor64);
            (f64::from(*frequency) / turn, kept)
        })
        .collect();
    let made = |high: f64, original: f64| {
        let scaling = RopeScaling::Banded { factor, low: 1.0, high: high as f32, original: original as usize };
        let made = Rope { scaling: scaling.clone(), ..rope.clone() }.table(context).frequencies;
        let near = |((frequency, divisor), made): ((&f32, &f32), &f32)| (frequency / divisor / made - 1.0).abs() < 2e-6;
        plain.iter().zip(divisors).zip(&made).all(near).then_some(scaling)
    };
    if let ([first, .., last], true) = (blended.as_slice(), factor > 1.0) {
        let slope = (last.1 - first.1) / (last.0 - first.0);
        let width = 1.0 / (slope * first.0 - first.1);
        let (high, original) = ((1.0 + width), (slope * width));
        // The factors are whole numbers in all files there are; what is a little off is rounding.
        return [(high.round(), original.round()), (high, original.round())]
            .into_iter()
            .filter(|(high, original)| *high > 1.0 && *original >= 1.0 && *original <= f64::from(1u32 << 31))
            .find_map(|(high, original)| made(high, original));
    }
    // Too few blended ones to tell: the lengths that are in use.
    (7..=20).filter(|_| factor > 1.0).find_map(|power| made(4.0, f64::from(1u32 << power)))
}

/// A list of flags.
pub(crate) fn flags(list: Vec<bool>) -> Value {
    Value::Array(Array::Bool(list))
}

/// The context a rope was first made for, where `config.json` has it beside `rope_scaling` too.
pub(crate) fn original(rope: &Rope) -> Option<usize> {
    match &rope.scaling {
        RopeScaling::ByContext { original, .. } => Some(*original),
        RopeScaling::None
        | RopeScaling::Linear { .. }
        | RopeScaling::Banded { .. }
        | RopeScaling::Divisors(_)
        | RopeScaling::Ramped { .. } => None,
    }
}
