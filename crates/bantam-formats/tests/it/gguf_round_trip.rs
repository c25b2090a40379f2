//! What PyPI's `gguf` writes is read here, and what is written here is the same bytes.

use bantam_formats::FormatError;
use bantam_formats::gguf::{Array, Gguf, GgufWriter, TensorKind, Value};
use bantam_tensor::TensorType;

use crate::scratch::Scratch;

/// Made by `tools/goldens/gguf_values.py`.
const GOLDEN: &[u8] = include_bytes!("../goldens/values.gguf");

#[test]
fn every_value_type() {
    let gguf = Gguf::parse(GOLDEN).unwrap();
    assert_eq!((gguf.version, gguf.alignment), (3, 64));
    let check = |key: &str, expected: Value, twice: Array| {
        assert_eq!(gguf.get(&format!("value.{key}")), Some(&expected));
        assert_eq!(gguf.array(&format!("array.{key}")).unwrap(), Some(&twice));
    };
    check("uint8", Value::U8(200), Array::U8(vec![200; 2]));
    check("int8", Value::I8(-100), Array::I8(vec![-100; 2]));
    check("uint16", Value::U16(60_000), Array::U16(vec![60_000; 2]));
    check("int16", Value::I16(-30_000), Array::I16(vec![-30_000; 2]));
    check("uint32", Value::U32(4_000_000_000), Array::U32(vec![4_000_000_000; 2]));
    check("int32", Value::I32(-2_000_000_000), Array::I32(vec![-2_000_000_000; 2]));
    check("float32", Value::F32(0.15625), Array::F32(vec![0.15625; 2]));
    check("bool", Value::Bool(true), Array::Bool(vec![true; 2]));
    check("uint64", Value::U64(18_000_000_000_000_000_000), Array::U64(vec![18_000_000_000_000_000_000; 2]));
    check("int64", Value::I64(-9_000_000_000_000_000_000), Array::I64(vec![-9_000_000_000_000_000_000; 2]));
    check("float64", Value::F64(0.1), Array::F64(vec![0.1; 2]));
    check("string", Value::from("naïve 🦊 text"), Array::Strings(["", "one", "▁two", "\n"].into_iter().collect()));
    let bytes = gguf.strings("array.bytes").unwrap().unwrap();
    assert_eq!(bytes.iter().collect::<Vec<_>>(), [&b"\xff\x00"[..], b"ok"]);

    let tensor = gguf.tensor("a.weight").unwrap();
    assert_eq!(tensor.dims, [4, 3]);
    let (chunks, _) = GOLDEN[tensor.range.clone()].as_chunks::<4>();
    let numbers: Vec<f32> = chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect();
    assert_eq!(numbers, (0..12).map(|number| number as f32 / 8.0).collect::<Vec<_>>());
    assert_eq!(gguf.tensor("b.half").unwrap().kind, TensorKind::Known(TensorType::F16));
    let quantized = gguf.tensor("d.q8_0").unwrap();
    assert_eq!((quantized.rows(), quantized.width()), (2, 32));
    assert_eq!(GOLDEN[quantized.range.clone()], (0..68).collect::<Vec<u8>>());
}

/// The writer that makes a parsed file again.
pub fn writer_of(gguf: &Gguf) -> GgufWriter {
    let mut writer = GgufWriter::new();
    for (key, value) in gguf.metadata() {
        writer.set(key, value.clone());
    }
    for tensor in gguf.tensors() {
        writer.add_tensor(tensor.name.clone(), &tensor.dims, tensor.kind).unwrap();
    }
    writer
}

#[test]
fn written_again_it_is_the_same_file() {
    let gguf = Gguf::parse(GOLDEN).unwrap();
    let writer = writer_of(&gguf);
    let again = writer.to_bytes(|tensor, out| out.write_all(&GOLDEN[gguf.tensor(&tensor.name).unwrap().range.clone()]));
    assert_eq!(again.unwrap(), GOLDEN);
    assert_eq!(writer.file_length().unwrap(), GOLDEN.len() as u64);
}

#[test]
fn an_outline_is_the_file_with_zeros_for_data() {
    let writer = writer_of(&Gguf::parse(GOLDEN).unwrap());
    let folder = Scratch::new("outline");
    let path = folder.path().join("outline.gguf");
    writer.write_outline(&path).unwrap();
    let zeros = writer.to_bytes(|tensor, out| out.write_all(&vec![0; tensor.byte_length as usize])).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), zeros);
}

#[test]
fn nested_arrays_foreign_types_and_scalars_come_back() {
    let nested = Array::Arrays(vec![
        Array::Arrays(vec![]),
        Array::Arrays(vec![Array::U8(vec![1, 2]), Array::Strings(["a"].into_iter().collect())]),
    ]);
    let mut writer = GgufWriter::new();
    writer.set("nested", nested.clone()).set("empty", Array::F32(vec![])).set("odd", Value::String(vec![0xff, 0]));
    let q8_k = TensorKind::from_ggml_id(15).unwrap();
    writer.add_tensor("scalar", &[], TensorKind::Known(TensorType::F32)).unwrap();
    writer.add_tensor("foreign", &[256, 2, 3, 1], q8_k).unwrap();
    let bytes = writer.to_bytes(|tensor, out| out.write_all(&vec![9; tensor.byte_length as usize])).unwrap();
    let gguf = Gguf::parse(&bytes).unwrap();
    assert_eq!(gguf.get("nested"), Some(&Value::Array(nested)));
    assert_eq!(gguf.array("empty").unwrap().map(Array::len), Some(0));
    assert_eq!(gguf.get("odd").and_then(Value::as_bytes), Some(&[0xff, 0][..]));
    let scalar = gguf.tensor("scalar").unwrap();
    assert_eq!((scalar.rows(), scalar.width(), scalar.range.len()), (1, 1, 4));
    let foreign = gguf.tensor("foreign").unwrap();
    assert_eq!((foreign.kind.name(), foreign.kind.known(), foreign.range.len()), ("Q8_K", None, 6 * 292));
}

#[test]
fn what_cannot_be_written_is_refused() {
    let scratch = Scratch::new("unwritable");
    let check = |build: fn(&mut GgufWriter), length: usize, expected: &str| {
        let mut writer = GgufWriter::new();
        build(&mut writer);
        let path = scratch.path().join("m.gguf");
        let error = writer.write(&path, |_, out| out.write_all(&vec![0; length])).unwrap_err();
        assert_eq!(scratch.shorten(error), expected);
        assert_eq!(scratch.names(), Vec::<String>::new(), "something was left behind");
    };
    fn add(writer: &mut GgufWriter, name: &str) {
        writer.add_tensor(name, &[8], TensorKind::Known(TensorType::F32)).unwrap();
    }
    check(|writer| add(writer, "t"), 31, "m.gguf: cannot write tensor `t`: 32 bytes were announced, 31 given");
    check(|writer| add(writer, "t"), 33, "cannot write m.gguf: a tensor of 32 bytes was given more than that");
    check(
        |writer| {
            add(writer, "t");
            add(writer, "t");
        },
        32,
        "m.gguf: tensor `t` appears twice",
    );
    check(
        |writer| add(writer, &"n".repeat(64)),
        32,
        &format!("m.gguf: cannot write tensor `{}`: names have 1 to 63 bytes, this one 64", "n".repeat(64)),
    );
    check(
        |writer| {
            writer.set("general.alignment", 48u32);
        },
        0,
        "m.gguf: cannot write metadata key `general.alignment`: it should be a uint32 power of two but is the uint32 48",
    );
    check(
        |writer| {
            writer.set("", 1u8);
        },
        0,
        "m.gguf: cannot write metadata key ``: keys have 1 to 65535 bytes, this one 0",
    );
    let error: FormatError =
        GgufWriter::new().add_tensor("t", &[33], TensorKind::Known(TensorType::Q8_0)).map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "tensor `t` has rows of 33 numbers, not a multiple of the 32 in a block of Q8_0");
}
