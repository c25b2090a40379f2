//! Rotary embeddings as checkpoints spell them: the names of scalings carry names of families, so they live here.

use bantam_plan::RopePairs;

use crate::ModelError;
use crate::settings::{Key, Settings};
use crate::spec::{Rope, RopeScaling};

/// Reads the rotary embedding: `rope_theta` and `rope_scaling`, the newer `rope_parameters`, or GGUF's keys.
pub(crate) fn rope(settings: &mut Settings<'_>, head_width: usize) -> Result<Rope, ModelError> {
    let rotated_key = Key("", "rope.dimension_count");
    let rotated = settings.optional_count(rotated_key)?.unwrap_or(head_width);
    if rotated > head_width || !rotated.is_multiple_of(2) {
        let expected = format!("an even number of at most {head_width}");
        return Err(settings.wrong(rotated_key, &expected, &rotated.to_string()));
    }
    let mut theta = settings.optional_positive(Key("rope_theta", "rope.freq_base"))?;
    let mut scaling = gguf_scaling(settings, rotated)?;
    for key in [Key("rope_scaling", ""), Key("rope_parameters", "")] {
        if let Some(mut object) = settings.object(key)? {
            let theta_key = Key("rope_theta", "");
            let stated = object.optional_positive(theta_key)?;
            // The two forms may stand side by side, but must not contradict each other.
            if let (Some(stated), Some(theta)) = (stated, theta.filter(|theta| Some(*theta) != stated)) {
                return Err(object.wrong(theta_key, &format!("{theta} as elsewhere in the file"), &stated.to_string()));
            }
            theta = theta.or(stated);
            let stated = config_scaling(&mut object)?;
            object.finish(&format!("`{}`", key.0), &[])?;
            if stated != RopeScaling::None && scaling != RopeScaling::None && stated != scaling {
                return Err(settings.wrong(
                    key,
                    &format!("{scaling:?} as elsewhere in the file"),
                    &format!("{stated:?}"),
                ));
            }
            if stated != RopeScaling::None {
                scaling = stated;
            }
        }
    }
    // The pairs of GGUF's decoders are interleaved: their projections were permuted when converted.
    let pairs = if settings.is_config() { RopePairs::Halves } else { RopePairs::Interleaved };
    Ok(Rope { rotated, pairs, theta: theta.unwrap_or(10_000.0), scaling })
}

fn config_scaling(object: &mut Settings<'_>) -> Result<RopeScaling, ModelError> {
    let (new, old) = (Key("rope_type", ""), Key("type", ""));
    let older = object.text(old)?;
    let kind = object.text(new)?.or(older);
    match kind.as_deref() {
        None | Some("default") => Ok(RopeScaling::None),
        Some("linear") => Ok(RopeScaling::Linear { factor: object.positive(Key("factor", ""))? }),
        Some("llama3") => {
            let low = object.positive(Key("low_freq_factor", ""))?;
            let key = Key("high_freq_factor", "");
            let high = object.positive(key)?;
            if high <= low {
                return Err(object.wrong(key, &format!("a number above low_freq_factor {low}"), &high.to_string()));
            }
            Ok(RopeScaling::Banded {
                factor: object.positive(Key("factor", ""))?,
                low,
                high,
                original: object.count(Key("original_max_position_embeddings", ""))?,
            })
        }
        Some(other) => Err(object.wrong(new, "default, linear or llama3", other)),
    }
}

fn gguf_scaling(settings: &mut Settings<'_>, rotated: usize) -> Result<RopeScaling, ModelError> {
    let kind_key = Key("", "rope.scaling.type");
    let factor = settings.optional_positive(Key("", "rope.scaling.factor"))?;
    let older_factor = settings.optional_positive(Key("", "rope.scale_linear"))?;
    settings.optional_count(Key("", "rope.scaling.original_context_length"))?;
    // A factor without a type scales linearly, as in llama.cpp.
    let kind = settings.text(kind_key)?.or_else(|| factor.or(older_factor).map(|_| "linear".to_owned()));
    let divisors = settings.vector("rope_freqs.weight");
    match (kind.as_deref(), divisors) {
        (None | Some("none" | "linear"), Some(divisors)) => {
            if divisors.len() != rotated / 2 || divisors.iter().any(|x| !x.is_finite() || *x <= 0.0) {
                return Err(ModelError::TensorShape {
                    name: "rope_freqs.weight".into(),
                    expected: format!("{} finite numbers above 0", rotated / 2),
                    found: format!("{} numbers", divisors.len()),
                });
            }
            let factor = if kind.as_deref() == Some("linear") { factor.or(older_factor) } else { None };
            Ok(RopeScaling::Divisors(divisors.iter().map(|x| x * factor.unwrap_or(1.0)).collect()))
        }
        (Some("linear"), None) => Ok(linear(factor.or(older_factor))),
        (None | Some("none"), None) => Ok(RopeScaling::None),
        (Some(other), _) => Err(settings.wrong(kind_key, "none or linear", other)),
    }
}

fn linear(factor: Option<f32>) -> RopeScaling {
    match factor {
        Some(factor) if factor != 1.0 => RopeScaling::Linear { factor },
        _ => RopeScaling::None,
    }
}
