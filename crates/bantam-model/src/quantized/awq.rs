//! AWQ (Lin et al. 2023) in the `gemm` layout of AutoAWQ.
//!
//! Source: `WQLinear_GEMM.from_linear` of AutoAWQ. `qweight` `[inputs, outputs / 8]` packs eight outputs in a word, the even
//! ones first; `qzeros` `[groups, outputs / 8]` likewise; `scales` `[groups, outputs]`.

use super::codes::Codes;
use super::gptq::even;
use super::grid::Grid;
use super::parts::{Parts, matrix, misshapen, shaped};
use super::scaled::{Base, Scaled, Zero};
use super::{Facts, HOW_IT_WAS_DONE, Scheme, group_size, groups_in_words, type_of};
use crate::ModelError;
use crate::settings::{Key, Settings};

/// Bits of a code, and codes in a word.
const BITS: usize = 4;
const EACH: usize = 8;

pub(super) const SCHEME: Scheme = Scheme {
    name: "AWQ",
    methods: &["awq"],
    reads: "4 bits in the `gemm` layout, any group size, with zero points",
    values: "(code − zero) · scale in f32; rounded to the scales' type where a group is no multiple of 32",
    read,
};

fn read(settings: &mut Settings<'_>, parts: &mut Parts) -> Result<Facts, ModelError> {
    let bits_key = Key("bits|w_bit", "");
    let bits = settings.count(bits_key)?;
    if bits != BITS {
        return Err(settings.wrong(bits_key, "4", &bits.to_string()));
    }
    let size = group_size(settings, Key("group_size|q_group_size", ""))?;
    settings.only(Key("zero_point", ""), &["true"])?;
    settings.only(Key("desc_act", ""), &["false"])?;
    settings.flag(Key("sym", ""))?;
    settings.texts(Key("modules_to_not_convert", ""))?;
    let layout_key = Key("version|format|checkpoint_format", "");
    let layout = settings.text(layout_key)?;
    if let Some(other) = layout.filter(|layout| !layout.eq_ignore_ascii_case("gemm")) {
        return Err(settings.wrong(layout_key, "gemm", &other));
    }
    let backend_key = Key("backend", "");
    if let Some(other) = settings.text(backend_key)?.filter(|backend| backend == "llm-awq") {
        return Err(settings.wrong(backend_key, "autoawq", &other));
    }
    settings.finish("AWQ", HOW_IT_WAS_DONE)?;
    for module in parts.some_modules("qweight")? {
        let codes = parts.need(&module, "qweight")?;
        let scales = parts.need(&module, "scales")?;
        let zeros = parts.need(&module, "qzeros")?;
        let (inputs, words) = matrix(&codes, &["I32"])?;
        let (groups, _) = matrix(&zeros, &["I32"])?;
        let otherwise = type_of(&scales)?;
        let outputs = words.saturating_mul(EACH);
        shaped(&zeros, &["I32"], &[groups, words])?;
        shaped(&scales, &["F16", "BF16", "F32"], &[groups, outputs])?;
        let order = even(inputs, groups, size).ok_or_else(|| misshapen(&scales, &groups_in_words(size)))?;
        let packed = |tensor: &crate::Tensor, lines| {
            Codes::lines(tensor.bytes.clone(), BITS, lines, words.checked_mul(4)?).map(Codes::evens_first)
        };
        let make = || {
            Some(Scaled {
                rows: outputs,
                width: inputs,
                codes: packed(&codes, inputs)?,
                lines_are_columns: true,
                base: Base::Whole(Zero::ByGroup(packed(&zeros, groups)?, 0)),
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
    Ok(Facts { detail: format!("{bits} bits, {}", groups_in_words(size)), notes: Vec::new() })
}
