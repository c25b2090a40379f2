//! Quantized weights against what each scheme's own software makes of them, and what is refused.

use std::path::Path;

use bantam_formats::safetensors::SafeTensors;
use bantam_model::quantized::{Quantization, unpack};
use bantam_model::{ModelError, Tensor};
use bantam_tensor::{SharedBytes, TensorType};
use bantam_testkit::{assert_bits_equal, evidence};
use serde_json::{Map, Value, json};

/// A case: its configuration, the parts of its module, the weight in f32 and in the reference's own type, and the type it
/// should be kept in.
struct Case {
    config: Map<String, Value>,
    parts: Vec<Tensor>,
    f32: Vec<f32>,
    own: Vec<f32>,
    kept_in: String,
}

fn names() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/quantized");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<String> = files.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn case(name: &str) -> Case {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/goldens/quantized/{name}.safetensors"));
    let bytes = SharedBytes::from_vec(std::fs::read(path).unwrap());
    let file = SafeTensors::parse(&bytes).unwrap();
    let said = |key: &str| file.metadata().iter().find(|(name, _)| name == key).map(|(_, text)| text.clone()).unwrap();
    let numbers = |name: &str| {
        let bytes = &bytes[file.tensor(name).unwrap().range.clone()];
        bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
    };
    let parts = file.tensors().iter().filter(|tensor| tensor.name.starts_with("m.")).map(|tensor| Tensor {
        file_name: tensor.name.clone(),
        tensor_type: tensor.dtype.tensor_type().ok_or_else(|| tensor.dtype.name().to_owned()),
        shape: tensor.shape.iter().map(|&n| n as usize).collect(),
        bytes: bytes.slice(tensor.range.clone()).unwrap(),
    });
    Case {
        config: serde_json::from_str(&said("config")).unwrap(),
        parts: parts.collect(),
        f32: numbers("f32"),
        own: numbers("own"),
        kept_in: said("type"),
    }
}

fn unpacked(case: Case) -> Result<(Vec<Tensor>, Option<Quantization>), ModelError> {
    let mut config = case.config;
    let result = unpack(&mut config, case.parts)?;
    assert!(!config.keys().any(|key| key.contains("quantization")), "the settings are read, not left over");
    Ok(result)
}

fn decoded(tensor: &Tensor, bytes: &[u8], first: usize) -> Vec<f32> {
    let kind = tensor.tensor_type.clone().unwrap();
    let width = tensor.shape[1];
    let rows = bytes.len() / kind.row_bytes(width).unwrap();
    let mut values = vec![0.0; rows * width];
    kind.decode(bytes, &mut values).unwrap_or_else(|error| panic!("row {first}: {error}"));
    values
}

#[test]
fn weights_are_bit_for_bit_those_of_the_schemes_own_software() {
    let names = names();
    assert!(names.len() >= 40, "{} cases", names.len());
    for name in names {
        let mut wanted = case(&name);
        if wanted.kept_in == "MXFP4" {
            // The block format has one zero, FP4 two: their products are the same.
            wanted.f32.iter_mut().for_each(|value| *value += 0.0);
        }
        let (tensors, quantization) = unpacked(case(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let [tensor] = &tensors[..] else { panic!("{name}: {} tensors", tensors.len()) };
        assert_eq!((tensor.file_name.as_str(), tensor.element_name()), ("m.weight", wanted.kept_in.as_str()), "{name}");
        // In a block format and in f32 nothing is rounded; else as the reference rounds.
        let kind = tensor.tensor_type.clone().unwrap();
        let expected = if kind.is_quantized() || kind == TensorType::F32 { &wanted.f32 } else { &wanted.own };
        assert_eq!(tensor.shape.iter().product::<usize>(), expected.len(), "{name}");
        assert_bits_equal(&decoded(tensor, &tensor.bytes, 0), expected, &name);
        // Rows by themselves, as loading cuts them, are the same.
        let (rows, width) = (tensor.shape[0], tensor.shape[1]);
        let row = kind.row_bytes(width).unwrap();
        for range in [1..2, 3..rows, 0..rows / 2] {
            let part = tensor.bytes.slice(range.start * row..range.end * row).unwrap().fresh();
            assert_bits_equal(
                &decoded(tensor, &part, range.start),
                &expected[range.start * width..range.end * width],
                &format!("{name}, rows {range:?}"),
            );
        }
        // And bytes that begin and end inside a row.
        let part = tensor.bytes.slice(row / 2..row + row / 3).unwrap().fresh();
        assert_eq!(part[..], tensor.bytes[row / 2..row + row / 3], "{name}");
        if let Some(quantization) = quantization {
            evidence::shown("scheme", quantization.scheme, "read");
        }
    }
}

/// Changes a setting of a case (null removes it) or its tensors, and expects a sentence.
fn check(name: &str, change: impl Fn(&mut Map<String, Value>, &mut Vec<Tensor>), expected: &str) {
    let mut changed = case(name);
    let place = if changed.config.contains_key("quantization") { "quantization" } else { "quantization_config" };
    let mut settings = changed.config[place].as_object().unwrap().clone();
    change(&mut settings, &mut changed.parts);
    changed.config.remove("quantization_config");
    changed.config.insert(place.to_owned(), settings.into());
    match unpacked(changed).map(drop) {
        Ok(()) => assert_eq!("", expected, "{name} was accepted"),
        Err(error) => assert_eq!(error.to_string(), expected, "{name}"),
    }
}

/// The same of one setting.
fn check_setting(name: &str, key: &str, value: Value, expected: &str) {
    let change =
        |settings: &mut Map<String, Value>, _: &mut Vec<Tensor>| drop(settings.insert(key.into(), value.clone()));
    check(name, change, expected);
}

fn named<'a>(parts: &'a mut [Tensor], name: &str) -> &'a mut Tensor {
    parts.iter_mut().find(|tensor| tensor.file_name == name).unwrap()
}

#[test]
fn settings_of_schemes_are_understood_or_refused_by_name() {
    let all = "setting `quant_method`: expected one of gptq, awq, bitsandbytes, compressed-tensors, fp8, fbgemm_fp8, mlx, found hqq";
    check_setting("gptq-2", "quant_method", json!("hqq"), all);
    check_setting("gptq-2", "quant_method", json!(7), "setting `quant_method`: expected a text, found 7");
    check_setting("gptq-2", "bits", json!(5), "setting `bits`: expected 2, 3, 4 or 8, found 5");
    check_setting(
        "gptq-2",
        "group_size",
        json!(0),
        "setting `group_size`: expected a whole number above 0, or -1, found 0",
    );
    check_setting(
        "gptq-2",
        "checkpoint_format",
        json!("marlin"),
        "setting `checkpoint_format`: expected gptq or gptq_v2, found marlin",
    );
    check_setting(
        "gptq-2",
        "spin",
        json!(true),
        "not understood by GPTQ: `spin` = true; a model is only run when every setting is understood",
    );
    check_setting("awq-32", "version", json!("GEMM"), "");
    check_setting("awq-32", "version", json!("gemv"), "setting `version`: expected gemm, found gemv");
    check_setting("awq-32", "zero_point", json!(false), "setting `zero_point`: expected true, found false");
    check_setting(
        "ct-int4-group",
        "format",
        json!("marlin-24"),
        "setting `format`: expected int-quantized, naive-quantized, pack-quantized, float-quantized, nvfp4-pack-quantized, \
         mxfp4-pack-quantized, mixed-precision, dense, found marlin-24",
    );
    check_setting(
        "ct-int4-group",
        "sparsity_config",
        json!({"format": "sparse-24-bitmask"}),
        "setting `format`: expected dense, found sparse-24-bitmask",
    );
    check_setting(
        "ct-int4-group",
        "kv_cache_scheme",
        json!({"num_bits": 8}),
        "setting `kv_cache_scheme`: expected {}, found {\"num_bits\":8}",
    );
    check_setting(
        "mlx-4",
        "mode",
        json!("mxfp5"),
        "setting `mode`: expected affine, mxfp4, mxfp8 or nvfp4, found mxfp5",
    );
    check_setting("mlx-4", "bits", json!(7), "setting `bits`: expected one of [4, 2, 3, 5, 6, 8], found 7");
    check_setting("fp8-blocks", "fmt", json!("e3m4"), "setting `fmt`: expected e4m3 or e5m2, found e3m4");
    check_setting(
        "fp8-blocks",
        "weight_block_size",
        json!([0, 1]),
        "setting `weight_block_size`: expected two extents above 0, found [0, 1]",
    );
    check_setting(
        "bnb-int8",
        "llm_int8_has_fp16_weight",
        json!(true),
        "setting `llm_int8_has_fp16_weight`: expected false, found true",
    );
}

#[test]
fn parts_that_do_not_fit_are_refused_by_name() {
    let gone = |name: &'static str| {
        move |_: &mut Map<String, Value>, parts: &mut Vec<Tensor>| parts.retain(|tensor| tensor.file_name != name)
    };
    let reshaped = |name: &'static str, shape: Vec<usize>| {
        move |_: &mut Map<String, Value>, parts: &mut Vec<Tensor>| named(parts, name).shape = shape.clone()
    };
    check("gptq-2", gone("m.scales"), "tensor `m.scales` is missing");
    check("gptq-4-by-order", gone("m.g_idx"), "tensor `m.g_idx` is missing");
    check("gptq-2", gone("m.g_idx"), "");
    check("gptq-2", gone("m.qweight"), "tensor `….qweight` is missing");
    check(
        "gptq-2",
        reshaped("m.scales", vec![4, 16]),
        "tensor `m.scales`: expected F16 or BF16 or F32 [2, 32], found F16 [4, 16]",
    );
    let beyond = |_: &mut Map<String, Value>, parts: &mut Vec<Tensor>| {
        named(parts, "m.g_idx").bytes = SharedBytes::from_vec(9i32.to_le_bytes().repeat(64));
    };
    check("gptq-2", beyond, "tensor `m.g_idx`: expected numbers of 2 groups, found I32 [64]");
    check("awq-32", gone("m.qzeros"), "tensor `m.qzeros` is missing");
    check("bnb-nf4", gone("m.weight.absmax"), "tensor `m.weight.absmax` is missing");
    check("bnb-nf4-nested", gone("m.weight.nested_quant_map"), "tensor `m.weight.nested_quant_map` is missing");
    let other_format = |_: &mut Map<String, Value>, parts: &mut Vec<Tensor>| {
        named(parts, "m.weight_format").bytes = SharedBytes::from_vec(vec![2]);
    };
    check("bnb-int8", other_format, "tensor `m.weight_format`: expected 0, codes in rows, found U8 []");
    check(
        "ct-int4-asymmetric",
        gone("m.weight_zero_point"),
        "tensor `m.weight_scale`: expected scales of [32, 64] as one of `config_groups` says, found F16 [32, 2]",
    );
    check("ct-fp8-channel", gone("m.weight_scale"), "tensor `….weight_scale` is missing");
    check(
        "fp8-blocks",
        reshaped("m.weight_scale_inv", vec![3, 2]),
        "tensor `m.weight_scale_inv`: expected scales of [64, 96] in blocks of 32 × 32, found F32 [3, 2]",
    );
    check("mlx-4", gone("m.biases"), "tensor `m.biases` is missing");
    // Codes that are no part of anything are no plain weights.
    let beside = |_: &mut Map<String, Value>, parts: &mut Vec<Tensor>| {
        let codes = Tensor { file_name: "other.weight".into(), tensor_type: Ok(TensorType::I8), ..parts[0].clone() };
        parts.push(codes);
    };
    let case_tensor = format!("{:?}", case("mlx-4").parts[0].shape);
    let expected = format!(
        "tensor `other.weight`: expected a plain weight, or the parts of a quantized one, found I8 {case_tensor}"
    );
    check("mlx-4", beside, &expected);
}
