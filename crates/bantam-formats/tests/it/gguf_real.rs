//! Real files of `../shared`.

use std::path::PathBuf;

use bantam_formats::Gguf;
use bantam_formats::gguf::TensorKind;
use bantam_tensor::TensorType;

use crate::gguf_round_trip::writer_of;

/// A file of the shared material, or `None`, said aloud, where that is absent.
fn shared(path: &str) -> Option<Vec<u8>> {
    let root = std::env::var_os("BANTAM_SHARED")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")));
    let file = root.join(path);
    if !file.is_file() {
        println!("skipped: {} is not there", file.display());
        return None;
    }
    Some(std::fs::read(&file).unwrap())
}

#[test]
fn stories_in_both_versions() {
    fn check(path: &str, version: u32) -> Option<Gguf> {
        let bytes = shared(path)?;
        let gguf = Gguf::parse(&bytes).unwrap();
        assert_eq!(gguf.version, version);
        assert_eq!(gguf.str("general.architecture").unwrap(), Some("llama"));
        assert_eq!(gguf.usize("llama.attention.head_count").unwrap(), Some(8));
        assert_eq!(gguf.usize("llama.attention.head_count_kv").unwrap(), Some(4));
        let tokens = gguf.strings("tokenizer.ggml.tokens").unwrap().unwrap();
        assert_eq!(tokens.len(), 512);
        assert_eq!(tokens.get(2), Some(&b"</s>"[..]));
        assert_eq!(gguf.tensors().len(), 48);
        let embedding = gguf.tensor("token_embd.weight").unwrap();
        assert_eq!(embedding.dims, [64, 512]);
        assert_eq!((embedding.rows(), embedding.width()), (512, 64));
        assert_eq!(embedding.kind, TensorKind::Known(TensorType::F32));
        assert_eq!(embedding.range.len(), 64 * 512 * 4);
        Some(gguf)
    }
    let new = check("data/stories260k/stories260K-f32.gguf", 3);
    let old = check("data/stories260k/stories260K-f32.gguf-v1.gguf", 1);
    if let (Some(new), Some(old)) = (new, old) {
        let (new_bytes, old_bytes) = (
            shared("data/stories260k/stories260K-f32.gguf").unwrap(),
            shared("data/stories260k/stories260K-f32.gguf-v1.gguf").unwrap(),
        );
        for tensor in new.tensors() {
            let other = old.tensor(&tensor.name).unwrap();
            assert_eq!(new_bytes[tensor.range.clone()], old_bytes[other.range.clone()], "{}", tensor.name);
        }
        // Either, written again, is the version 3 file that llama.cpp's converter made, to the byte.
        for (gguf, bytes) in [(&new, &new_bytes), (&old, &old_bytes)] {
            let again = writer_of(gguf)
                .to_bytes(|tensor, out| out.write_all(&bytes[gguf.tensor(&tensor.name).unwrap().range.clone()]));
            assert!(again.unwrap() == new_bytes, "version {}", gguf.version);
        }
    }
}

#[test]
fn vocabularies_without_tensors() {
    fn check(name: &str, version: u32, tokens: usize) {
        let Some(bytes) = shared(&format!("data/tokenizers/ggml-vocab-{name}.gguf")) else { return };
        let gguf = Gguf::parse(&bytes).unwrap();
        assert_eq!(gguf.version, version, "{name}");
        assert!(gguf.tensors().is_empty(), "{name}");
        assert_eq!(gguf.strings("tokenizer.ggml.tokens").unwrap().unwrap().len(), tokens, "{name}");
    }
    // Counts as PyPI gguf's reader gives them.
    check("llama-spm", 3, 32000);
    check("gpt-2", 3, 50257);
    check("phi-3", 3, 32064);
    check("falcon", 3, 65024);
    check("starcoder", 3, 49152);
    check("bert-bge", 3, 30522);
    check("deepseek-llm", 3, 102400);
}
