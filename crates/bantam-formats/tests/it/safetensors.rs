//! Safetensors: golden, round trip, damage.

use bantam_formats::safetensors::{Dtype, SafeTensors, SafeTensorsWriter};

use crate::scratch::Scratch;

/// Made by `tools/goldens/gguf_values.py` with PyPI's `safetensors`.
const GOLDEN: &[u8] = include_bytes!("../goldens/values.safetensors");

#[test]
fn written_again_it_is_the_same_file() {
    let file = SafeTensors::parse(GOLDEN).unwrap();
    assert_eq!(file.metadata(), [("format".to_owned(), "pt".to_owned())]);
    let weight = file.tensor("a.weight").unwrap();
    assert_eq!((weight.dtype, weight.rows(), weight.width()), (Dtype::F32, 3, 4));
    assert_eq!(weight.shape, [3, 4]);
    let (chunks, _) = GOLDEN[weight.range.clone()].as_chunks::<4>();
    assert_eq!(f32::from_le_bytes(chunks[11]), 11.0 / 8.0);

    let scratch = Scratch::new("safetensors");
    let mut writer = SafeTensorsWriter::new();
    writer.set("format", "pt");
    for tensor in file.tensors() {
        writer.add_tensor(tensor.name.clone(), tensor.dtype, &tensor.shape).unwrap();
    }
    let path = scratch.path().join("again.safetensors");
    writer
        .write(&path, |tensor, out| out.write_all(&GOLDEN[file.tensor(&tensor.name).unwrap().range.clone()]))
        .unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), GOLDEN);
    assert_eq!(scratch.names(), ["again.safetensors"]);
}

fn with_header(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

#[test]
fn damage() {
    fn check(bytes: &[u8], expected: &str) {
        assert_eq!(SafeTensors::parse(bytes).unwrap_err().to_string(), expected);
    }
    check(b"", "the file is empty");
    check(b"GGUF\x03\0\0\0", "expected a safetensors file, found GGUF");
    check(
        b"version https://git-lfs.github.com/spec/v1\n",
        "this is a Git LFS pointer, not the model: fetch the real file with `git lfs pull`",
    );
    check(
        &[1, 2, 3],
        "the file ends inside the length of the safetensors header: 8 bytes are needed at byte 0, 3 are there",
    );
    check(
        &u64::MAX.to_le_bytes(),
        "the safetensors header claims 18446744073709551615 bytes; at most 100000000 are allowed",
    );
    check(
        &with_header("{}", 0)[..9],
        "the file ends inside the safetensors header: 2 bytes are needed at byte 8, 1 are there",
    );
    let entry = |json: &str, data: usize, expected: &str| check(&with_header(json, data), expected);
    entry(
        "{\"a\":1}",
        0,
        "the safetensors header is not as the format asks: tensor `a`: invalid type: integer `1`, expected an object of \
         dtype, shape and data_offsets at line 1 column 6",
    );
    entry(
        r#"{"a":{"dtype":"F5","shape":[2],"data_offsets":[0,8]}}"#,
        8,
        "tensor `a` is stored as `F5`, which is not supported",
    );
    entry(
        r#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#,
        8,
        "tensor `a` has shape [3] of F32, 12 bytes, but offsets 0 to 8",
    );
    entry(
        r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#,
        8,
        "tensor `a` has shape [2] of F32, 8 bytes, but offsets 8 to 0",
    );
    entry(
        r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}}"#,
        8,
        "tensor `a` has shape [4294967296, 4294967296] of F32, which is no number of bytes",
    );
    entry(
        r#"{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}}"#,
        1,
        "tensor `a` has shape [3] of F4, which is no number of bytes",
    );
    entry(
        r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#,
        8,
        "tensor `a` needs bytes 63 to 79 of the file, which has 71",
    );
    entry(
        r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}"#,
        8,
        "tensor `a` appears twice",
    );
    entry(
        r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}"#,
        6,
        "tensor `b` begins at byte 115 of the file, inside the tensor before it, expected 117",
    );
    entry(
        r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[6,10]}}"#,
        10,
        "tensor `b` begins at byte 120 of the file, after a gap, expected 118",
    );
    entry(
        r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#,
        6,
        "the safetensors file has 67 bytes, but its tensors end at byte 65",
    );
}

#[test]
fn every_prefix_is_an_error() {
    for length in 0..GOLDEN.len() {
        assert!(SafeTensors::parse(&GOLDEN[..length]).is_err(), "cut to {length} bytes");
    }
}
