//! bitsandbytes: NF4 and FP4 blocks (Dettmers et al. 2023) and LLM.int8() (Dettmers et al. 2022).
//!
//! Source: `QuantState.as_dict` and `Linear8bitLt._save_to_state_dict` of bitsandbytes. Four bits: `weight` holds pairs of
//! places in the table `weight.quant_map`, `weight.absmax` a scale for each run of numbers (itself quantized where
//! `weight.nested_absmax` is there), and `weight.quant_state.bitsandbytes__nf4` says the rest as JSON. Eight bits: `weight`
//! and a scale `SCB` a row, in units of 1/127.

use serde_json::Value as Json;

use super::codebook::{Codebook, Scales};
use super::codes::Codes;
use super::grid::Grid;
use super::parts::{Parts, matrix, misshapen, named_type, shaped};
use super::scaled::{Base, Groups, Scaled, Zero};
use super::{Facts, NoTensors, Scheme};
use crate::settings::{Key, Settings, Source};
use crate::{ModelError, Tensor};

pub(super) const SCHEME: Scheme = Scheme {
    name: "bitsandbytes",
    methods: &["bitsandbytes"],
    reads: "NF4 and FP4 in blocks of any size, with nested scales or without; LLM.int8() in rows",
    values: "table · scale in f32, rounded to the type the weight was made from; int8 · scale / 127 in f32, rounded to the \
             model's type",
    read,
};

/// What stands between a module's name and the kind of its four-bit blocks.
const STATE: &str = ".weight.quant_state.bitsandbytes__";
/// Longest description of a weight that is read, in bytes.
const LONGEST_STATE: usize = 1 << 16;
/// One over the largest code, as bitsandbytes writes it.
const ONE_127TH: f32 = 7.874_016e-3;

fn read(settings: &mut Settings<'_>, parts: &mut Parts) -> Result<Facts, ModelError> {
    let four = settings.flag(Key("load_in_4bit|_load_in_4bit", ""))?.unwrap_or(false);
    let eight = settings.flag(Key("load_in_8bit|_load_in_8bit", ""))?.unwrap_or(false);
    settings.only(Key("llm_int8_has_fp16_weight", ""), &["false"])?;
    let ignored = [
        // How products are computed, and what was left as it was.
        "bnb_4bit_compute_dtype",
        "llm_int8_enable_fp32_cpu_offload",
        "llm_int8_skip_modules",
        "llm_int8_threshold",
        // What each weight says of itself.
        "bnb_4bit_quant_storage",
        "bnb_4bit_quant_type",
        "bnb_4bit_use_double_quant",
    ];
    settings.finish("bitsandbytes", &ignored)?;
    let mut details = Vec::new();
    for (module, kind) in parts.around(STATE) {
        let detail = four_bits(parts, &module, &kind)?;
        if !details.contains(&detail) {
            details.push(detail);
        }
    }
    let rows = parts.modules("SCB");
    let mut notes = Vec::new();
    if !rows.is_empty() {
        details.push("LLM.int8()".to_owned());
        notes.push(
            "the makers also round activations to 8 bits in a way of their own (LLM.int8()), which is not followed"
                .to_owned(),
        );
    }
    for module in rows {
        eight_bits(parts, &module)?;
    }
    if details.is_empty() {
        let part = if four && !eight { "….weight.quant_state.bitsandbytes__nf4" } else { "….SCB" };
        return Err(ModelError::MissingTensor { name: part.to_owned() });
    }
    Ok(Facts { detail: details.join("; "), notes })
}

fn f32s(tensor: &Tensor) -> Vec<f32> {
    let bytes: &[u8] = &tensor.bytes;
    bytes.chunks_exact(4).filter_map(|four| four.try_into().ok().map(f32::from_le_bytes)).collect()
}

fn four_bits(parts: &mut Parts, module: &str, kind: &str) -> Result<String, ModelError> {
    let state = parts.need(module, &format!("weight.quant_state.bitsandbytes__{kind}"))?;
    let unreadable = || misshapen(&state, "a JSON object");
    if state.bytes.len() > LONGEST_STATE {
        return Err(unreadable());
    }
    let json: Json = serde_json::from_slice(&state.bytes).map_err(|_| unreadable())?;
    let map = json.as_object().ok_or_else(unreadable)?;
    let mut settings = Settings::new(Source::Config(map), &NoTensors);
    let kind_key = Key("quant_type", "");
    let stated = settings.text(kind_key)?.unwrap_or_default();
    if stated != kind || !matches!(kind, "nf4" | "fp4") {
        return Err(settings.wrong(kind_key, "nf4 or fp4, as in the tensor's name", &stated));
    }
    let run = settings.count(Key("blocksize", ""))?;
    let dtype_key = Key("dtype", "");
    let dtype = settings.text(dtype_key)?.unwrap_or_default();
    let output = named_type(&dtype).ok_or_else(|| settings.wrong(dtype_key, "float16, bfloat16 or float32", &dtype))?;
    let shape_key = Key("shape", "");
    let shape = settings.wholes(shape_key)?.unwrap_or_default();
    let [rows, width] = shape[..] else {
        return Err(settings.wrong(shape_key, "two extents", &format!("{shape:?}")));
    };
    let count = rows.checked_mul(width).filter(|count| *count > 0);
    let count = count.ok_or_else(|| settings.wrong(shape_key, "extents of a matrix", &format!("{shape:?}")))?;
    let runs = count.div_ceil(run);

    let codes = parts.need(module, "weight")?;
    // Some files store the bytes as numbers of another type.
    if codes.bytes.len() != count.div_ceil(2) {
        return Err(misshapen(&codes, &format!("{} bytes", count.div_ceil(2))));
    }
    let map = parts.need(module, "weight.quant_map")?;
    shaped(&map, &["F32"], &[16])?;
    let mut table: [f32; 16] = f32s(&map).try_into().map_err(|_| misshapen(&map, "16 numbers"))?;
    // The sign of FP4 is a bit of the code, also where the table holds no sign.
    if kind == "fp4" && table[8] == 0.0 {
        table[8] = -0.0;
    }
    let absmax = parts.need(module, "weight.absmax")?;
    let nested = parts.take(module, "weight.nested_absmax");
    let scales = match &nested {
        None => {
            shaped(&absmax, &["F32"], &[runs])?;
            Scales::Plain(absmax.bytes.clone())
        }
        Some(scales) => {
            let run = settings.count(Key("nested_blocksize", ""))?;
            settings.only(Key("nested_dtype", ""), &["float32"])?;
            let offset_key = Key("nested_offset", "");
            let offset = settings.get(offset_key).and_then(|offset| offset.number()).unwrap_or(0.0) as f32;
            let map = parts.need(module, "weight.nested_quant_map")?;
            shaped(&map, &["F32"], &[256])?;
            shaped(&absmax, &["U8"], &[runs])?;
            shaped(scales, &["F32"], &[runs.div_ceil(run)])?;
            Scales::Nested { codes: absmax.bytes.clone(), table: f32s(&map), scales: scales.bytes.clone(), run, offset }
        }
    };
    settings.finish(&format!("`{}`", state.file_name), &[])?;
    let codebook = Codebook { rows, width, codes: codes.bytes, table, scales, run, output };
    parts.put_codebook(module, codebook)?;
    let nested = if nested.is_some() { ", nested scales" } else { "" };
    Ok(format!("{}, blocks of {run}{nested}", kind.to_uppercase()))
}

fn eight_bits(parts: &mut Parts, module: &str) -> Result<(), ModelError> {
    let (codes, scales) = (parts.need(module, "weight")?, parts.need(module, "SCB")?);
    if let Some(format) = parts.take(module, "weight_format")
        && format.bytes.iter().any(|byte| *byte != 0)
    {
        return Err(misshapen(&format, "0, codes in rows"));
    }
    let (rows, width) = matrix(&codes, &["I8"])?;
    shaped(&scales, &["F32"], &[rows])?;
    let make = || {
        Some(Scaled {
            rows,
            width,
            codes: Codes::lines(codes.bytes.clone(), 8, rows, width)?.signed(),
            lines_are_columns: false,
            base: Base::Whole(Zero::Constant(0)),
            scale: Grid::of(&scales, (1, 0), rows, 1)?,
            divisor: 1.0,
            factor: ONE_127TH,
            offset: None,
            groups: Groups::Even(width),
            group_count: 1,
        })
    };
    let scaled = make().ok_or_else(|| misshapen(&codes, "codes and scales of one matrix"))?;
    let otherwise = parts.dtype();
    parts.put(module, scaled, otherwise)
}
