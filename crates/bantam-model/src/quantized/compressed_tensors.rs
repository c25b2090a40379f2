//! compressed-tensors, the format of llm-compressor and vLLM.
//!
//! Source: the compressors of PyPI's compressed-tensors. Whole or eight-bit numbers stand in `weight`, packed ones in
//! `weight_packed` with `weight_shape`; `weight_scale` is one number, one a row, one a group of columns or one a block;
//! `weight_zero_point` is there where codes are not symmetric. Four-bit floats have a byte a scale.

use bantam_tensor::TensorType;

use super::codes::Codes;
use super::gptq::even;
use super::grid::{Grid, Number};
use super::parts::{Parts, listed, matrix, misshapen, shaped, whole_numbers};
use super::scaled::{Base, Groups, Scaled, Zero};
use super::{Facts, NoTensors, Scheme, float8, table, type_of};
use crate::settings::{Key, Settings, Source};
use crate::{ModelError, Tensor};

pub(super) const SCHEME: Scheme = Scheme {
    name: "compressed-tensors",
    methods: &["compressed-tensors"],
    reads: "int-quantized and naive-quantized INT8, pack-quantized INT1 to INT8, float-quantized FP8, \
            nvfp4-pack-quantized, mxfp4-pack-quantized; a scale for a tensor, channel, group or block",
    values: "(code − zero) · scale in f32; where no block format holds it, rounded to the scales' type; NVFP4 in f32",
    read,
};

/// Formats that are read, as settings call them.
const FORMATS: &[&str] = &[
    "int-quantized",
    "naive-quantized",
    "pack-quantized",
    "float-quantized",
    "nvfp4-pack-quantized",
    "mxfp4-pack-quantized",
    "mixed-precision",
    "dense",
];

/// One group of modules as settings describe it.
struct Group {
    bits: usize,
    float: bool,
    symmetric: bool,
    /// `tensor`, `channel`, `group`, `tensor_group` or `block`.
    strategy: String,
    size: Option<usize>,
    block: Option<(usize, usize)>,
}

fn read(settings: &mut Settings<'_>, parts: &mut Parts) -> Result<Facts, ModelError> {
    format(settings)?;
    let status_key = Key("quantization_status", "");
    if let Some(other) = settings.text(status_key)?.filter(|status| status != "compressed") {
        return Err(settings.wrong(status_key, "compressed", &other));
    }
    settings.texts(Key("ignore", ""))?;
    for key in [Key("kv_cache_scheme", ""), Key("transform_config", ""), Key("moe_sparsity_config", "")] {
        settings.only(key, &["{}"])?;
    }
    if let Some(mut sparsity) = settings.object(Key("sparsity_config", ""))? {
        sparsity.only(Key("format", ""), &["dense"])?;
        let described = ["global_sparsity", "ignore", "registry_requires_subclass", "sparsity_structure", "targets"];
        sparsity.finish("`sparsity_config`", &described)?;
    }
    let groups_key = Key("config_groups", "");
    let Some(groups) = settings.get(groups_key).and_then(|setting| setting.object()) else {
        return Err(ModelError::MissingSetting { key: groups_key.0.to_owned() });
    };
    let mut notes = Vec::new();
    let mut read_groups = Vec::new();
    for (name, group) in groups {
        let map = group.as_object().ok_or_else(|| settings.wrong(groups_key, "objects", &group.to_string()))?;
        read_groups.extend(read_group(name, &mut Settings::new(Source::Config(map), &NoTensors), &mut notes)?);
    }
    settings.finish("compressed-tensors", &["global_compression_ratio", "version"])?;
    let mut found = 0;
    for module in parts.modules("weight_packed") {
        packed(parts, &module, &read_groups)?;
        found += 1;
    }
    for module in parts.modules("weight_scale") {
        plain(parts, &module, &read_groups)?;
        found += 1;
    }
    if found == 0 {
        return Err(ModelError::MissingTensor { name: "….weight_scale".into() });
    }
    // Scales of activations, which are not rounded here.
    ["input_scale", "input_zero_point", "input_global_scale"].into_iter().for_each(|part| parts.drop_all(part));
    let mut words: Vec<String> = Vec::new();
    for group in &read_groups {
        let size = group.size.map_or(String::new(), |size| format!(" of {size}"));
        let kind = if group.float { "FP" } else { "INT" };
        let word = format!("{kind}{} by {}{size}", group.bits, group.strategy.replace('_', " "));
        if !words.contains(&word) {
            words.push(word);
        }
    }
    Ok(Facts { detail: words.join("; "), notes })
}

/// Refuses a storage format that is not read.
fn format(settings: &mut Settings<'_>) -> Result<(), ModelError> {
    let key = Key("format", "");
    match settings.text(key)?.filter(|format| !FORMATS.contains(&format.as_str())) {
        Some(other) => Err(settings.wrong(key, &FORMATS.join(", "), &other)),
        None => Ok(()),
    }
}

/// Reads one group; `None` where it says nothing of weights.
fn read_group(name: &str, settings: &mut Settings<'_>, notes: &mut Vec<String>) -> Result<Option<Group>, ModelError> {
    format(settings)?;
    settings.texts(Key("targets", ""))?;
    settings.only(Key("output_activations", ""), &[])?;
    if let Some(activations) = settings.object(Key("input_activations", ""))? {
        let mut activations = activations;
        let bits = activations.count(Key("num_bits", ""))?;
        let note =
            format!("the makers also round activations to {bits} bits in a way of their own, which is not followed");
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    let weights = settings.object(Key("weights", ""))?;
    settings.finish(&format!("`{name}`"), &[])?;
    let Some(mut weights) = weights else { return Ok(None) };
    let bits = weights.count(Key("num_bits", ""))?;
    let kind_key = Key("type", "");
    let kind = weights.text(kind_key)?.unwrap_or_else(|| "int".to_owned());
    let float = match kind.as_str() {
        "int" => false,
        "float" => true,
        other => return Err(weights.wrong(kind_key, "int or float", other)),
    };
    let symmetric = weights.flag(Key("symmetric", ""))?.unwrap_or(true);
    weights.only(Key("dynamic", ""), &["false"])?;
    let size_key = Key("group_size", "");
    let size = if weights.has(size_key) { super::group_size(&mut weights, size_key)? } else { None };
    let strategy_key = Key("strategy", "");
    let strategy = weights.text(strategy_key)?;
    // Where nothing is said, a group size says it.
    let strategy = strategy.unwrap_or_else(|| if size.is_some() { "group" } else { "tensor" }.to_owned());
    if !matches!(strategy.as_str(), "tensor" | "channel" | "group" | "tensor_group" | "block") {
        return Err(weights.wrong(strategy_key, "tensor, channel, group, tensor_group or block", &strategy));
    }
    let block_key = Key("block_structure", "");
    let block = match weights.wholes(block_key)? {
        None => None,
        Some(block) => match block[..] {
            [rows, columns] if rows > 0 && columns > 0 => Some((rows, columns)),
            _ => return Err(weights.wrong(block_key, "two extents", &format!("{block:?}"))),
        },
    };
    if strategy == "block" && block.is_none() {
        return Err(ModelError::MissingSetting { key: block_key.0.to_owned() });
    }
    // The order of activations is seen by `weight_g_idx`.
    let described = ["actorder", "observer", "observer_kwargs", "scale_dtype", "zp_dtype"];
    weights.finish(&format!("`weights` of `{name}`"), &described)?;
    Ok(Some(Group { bits, float, symmetric, strategy, size, block }))
}

/// How scales lie: strides, rows that share one, columns of a group, groups.
struct Layout {
    strides: (usize, usize),
    rows_each: usize,
    groups: Groups,
    count: usize,
}

/// The layout that a group's strategy gives scales of a matrix `[rows, width]`, where the tensor is so.
fn layout(group: &Group, scales: &Tensor, rows: usize, width: usize) -> Option<Layout> {
    let whole = |strides| Some(Layout { strides, rows_each: 1, groups: Groups::Even(width), count: 1 });
    match (group.strategy.as_str(), &scales.shape[..]) {
        ("tensor", [] | [1] | [1, 1]) => whole((0, 0)),
        ("channel", [found] | [found, 1]) if *found == rows => whole((1, 0)),
        ("group" | "tensor_group", [found, count]) if *found == rows && *count > 0 => {
            let groups = even(width, *count, Some(group.size.unwrap_or(width)))?;
            Some(Layout { strides: (*count, 1), rows_each: 1, groups, count: *count })
        }
        ("block", [down, across]) => {
            let (high, wide) = group.block?;
            let fits = *down == rows.div_ceil(high) && *across == width.div_ceil(wide);
            fits.then_some(Layout {
                strides: (*across, 1),
                rows_each: high,
                groups: Groups::Even(wide),
                count: *across,
            })
        }
        _ => None,
    }
}

/// The one group whose description fits, with its layout.
fn fitting<'a>(
    groups: &'a [Group],
    scales: &Tensor,
    (rows, width): (usize, usize),
    also: impl Fn(&Group) -> bool,
) -> Result<(&'a Group, Layout), ModelError> {
    let mut fitting = groups
        .iter()
        .filter(|group| also(group))
        .filter_map(|group| Some((group, layout(group, scales, rows, width)?)));
    let first = fitting.next();
    if let (Some((first, _)), Some((other, _))) = (
        &first,
        fitting.find(|(other, _)| {
            first.as_ref().is_some_and(|(first, _)| first.bits != other.bits || first.float != other.float)
        }),
    ) {
        let expected = format!("one of {} and {} bits by the tensors' extents", first.bits, other.bits);
        return Err(misshapen(scales, &expected));
    }
    first.ok_or_else(|| misshapen(scales, &format!("scales of [{rows}, {width}] as one of `config_groups` says")))
}

fn grid(scales: &Tensor, layout: &Layout, rows: usize) -> Result<Grid, ModelError> {
    let lines = rows.div_ceil(layout.rows_each);
    let grid = Grid::of(scales, layout.strides, lines, layout.count);
    grid.map(|grid| Grid { rows_each: layout.rows_each, ..grid })
        .ok_or_else(|| misshapen(scales, "scales of every group"))
}

/// A weight in whole bytes: INT8 or FP8.
fn plain(parts: &mut Parts, module: &str, groups: &[Group]) -> Result<(), ModelError> {
    let (codes, scales) = (parts.need(module, "weight")?, parts.need(module, "weight_scale")?);
    let zeros = parts.take(module, "weight_zero_point");
    let (rows, width) = matrix(&codes, &["I8", "F8_E4M3"])?;
    let otherwise = type_of(&scales)?;
    let floats = float8(codes.element_name());
    let fits = |group: &Group| group.float == floats.is_some() && group.symmetric == zeros.is_none() && group.bits <= 8;
    let (_, layout) =
        fitting(groups, &scales, (rows, width), |group| fits(group) && (!group.float || group.bits == 8))?;
    let scale = grid(&scales, &layout, rows)?;
    let whole = || misshapen(&codes, "codes of a matrix");
    let lines = Codes::lines(codes.bytes.clone(), 8, rows, width).ok_or_else(whole)?;
    let (codes, base) = match (floats, &zeros) {
        (Some(table), None) => (lines, Base::Table(table)),
        (Some(_), Some(zeros)) => return Err(misshapen(zeros, "none beside floats")),
        (None, None) => (lines.signed(), Base::Whole(Zero::Constant(0))),
        (None, Some(zeros)) => {
            if zeros.shape != scales.shape || zeros.element_name() != "I8" || layout.rows_each != 1 {
                return Err(misshapen(zeros, "I8 of the extents of the scales"));
            }
            let zero = match layout.strides {
                (0, 0) => Zero::Constant(zeros.bytes.first().map_or(0, |zero| i32::from(*zero as i8))),
                _ => {
                    let lines = Codes::lines(zeros.bytes.clone(), 8, rows, layout.count);
                    Zero::ByRow(lines.ok_or_else(|| misshapen(zeros, "a zero for each scale"))?.signed())
                }
            };
            (lines.signed(), Base::Whole(zero))
        }
    };
    let Layout { groups, count: group_count, .. } = layout;
    let (divisor, factor, offset, lines_are_columns) = (1.0, 1.0, None, false);
    let scaled =
        Scaled { rows, width, codes, lines_are_columns, base, scale, divisor, factor, offset, groups, group_count };
    parts.put(module, scaled, otherwise)
}

/// A weight of codes packed into words, or of pairs of four-bit floats.
fn packed(parts: &mut Parts, module: &str, groups: &[Group]) -> Result<(), ModelError> {
    let (codes, scales) = (parts.need(module, "weight_packed")?, parts.need(module, "weight_scale")?);
    let (rows, words) = matrix(&codes, &["I32", "U8"])?;
    if codes.element_name() == "U8" {
        return pairs(parts, module, groups, (codes, scales), (rows, words));
    }
    let shape = parts.need(module, "weight_shape")?;
    let width = match (shape.element_name(), &shape.bytes[..]) {
        ("I64", bytes) if bytes.len() == 16 => {
            bytes.get(8..).and_then(|last| last.try_into().ok()).map(i64::from_le_bytes)
        }
        ("I32", bytes) if bytes.len() == 8 => whole_numbers(&shape).get(1).map(|width| i64::from(*width)),
        _ => None,
    };
    let width = width.and_then(|width| usize::try_from(width).ok()).filter(|width| *width > 0);
    let width = width.ok_or_else(|| misshapen(&shape, "two extents"))?;
    let otherwise = type_of(&scales)?;
    let zeros = parts.take(module, "weight_zero_point");
    let fits = |group: &Group| {
        let words_of = width.checked_mul(group.bits).map(|bits| bits.div_ceil(32));
        !group.float && group.symmetric == zeros.is_none() && (1..=8).contains(&group.bits) && words_of == Some(words)
    };
    let (group, mut layout) = fitting(groups, &scales, (rows, width), fits)?;
    let scale = grid(&scales, &layout, rows)?;
    // Where no order was kept, the list is of -1.
    if let Some(order) = parts.take(module, "weight_g_idx")
        && !(order.element_name() == "I32" && whole_numbers(&order).iter().all(|group| *group == -1))
    {
        layout.groups = listed(&order, width, layout.count)?;
    }
    let zero = match &zeros {
        None => Zero::Constant(1 << (group.bits - 1)),
        Some(zeros) => {
            let lines = rows.saturating_mul(group.bits).div_ceil(32);
            shaped(zeros, &["I32"], &[lines, layout.count])?;
            let by_group = Codes::columns(zeros.bytes.clone(), group.bits, layout.count, lines);
            Zero::ByGroup(by_group.ok_or_else(|| misshapen(zeros, "a zero for each scale"))?, 0)
        }
    };
    let lines = words.checked_mul(4).and_then(|bytes| Codes::lines(codes.bytes.clone(), group.bits, rows, bytes));
    let Layout { groups, count: group_count, .. } = layout;
    let scaled = Scaled {
        rows,
        width,
        codes: lines.ok_or_else(|| misshapen(&codes, "codes of a matrix"))?,
        lines_are_columns: false,
        base: Base::Whole(zero),
        scale,
        divisor: 1.0,
        factor: 1.0,
        offset: None,
        groups,
        group_count,
    };
    parts.put(module, scaled, otherwise)
}

/// Pairs of four-bit floats: NVFP4 with a scale of eight bits for 16 and one for all, MXFP4 with an exponent for 32.
fn pairs(
    parts: &mut Parts,
    module: &str,
    groups: &[Group],
    (codes, scales): (Tensor, Tensor),
    (rows, bytes): (usize, usize),
) -> Result<(), ModelError> {
    let width = bytes.saturating_mul(2);
    let (number, size) = match scales.element_name() {
        "F8_E4M3" => (Number::E4m3, 16),
        "U8" | "F8_E8M0" => (Number::E8m0, 32),
        _ => return Err(misshapen(&scales, "F8_E4M3, F8_E8M0 or U8")),
    };
    let fits = |group: &Group| group.float && group.bits == 4 && group.symmetric && group.size == Some(size);
    let (_, layout) = fitting(groups, &scales, (rows, width), fits)?;
    let scale = Grid::stored(scales.bytes.clone(), number, layout.strides, rows, layout.count);
    let divisor = match (number, parts.take(module, "weight_global_scale")) {
        (Number::E4m3, Some(all)) => {
            let number = Grid::of(&all, (0, 0), 1, 1).filter(|_| all.element_name() == "F32" && all.bytes.len() == 4);
            number.map(|number| number.get(0, 0)).ok_or_else(|| misshapen(&all, "one number of F32"))?
        }
        (_, None) => 1.0,
        (_, Some(all)) => return Err(misshapen(&all, "none beside exponents")),
    };
    let scaled = Scaled {
        rows,
        width,
        codes: Codes::lines(codes.bytes.clone(), 4, rows, bytes).ok_or_else(|| misshapen(&codes, "pairs of codes"))?,
        lines_are_columns: false,
        base: Base::Table(table(4, bantam_tensor::e2m1_to_f32)),
        scale: scale.ok_or_else(|| misshapen(&scales, "scales of every group"))?,
        divisor,
        factor: 1.0,
        offset: None,
        groups: layout.groups,
        group_count: layout.count,
    };
    parts.put(module, scaled, TensorType::F32)
}
