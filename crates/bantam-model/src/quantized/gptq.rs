//! GPTQ (Frantar et al. 2022) as AutoGPTQ, GPTQModel and transformers store it.
//!
//! Source: `QuantLinear.pack` of AutoGPTQ. `qweight` `[inputs · bits / 32, outputs]` packs the codes of a column along the
//! inputs, `qzeros` `[groups, outputs · bits / 32]` the zeros along the outputs, less 1 in the first version of the format;
//! `scales` `[groups, outputs]`; `g_idx` `[inputs]` says which group an input belongs to.

use super::codes::Codes;
use super::grid::Grid;
use super::parts::{Parts, listed, matrix, misshapen, shaped};
use super::scaled::{Base, Groups, Scaled, Zero};
use super::{Facts, HOW_IT_WAS_DONE, Scheme, group_size, groups_in_words, type_of};
use crate::ModelError;
use crate::settings::{Key, Settings};

pub(super) const SCHEME: Scheme = Scheme {
    name: "GPTQ",
    methods: &["gptq"],
    reads: "2, 3, 4 and 8 bits, any group size, symmetric or not, in any order of activations; both versions of the format",
    values: "(code − zero) · scale in f32; where the order of activations mixes groups, rounded to the scales' type",
    read,
};

fn read(settings: &mut Settings<'_>, parts: &mut Parts) -> Result<Facts, ModelError> {
    let bits_key = Key("bits", "");
    let bits = settings.count(bits_key)?;
    if !matches!(bits, 2 | 3 | 4 | 8) {
        return Err(settings.wrong(bits_key, "2, 3, 4 or 8", &bits.to_string()));
    }
    let size = group_size(settings, Key("group_size", ""))?;
    let ordered = settings.flag(Key("desc_act", ""))?.unwrap_or(false);
    let symmetric = settings.flag(Key("sym", ""))?;
    settings.flag(Key("lm_head", ""))?;
    settings.only(Key("is_marlin_format", ""), &["false"])?;
    settings.only(Key("pack_dtype", ""), &["int32"])?;
    settings.only(Key("rotation", ""), &[])?;
    settings.only(Key("adapter", ""), &["{}"])?;
    let format_key = Key("checkpoint_format|format", "");
    let plus = match settings.text(format_key)?.as_deref() {
        None | Some("gptq") => 1,
        Some("gptq_v2") => 0,
        Some(other) => return Err(settings.wrong(format_key, "gptq or gptq_v2", other)),
    };
    // Rules by module: what they say of bits and groups shows in the tensors.
    let dynamic = settings.object(Key("dynamic", ""))?.is_some();
    settings.finish("GPTQ", HOW_IT_WAS_DONE)?;
    for module in parts.some_modules("qweight")? {
        let codes = parts.need(&module, "qweight")?;
        let scales = parts.need(&module, "scales")?;
        let zeros = parts.need(&module, "qzeros")?;
        let order = parts.take(&module, "g_idx").filter(|order| order.shape != [0]);
        let (words, outputs) = matrix(&codes, &["I32", "U32"])?;
        let (groups, zero_words) = matrix(&zeros, &["I32", "U32"])?;
        let otherwise = type_of(&scales)?;
        shaped(&scales, &["F16", "BF16", "F32"], &[groups, outputs])?;
        // Bits by the tensors, which rules by module may have made others.
        let candidates = if dynamic { vec![2, 3, 4, 8] } else { vec![bits] };
        let bits = candidates.into_iter().find(|bits| zero_words.checked_mul(32) == outputs.checked_mul(*bits));
        let bits = bits.ok_or_else(|| misshapen(&zeros, &format!("zeros of {outputs} outputs in words of 32 bits")))?;
        let inputs = words.checked_mul(32).filter(|all| all.is_multiple_of(bits)).map(|all| all / bits);
        let inputs = inputs.ok_or_else(|| misshapen(&codes, &format!("whole codes of {bits} bits")))?;
        let order = order.map(|order| listed(&order, inputs, groups)).transpose()?;
        let order = match order {
            Some(order) => order,
            None if ordered && size.is_some() => {
                return Err(ModelError::MissingTensor { name: format!("{module}.g_idx") });
            }
            None => even(inputs, groups, size).ok_or_else(|| misshapen(&scales, &groups_in_words(size)))?,
        };
        let make = || {
            Some(Scaled {
                rows: outputs,
                width: inputs,
                codes: Codes::columns(codes.bytes.clone(), bits, outputs, words)?,
                lines_are_columns: false,
                base: Base::Whole(Zero::ByGroup(
                    Codes::lines(zeros.bytes.clone(), bits, groups, zero_words * 4)?,
                    plus,
                )),
                scale: Grid::of(&scales, (1, outputs), outputs, groups)?,
                divisor: 1.0,
                factor: 1.0,
                offset: None,
                groups: order,
                group_count: groups,
            })
        };
        let scaled = make().ok_or_else(|| misshapen(&codes, "codes, zeros and scales of one matrix"))?;
        parts.put(&module, scaled, otherwise)?;
    }
    let mut detail = format!("{bits} bits, {}", groups_in_words(size));
    if let Some(symmetric) = symmetric {
        detail += if symmetric { ", symmetric" } else { ", asymmetric" };
    }
    if ordered {
        detail += ", by order of activations";
    }
    Ok(Facts { detail, notes: Vec::new() })
}

/// Groups of columns one after the other, `size` each as settings say or as many as the tensors have.
pub(super) fn even(columns: usize, groups: usize, size: Option<usize>) -> Option<Groups> {
    match size {
        Some(size) if columns.div_ceil(size) == groups => Some(Groups::Even(size)),
        None if groups == 1 => Some(Groups::Even(columns)),
        _ => None,
    }
}
