//! Eight-bit floats with scales beside them, as DeepSeek-V3, Qwen3 and others publish them (`fp8`), and FBGEMM's.
//!
//! Source: transformers' `Fp8Dequantize` and DeepSeek-V3's `weight_dequant`. `weight` times `weight_scale_inv`, one number
//! for each block of `weight_block_size`, or times `weight_scale`, one for the tensor or for each row.

use super::codes::Codes;
use super::grid::Grid;
use super::parts::{Parts, matrix, misshapen};
use super::scaled::{Base, Groups, Scaled};
use super::{Facts, Scheme, float8};
use crate::ModelError;
use crate::settings::{Key, Settings};

pub(super) const SCHEME: Scheme = Scheme {
    name: "FP8",
    methods: &["fp8", "fbgemm_fp8"],
    reads: "E4M3 and E5M2 with a scale for a block, a row or a tensor",
    values: "number · scale in f32, rounded to the model's type",
    read,
};

fn read(settings: &mut Settings<'_>, parts: &mut Parts) -> Result<Facts, ModelError> {
    let format_key = Key("fmt", "");
    if let Some(other) = settings.text(format_key)?.filter(|format| !matches!(format.as_str(), "e4m3" | "e5m2")) {
        return Err(settings.wrong(format_key, "e4m3 or e5m2", &other));
    }
    let block_key = Key("weight_block_size", "");
    let block = match settings.wholes(block_key)? {
        None => None,
        Some(block) => match block[..] {
            [rows, columns] if rows > 0 && columns > 0 => Some((rows, columns)),
            _ => return Err(settings.wrong(block_key, "two extents above 0", &format!("{block:?}"))),
        },
    };
    settings.only(Key("expert_dtype", ""), &["fp8"])?;
    for key in [Key("modules_to_not_convert", ""), Key("ignored_layers", ""), Key("modules_to_convert", "")] {
        settings.texts(key)?;
    }
    settings.finish("FP8", &["activation_scale_ub", "activation_scheme", "dequantize", "scale_fmt"])?;
    let mut found = 0;
    for part in ["weight_scale_inv", "weight_scale"] {
        for module in parts.modules(part) {
            weight(parts, &module, part, block)?;
            found += 1;
        }
    }
    if found == 0 {
        return Err(ModelError::MissingTensor { name: "….weight_scale_inv".into() });
    }
    // Scales of activations, which are not rounded here.
    ["input_scale", "activation_scale", "input_scale_ub"].into_iter().for_each(|part| parts.drop_all(part));
    let detail = match block {
        Some((rows, columns)) => format!("8-bit floats in blocks of {rows} × {columns}"),
        None => "8-bit floats".to_owned(),
    };
    Ok(Facts {
        detail,
        notes: vec![
            "the makers also round activations to 8 bits in a way of their own, which is not followed".to_owned(),
        ],
    })
}

fn weight(parts: &mut Parts, module: &str, part: &str, block: Option<(usize, usize)>) -> Result<(), ModelError> {
    let (codes, scales) = (parts.need(module, "weight")?, parts.need(module, part)?);
    let (rows, width) = matrix(&codes, &["F8_E4M3", "F8_E5M2"])?;
    let table = float8(codes.element_name()).unwrap_or_default();
    let blocks = block.map_or(String::new(), |(rows, columns)| format!(" in blocks of {rows} × {columns}"));
    let wrong = || misshapen(&scales, &format!("scales of [{rows}, {width}]{blocks}"));
    // Strides, rows and columns that share a scale, and how many there are down and across.
    let (strides, high, wide, lines, count) = match (&scales.shape[..], block) {
        ([] | [1] | [1, 1], _) => ((0, 0), 1, width, 1, 1),
        ([found] | [found, 1], None) if *found == rows => ((1, 0), 1, width, rows, 1),
        ([down, across], Some((high, wide))) if *down == rows.div_ceil(high) && *across == width.div_ceil(wide) => {
            ((*across, 1), high, wide, *down, *across)
        }
        _ => return Err(wrong()),
    };
    if scales.shape.len() < 2 && strides == (0, 0) && block.is_some_and(|(high, wide)| high < rows || wide < width) {
        return Err(wrong());
    }
    let scale = Grid::of(&scales, strides, lines, count).map(|grid| Grid { rows_each: high, ..grid });
    let scaled = Scaled {
        rows,
        width,
        codes: Codes::lines(codes.bytes.clone(), 8, rows, width).ok_or_else(|| misshapen(&codes, "a whole matrix"))?,
        lines_are_columns: false,
        base: Base::Table(table),
        scale: scale.ok_or_else(|| misshapen(&scales, "numbers of F32, F16, BF16 or F8_E8M0"))?,
        divisor: 1.0,
        factor: 1.0,
        offset: None,
        groups: Groups::Even(wide),
        group_count: count,
    };
    let otherwise = parts.dtype();
    parts.put(module, scaled, otherwise)
}
