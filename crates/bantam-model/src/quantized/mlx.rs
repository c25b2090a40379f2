//! MLX, as mlx-lm writes it.
//!
//! Source: the documentation of `mlx.core.quantize`. `weight` packs codes of a row from the lowest bit on; in the mode
//! `affine` each group of columns has a scale in `scales` and an offset in `biases`, in the others a scale of eight bits.

use bantam_tensor::TensorType;

use super::codes::Codes;
use super::grid::{Grid, Number};
use super::parts::{Parts, matrix, misshapen, shaped};
use super::scaled::{Base, Groups, Scaled, Zero};
use super::{Facts, NoTensors, Scheme, float8, table};
use crate::settings::{Key, Settings, Source};
use crate::{ModelError, Tensor};

/// Where `config.json` keeps its settings.
pub(super) const PLACE: &str = "quantization";
/// What stands for the method that its settings do not name.
pub(super) const METHOD: &str = "mlx";

pub(super) const SCHEME: Scheme = Scheme {
    name: "MLX",
    methods: &[METHOD],
    reads: "`affine` of 2, 3, 4, 5, 6 and 8 bits, `mxfp4`, `mxfp8`, `nvfp4`; settings by module too",
    values: "code · scale + offset in f32; floats · scale, exactly",
    read,
};

/// How one module is quantized.
#[derive(Clone, Copy, PartialEq)]
struct Mode {
    kind: Kind,
    bits: usize,
    size: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Affine,
    Mxfp4,
    Mxfp8,
    Nvfp4,
}

fn read(settings: &mut Settings<'_>, parts: &mut Parts) -> Result<Facts, ModelError> {
    let usual = mode(settings, None)?;
    let mut own = Vec::new();
    for module in parts.some_modules("scales")? {
        let mode = match settings.object_at(&module) {
            Some(map) => {
                let mut nested = Settings::new(Source::Config(map), &NoTensors);
                let mode = mode(&mut nested, Some(usual))?;
                nested.finish(&format!("`{module}`"), &[])?;
                mode
            }
            None => usual,
        };
        if mode != usual && !own.contains(&mode.bits) {
            own.push(mode.bits);
        }
        weight(parts, &module, mode)?;
    }
    // What is left of settings by module says that a module stays as it is, or speaks of one that is not there.
    let others = settings.unread();
    let ignored: Vec<&str> = others
        .iter()
        .filter(|(_, value)| value.is_boolean() || value.is_object())
        .map(|(key, _)| key.as_str())
        .collect();
    settings.finish("MLX", &ignored)?;
    let kind = match usual.kind {
        Kind::Affine => "",
        Kind::Mxfp4 => ", mxfp4",
        Kind::Mxfp8 => ", mxfp8",
        Kind::Nvfp4 => ", nvfp4",
    };
    own.sort_unstable();
    let own = match own.is_empty() {
        true => String::new(),
        false => format!("; some of {} bits", own.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    };
    Ok(Facts { detail: format!("{} bits, groups of {}{kind}{own}", usual.bits, usual.size), notes: Vec::new() })
}

fn mode(settings: &mut Settings<'_>, usual: Option<Mode>) -> Result<Mode, ModelError> {
    let kind_key = Key("mode", "");
    let kind = match settings.text(kind_key)?.as_deref() {
        None => usual.map_or(Kind::Affine, |usual| usual.kind),
        Some("affine") => Kind::Affine,
        Some("mxfp4") => Kind::Mxfp4,
        Some("mxfp8") => Kind::Mxfp8,
        Some("nvfp4") => Kind::Nvfp4,
        Some(other) => return Err(settings.wrong(kind_key, "affine, mxfp4, mxfp8 or nvfp4", other)),
    };
    let (bits_key, size_key) = (Key("bits", ""), Key("group_size", ""));
    let (bits, size) = (settings.optional_count(bits_key)?, settings.optional_count(size_key)?);
    let (own_bits, own_size): (&[usize], &[usize]) = match kind {
        Kind::Affine => (&[4, 2, 3, 5, 6, 8], &[64, 32, 128]),
        Kind::Mxfp4 => (&[4], &[32]),
        Kind::Mxfp8 => (&[8], &[32]),
        Kind::Nvfp4 => (&[4], &[16]),
    };
    let usual = usual.filter(|usual| usual.kind == kind);
    let bits = bits.or(usual.map(|usual| usual.bits)).unwrap_or(own_bits[0]);
    let size = size.or(usual.map(|usual| usual.size)).unwrap_or(own_size[0]);
    for (key, value, allowed) in [(bits_key, bits, own_bits), (size_key, size, own_size)] {
        if !allowed.contains(&value) {
            return Err(settings.wrong(key, &format!("one of {allowed:?}"), &value.to_string()));
        }
    }
    Ok(Mode { kind, bits, size })
}

fn weight(parts: &mut Parts, module: &str, mode: Mode) -> Result<(), ModelError> {
    let (codes, scales) = (parts.need(module, "weight")?, parts.need(module, "scales")?);
    let (rows, words) = matrix(&codes, &["U32"])?;
    let (_, count) = matrix(&scales, &["F32", "F16", "BF16", "U8"])?;
    let width = count.saturating_mul(mode.size);
    if words.checked_mul(32) != width.checked_mul(mode.bits) {
        return Err(misshapen(
            &codes,
            &format!("{} bits in groups of {} beside {count} scales a row", mode.bits, mode.size),
        ));
    }
    let stored = |tensor: &Tensor, elements: &[&str], number| {
        shaped(tensor, elements, &[rows, count])?;
        let grid = Grid::stored(tensor.bytes.clone(), number, (count, 1), rows, count);
        grid.ok_or_else(|| misshapen(tensor, "a number for each group"))
    };
    let plain = ["F32", "F16", "BF16"];
    let number = |tensor: &Tensor| Number::named(tensor.element_name()).unwrap_or(Number::F32);
    let (scale, offset, base, otherwise) = match mode.kind {
        Kind::Affine => {
            let offsets = parts.need(module, "biases")?;
            let offset = stored(&offsets, &plain, number(&offsets))?;
            let scale = stored(&scales, &plain, number(&scales))?;
            (scale, Some(offset), Base::Whole(Zero::Constant(0)), TensorType::F32)
        }
        Kind::Mxfp4 => {
            let base = Base::Table(table(4, bantam_tensor::e2m1_to_f32));
            (stored(&scales, &["U8"], Number::E8m0)?, None, base, TensorType::BF16)
        }
        // Products of so few bits are numbers of BF16.
        Kind::Mxfp8 => {
            let base = Base::Table(float8("F8_E4M3").unwrap_or_default());
            (stored(&scales, &["U8"], Number::E8m0)?, None, base, TensorType::BF16)
        }
        Kind::Nvfp4 => {
            let base = Base::Table(table(4, bantam_tensor::e2m1_to_f32));
            (stored(&scales, &["U8"], Number::E4m3)?, None, base, TensorType::BF16)
        }
    };
    let lines = words.checked_mul(4).and_then(|bytes| Codes::lines(codes.bytes.clone(), mode.bits, rows, bytes));
    let scaled = Scaled {
        rows,
        width,
        codes: lines.ok_or_else(|| misshapen(&codes, "codes of a matrix"))?,
        lines_are_columns: false,
        base,
        scale,
        divisor: 1.0,
        factor: 1.0,
        offset,
        groups: Groups::Even(mode.size),
        group_count: count,
    };
    parts.put(module, scaled, otherwise)
}
