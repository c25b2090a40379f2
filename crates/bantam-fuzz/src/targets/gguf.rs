//! GGUF: header, metadata, tensor descriptions.

use bantam_formats::gguf::{Array, Gguf, GgufWriter, Strings, TensorKind, Value};
use bantam_tensor::TensorType;
use bantam_testkit::mutate::Region;

use super::Target;

pub(super) const TARGET: Target = Target {
    name: "gguf",
    about: "header, metadata and tensor descriptions of GGUF",
    seeds,
    text: false,
    region,
    take,
};

/// Everything before the tensors' data.
pub(super) fn region(bytes: &[u8]) -> Region {
    let header = Gguf::parse(bytes).map_or(4096, |gguf| gguf.data_offset);
    Region::half_in_first(header.min(bytes.len()))
}

/// Parses, and where that succeeds reads everything the way a loader would.
fn take(bytes: &[u8]) -> bool {
    let Ok(gguf) = Gguf::parse(bytes) else { return false };
    for (key, value) in gguf.metadata() {
        // By place: a damaged value may be a NaN, which equals nothing.
        assert!(gguf.get(key).is_some_and(|found| std::ptr::eq(found, value)), "a key of the file is not found");
        let _ = (value.as_u64(), value.as_f32(), value.as_str(), value.to_string());
        if let Some(array) = value.as_array() {
            assert_eq!(array.iter().count(), array.len(), "an array does not give all its elements");
        }
    }
    for tensor in gguf.tensors() {
        assert_eq!(gguf.tensor(&tensor.name), Some(tensor), "a tensor of the file is not found");
        assert!(bytes.get(tensor.range.clone()).is_some(), "a tensor leaves the file");
        if let TensorKind::Known(known) = tensor.kind {
            let row_bytes = known.row_bytes(tensor.width()).unwrap_or(0);
            assert_eq!(row_bytes * tensor.rows(), tensor.range.len(), "a tensor's range does not fit its shape");
        }
    }
    true
}

/// Every value type and some tensors in a few hundred bytes, and a file without tensors.
fn seeds() -> Vec<Vec<u8>> {
    let mut writer = GgufWriter::new();
    let tokens: Strings = ["<unk>", "<s>", "</s>", "▁a", "b"].into_iter().collect();
    writer
        .set("general.architecture", "llama")
        .set("general.alignment", 32u32)
        .set("a.u8", 1u8)
        .set("a.i8", -1i8)
        .set("a.u16", 2u16)
        .set("a.i16", -2i16)
        .set("a.i32", -3i32)
        .set("a.f32", 0.5f32)
        .set("a.bool", true)
        .set("a.u64", 4u64)
        .set("a.i64", -4i64)
        .set("a.f64", 0.25f64)
        .set("tokenizer.ggml.tokens", Array::Strings(tokens))
        .set("tokenizer.ggml.scores", Array::F32(vec![0.0, -1.0, -2.0, -3.0, -4.0]))
        .set("a.bools", Array::Bool(vec![true, false]))
        .set("a.nested", Array::Arrays(vec![Array::U8(vec![1, 2]), Array::Arrays(vec![Array::I64(vec![-1])])]));
    let vocabulary = writer.to_bytes(|_, _| Ok(()));
    let tensors: [(&str, &[u64], TensorType); 4] = [
        ("token_embd.weight", &[32, 5], TensorType::F32),
        ("blk.0.attn_q.weight", &[64, 2], TensorType::Q8_0),
        ("blk.0.attn_norm.weight", &[32], TensorType::F16),
        ("blk.0.ffn_down_exps.weight", &[256, 1, 2], TensorType::Q4_K),
    ];
    for (name, dims, tensor_type) in tensors {
        // These shapes fit their types, as the test of the seeds sees.
        let _ = writer.add_tensor(name, dims, TensorKind::Known(tensor_type));
    }
    writer.set("general.name", Value::String(b"seed \xff".to_vec()));
    let model = writer.to_bytes(|tensor, out| out.write_all(&vec![0x3c; tensor.byte_length as usize]));
    [vocabulary, model].into_iter().flatten().collect()
}
