//! Quantized weights against what each scheme's own software makes of them, and what is refused.

use std::path::Path;

use bantam_formats::safetensors::SafeTensors;
use bantam_model::quantized::{Quantization, unpack};
use bantam_model::{ModelError, Tensor};
use bantam_tensor::{SharedBytes, TensorType};
use bantam_testkit::assert_bits_equal;
use serde_json::{Map, Value};

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
        let (tensors, _) = unpacked(case(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
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
    }
}
