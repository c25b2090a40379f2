//! Decoding and encoding against PyPI's gguf, encoding with a search against ggml's error (`tools/goldens/blocks.py`).

use bantam_tensor::TensorType;
use bantam_testkit::{assert_bits_equal, evidence};
use std::path::Path;

fn read(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn read_f32(name: &str) -> Vec<f32> {
    read(name).as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

#[test]
fn decoding_equals_the_reference_to_the_bit() {
    for &tensor_type in TensorType::ALL.iter().filter(|&&each| each != TensorType::F32) {
        let name = tensor_type.name().to_lowercase();
        let expected = read_f32(&format!("decode-{name}.f32"));
        let mut actual = vec![0.0; expected.len()];
        tensor_type.decode(&read(&format!("decode-{name}.bin")), &mut actual).unwrap();
        assert_bits_equal(&actual, &expected, &name);
        evidence::shown("tensor type", tensor_type.name(), "read");
    }
    // A number of four bytes is itself.
    let mut actual = vec![0.0; 2048];
    TensorType::F32.decode(&read("encode.f32"), &mut actual).unwrap();
    assert_bits_equal(&actual, &read_f32("encode.f32"), "f32");
    evidence::shown("tensor type", TensorType::F32.name(), "read");
}

#[test]
fn encoding_equals_the_reference_to_the_byte() {
    use TensorType::*;
    let values = read_f32("encode.f32");
    for tensor_type in [F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, TQ1_0, TQ2_0, MXFP4] {
        let name = tensor_type.name().to_lowercase();
        let expected = read(&format!("encode-{name}.bin"));
        let mut actual = vec![0; expected.len()];
        tensor_type.encode(&values, &mut actual).unwrap();
        let differing = actual.iter().zip(&expected).filter(|(a, b)| a != b).count();
        assert_eq!(differing, 0, "{name}: {differing} of {} bytes differ", expected.len());
        evidence::shown("tensor type", tensor_type.name(), "written");
    }
    let mut actual = vec![0; 4 * values.len()];
    F32.encode(&values, &mut actual).unwrap();
    assert!(actual == read("encode.f32"));
    evidence::shown("tensor type", F32.name(), "written");
}

#[test]
fn searches_lose_no_more_than_the_reference() {
    let values = read_f32("encode.f32");
    use TensorType::*;
    let errors: serde_json::Value = serde_json::from_slice(&read("encode-errors.json")).unwrap();
    let mut report = String::new();
    let mut worse = false;
    // Searches weigh large elements more, so a single row's plain error may be a little above; the mean may not.
    for (tensor_type, allowed) in
        [(Q2_K, 1.0), (Q3_K, 1.03), (Q4_K, 1.0), (Q5_K, 1.0), (Q6_K, 1.01), (IQ4_NL, 1.02), (IQ4_XS, 1.02)]
    {
        let expected = errors[tensor_type.name()].as_array().unwrap();
        let mut mean = 0.0;
        for (row, (values, expected)) in values.chunks(256).zip(expected).enumerate() {
            let expected = expected.as_f64().unwrap();
            let mut bytes = vec![0; tensor_type.row_bytes(256).unwrap()];
            tensor_type.encode(values, &mut bytes).unwrap();
            let mut decoded = [0.0; 256];
            tensor_type.decode(&bytes, &mut decoded).unwrap();
            let square: f64 = values.iter().zip(&decoded).map(|(a, b)| ((a - b) as f64).powi(2)).sum();
            let share = (square / 256.0).sqrt() / expected;
            report += &format!("{tensor_type} row {row}: {share:.4} of the reference's error\n");
            worse |= share > allowed + 1e-4;
            mean += share / 8.0;
        }
        report += &format!("{tensor_type}: {mean:.4} on the mean\n");
        worse |= mean > 1.001;
        if !worse {
            evidence::shown("tensor type", tensor_type.name(), "written");
        }
    }
    println!("{report}");
    assert!(!worse, "{report}");
}
