//! Rotary embeddings as checkpoints spell them: the names of scalings carry names of families, so they live here.

use bantam_plan::RopePairs;

use crate::ModelError;
use crate::settings::{Key, Settings};
use crate::spec::{Rope, RopeScaling};

/// Where `config.json` keeps a rope's settings, older and newer.
const OBJECTS: [Key; 2] = [Key("rope_scaling", ""), Key("rope_parameters", "")];
/// Context the model was first made for.
const ORIGINAL: Key = Key("original_max_position_embeddings", "rope.scaling.original_context_length");
/// Factor on cosine and sine.
const MAGNITUDE: Key = Key("", "rope.scaling.attn_factor");

/// Reads the rotary embedding: `rope_theta` and `rope_scaling`, the newer `rope_parameters`, or GGUF's keys.
pub(crate) fn rope(settings: &mut Settings<'_>, head_width: usize) -> Result<Rope, ModelError> {
    let share_key = Key("partial_rotary_factor", "");
    let mut share = settings.optional_positive(share_key)?;
    let mut theta = settings.optional_positive(Key("rope_theta|rotary_emb_base", "rope.freq_base"))?;
    let mut scaling = None;
    let context = settings.optional_count(Key("max_position_embeddings|n_positions", "context_length"))?;
    let original = settings.optional_count(ORIGINAL)?;
    for key in OBJECTS {
        let Some(mut object) = settings.object(key)? else { continue };
        // Where layers of several kinds turn by ropes of their own, this is the one of those that see all.
        if let Some(full) = object.object(Key("full_attention", ""))? {
            object.finish(&format!("`{}`", key.0), &["sliding_attention"])?;
            object = full;
        }
        let theta_key = Key("rope_theta", "");
        let stated = object.optional_positive(theta_key)?;
        // The two forms may stand side by side, but must not contradict each other.
        if let (Some(stated), Some(theta)) = (stated, theta.filter(|theta| Some(*theta) != stated)) {
            return Err(object.wrong(theta_key, &format!("{theta} as elsewhere in the file"), &stated.to_string()));
        }
        theta = theta.or(stated);
        share = object.optional_positive(share_key)?.or(share);
        let rotated = rotated(&object, share_key, share, head_width)?;
        let stated = config_scaling(&mut object, rotated, context, original)?;
        object.finish(&format!("`{}`", key.0), &[])?;
        if let Some(scaling) = scaling.as_ref().filter(|scaling| stated != RopeScaling::None && **scaling != stated) {
            return Err(settings.wrong(key, &format!("{scaling:?} as elsewhere in the file"), &format!("{stated:?}")));
        }
        if stated != RopeScaling::None {
            scaling = Some(stated);
        }
    }
    let counted_key = Key("", "rope.dimension_count");
    let counted = settings.optional_count(counted_key)?;
    let rotated = match counted {
        Some(counted) if counted > head_width || !counted.is_multiple_of(2) => {
            let expected = format!("an even number of at most {head_width}");
            return Err(settings.wrong(counted_key, &expected, &counted.to_string()));
        }
        Some(counted) => counted,
        None => rotated(settings, share_key, share, head_width)?,
    };
    let scaling = match scaling {
        Some(scaling) => scaling,
        None => gguf_scaling(settings, rotated, context, original)?,
    };
    // Which pairs GGUF's turn is the family's to say.
    Ok(Rope { rotated, pairs: RopePairs::Halves, theta: theta.unwrap_or(10_000.0), scaling })
}

/// The rope of layers with a window, where they have one of their own: never scaled.
pub(crate) fn local_rope(settings: &mut Settings<'_>, head_width: usize) -> Result<Option<Rope>, ModelError> {
    let mut theta = settings.optional_positive(Key("rope_local_base_freq", "rope.freq_base_swa"))?;
    for key in OBJECTS {
        let Some(mut object) = settings.object(key)? else { continue };
        let Some(mut local) = object.object(Key("sliding_attention", ""))? else { continue };
        local.only(Key("rope_type", ""), &["default"])?;
        theta = local.optional_positive(Key("rope_theta", ""))?.or(theta);
        local.finish("`sliding_attention`", &[])?;
    }
    let scaling = RopeScaling::None;
    Ok(theta.map(|theta| Rope { rotated: head_width, pairs: RopePairs::Halves, theta, scaling }))
}

/// Columns of a head that turn, by their share of it.
fn rotated(settings: &Settings<'_>, key: Key, share: Option<f32>, head_width: usize) -> Result<usize, ModelError> {
    let share = share.unwrap_or(1.0);
    let rotated = (f64::from(share) * head_width as f64 + 1e-4) as usize;
    if rotated == 0 || rotated > head_width || !rotated.is_multiple_of(2) {
        let expected = format!("a share that makes an even number of at most {head_width} columns");
        return Err(settings.wrong(key, &expected, &share.to_string()));
    }
    Ok(rotated)
}

fn config_scaling(
    object: &mut Settings<'_>,
    rotated: usize,
    context: Option<usize>,
    original: Option<usize>,
) -> Result<RopeScaling, ModelError> {
    let (new, old) = (Key("rope_type", ""), Key("type", ""));
    let older = object.text(old)?;
    let kind = object.text(new)?.or(older);
    let factor_key = Key("factor", "");
    match kind.as_deref() {
        None | Some("default") => Ok(RopeScaling::None),
        Some("linear") => Ok(RopeScaling::Linear { factor: object.positive(factor_key)? }),
        Some("llama3") => {
            let low = object.positive(Key("low_freq_factor", ""))?;
            let key = Key("high_freq_factor", "");
            let high = object.positive(key)?;
            if high <= low {
                return Err(object.wrong(key, &format!("a number above low_freq_factor {low}"), &high.to_string()));
            }
            let factor = object.positive(factor_key)?;
            Ok(RopeScaling::Banded { factor, low, high, original: object.count(ORIGINAL)? })
        }
        Some("yarn") => {
            let factor = object.positive(factor_key)?;
            let stated = object.optional_count(ORIGINAL)?.or(original).or(context);
            let magnitude = object.optional_positive(Key("attention_factor", ""))?;
            let truncate = object.flag(Key("truncate", ""))?.unwrap_or(true);
            let mut scaling = ramped(factor, stated.unwrap_or(1), magnitude);
            if let RopeScaling::Ramped { fast, slow, rounded, .. } = &mut scaling {
                *fast = object.optional_positive(Key("beta_fast", ""))?.unwrap_or(*fast);
                *slow = object.optional_positive(Key("beta_slow", ""))?.unwrap_or(*slow);
                *rounded = truncate;
            }
            Ok(scaling)
        }
        Some("longrope" | "su") => {
            let original = object.optional_count(ORIGINAL)?.or(original).or(context).unwrap_or(1);
            let mut list = |name: &'static str| {
                let key = Key(name, "");
                let divisors = object.positives(key, rotated / 2)?;
                divisors.ok_or_else(|| ModelError::MissingSetting { key: name.to_owned() })
            };
            let (short, long) = (list("short_factor")?, list("long_factor")?);
            let magnitude = object.optional_positive(Key("attention_factor", ""))?;
            let short_magnitude = object.optional_positive(Key("short_mscale", ""))?.or(magnitude);
            let long_magnitude = object.optional_positive(Key("long_mscale", ""))?.or(magnitude);
            let usual = long_magnitude_of(context.unwrap_or(original), original);
            Ok(RopeScaling::ByContext {
                original,
                short: (short, short_magnitude.unwrap_or(usual)),
                long: (long, long_magnitude.unwrap_or(usual)),
            })
        }
        Some(other) => Err(object.wrong(new, "default, linear, llama3, yarn or longrope", other)),
    }
}

pub(super) fn ramped(factor: f32, original: usize, magnitude: Option<f32>) -> RopeScaling {
    let usual = if factor > 1.0 { 0.1 * factor.ln() + 1.0 } else { 1.0 };
    let magnitude = magnitude.unwrap_or(usual);
    RopeScaling::Ramped { factor, fast: 32.0, slow: 1.0, rounded: true, original, magnitude }
}

/// Factor on cosine and sine that LongRoPE takes where none is stated.
pub(super) fn long_magnitude_of(context: usize, original: usize) -> f32 {
    let (context, original) = (context as f64, original as f64);
    if context <= original { 1.0 } else { (1.0 + (context / original).ln() / original.ln()).sqrt() as f32 }
}

fn gguf_scaling(
    settings: &mut Settings<'_>,
    rotated: usize,
    context: Option<usize>,
    original: Option<usize>,
) -> Result<RopeScaling, ModelError> {
    let kind_key = Key("", "rope.scaling.type");
    let factor_key = Key("", "rope.scaling.factor");
    let factor = settings.optional_positive(factor_key)?;
    let older_factor = settings.optional_positive(Key("", "rope.scale_linear"))?;
    // A factor without a type scales linearly, as in llama.cpp.
    let kind = settings.text(kind_key)?.or_else(|| factor.or(older_factor).map(|_| "linear".to_owned()));
    let magnitude = settings.optional_positive(MAGNITUDE)?;
    let stated = divisors(settings, "rope_freqs.weight", rotated)?;
    let short = divisors(settings, "rope_factors_short.weight", rotated)?;
    if let (Some(short), Some(long)) = (short, divisors(settings, "rope_factors_long.weight", rotated)?) {
        let original = original.or(context).unwrap_or(1);
        let magnitude = magnitude.unwrap_or_else(|| long_magnitude_of(context.unwrap_or(original), original));
        return match kind.as_deref() {
            None | Some("none" | "longrope") => {
                Ok(RopeScaling::ByContext { original, short: (short, magnitude), long: (long, magnitude) })
            }
            Some(other) => Err(settings.wrong(kind_key, "longrope beside lists of factors", other)),
        };
    }
    match (kind.as_deref(), stated) {
        (None | Some("none" | "linear"), Some(divisors)) => {
            let factor = if kind.as_deref() == Some("linear") { factor.or(older_factor) } else { None };
            Ok(RopeScaling::Divisors(divisors.iter().map(|x| x * factor.unwrap_or(1.0)).collect()))
        }
        (Some("linear"), None) => Ok(linear(factor.or(older_factor))),
        (None | Some("none"), None) => Ok(RopeScaling::None),
        (Some("yarn"), None) => {
            let Some(factor) = factor else { return settings.positive(factor_key).map(|_| RopeScaling::None) };
            // GGUF's factor comes on top of the usual one.
            let usual = 0.1 * factor.max(1.0).ln() + 1.0;
            let mut scaling = ramped(factor, original.or(context).unwrap_or(1), magnitude.map(|by| by * usual));
            if let RopeScaling::Ramped { fast, slow, .. } = &mut scaling {
                *fast = settings.optional_positive(Key("", "rope.scaling.yarn_beta_fast"))?.unwrap_or(*fast);
                *slow = settings.optional_positive(Key("", "rope.scaling.yarn_beta_slow"))?.unwrap_or(*slow);
            }
            Ok(scaling)
        }
        (Some(other), _) => Err(settings.wrong(kind_key, "none, linear or yarn", other)),
    }
}

/// Divisors of frequencies that a GGUF file carries as a tensor.
fn divisors(settings: &Settings<'_>, name: &str, rotated: usize) -> Result<Option<Vec<f32>>, ModelError> {
    let Some(divisors) = settings.vector(name) else { return Ok(None) };
    if divisors.len() == rotated / 2 && divisors.iter().all(|x| x.is_finite() && *x > 0.0) {
        return Ok(Some(divisors));
    }
    Err(ModelError::TensorShape {
        name: name.to_owned(),
        expected: format!("{} finite numbers above 0", rotated / 2),
        found: format!("{} numbers", divisors.len()),
    })
}

fn linear(factor: Option<f32>) -> RopeScaling {
    match factor {
        Some(factor) if factor != 1.0 => RopeScaling::Linear { factor },
        _ => RopeScaling::None,
    }
}
