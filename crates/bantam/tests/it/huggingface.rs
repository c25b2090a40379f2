//! A Hugging Face directory, made here out of a GGUF file, tells the story that the file tells.

use bantam_formats::Gguf;
use bantam_formats::gguf::Value;
use bantam_formats::safetensors::{Dtype, SafeTensorsWriter};
use serde_json::json;

use crate::run::authors_text;
use crate::support::{Folder, bantam, shared};

/// A field of a protocol buffer: its number, its wire type, its bytes.
fn field(number: u8, wire: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = varint(u64::from(number) << 3 | u64::from(wire));
    if wire == 2 {
        out.extend(varint(bytes.len() as u64));
    }
    out.extend(bytes);
    out
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value > 127 {
        out.push(value as u8 & 127 | 128);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// The vocabulary as `tokenizer.model`, by the field numbers of `sentencepiece_model.proto`.
fn sentencepiece(gguf: &Gguf) -> Vec<u8> {
    let array = |key: &str| {
        let value = gguf.metadata().find(|(name, _)| *name == key).map(|(_, value)| value);
        value.and_then(Value::as_array).expect("the vocabulary is there")
    };
    let scores = array("tokenizer.ggml.scores").to_f32s().expect("scores");
    let kinds = array("tokenizer.ggml.token_type").to_u32s().expect("types");
    let tokens = array("tokenizer.ggml.tokens").as_strings().expect("tokens");
    let mut out = Vec::new();
    for ((token, score), kind) in tokens.iter().zip(scores.iter()).zip(kinds.iter()) {
        let piece = [field(1, 2, token), field(2, 5, &score.to_le_bytes()), field(3, 0, &varint(u64::from(*kind)))];
        out.extend(field(1, 2, &piece.concat()));
    }
    let number = |number: u8, value: u64| field(number, 0, &varint(value));
    // BPE, pieces of bytes for what is not in it, ids of <unk>, <s>, </s> and of no padding. Byte fallback has number 35.
    let byte_fallback = [varint(35 << 3), varint(1)].concat();
    let ids = [40_u64, 41, 42].into_iter().zip([0, 1, 2]).map(|(key, id)| [varint(key << 3), varint(id)].concat());
    let padding = [varint(43 << 3), varint(u64::MAX)].concat();
    let trainer =
        [number(3, 2), number(4, tokens.len() as u64), byte_fallback, ids.collect::<Vec<_>>().concat(), padding];
    let normalizer = [field(1, 2, b"identity"), number(3, 1), number(4, 0), number(5, 1)];
    out.extend(field(2, 2, &trainer.concat()));
    out.extend(field(3, 2, &normalizer.concat()));
    out
}

/// Rows from the GGUF's order (neighbouring pairs rotate together) to Hugging Face's (pairs half a head apart).
fn halves_apart(bytes: &[u8], heads: usize) -> Vec<u8> {
    let head = bytes.len() / heads;
    // `row` bytes times twice `half` rows are a head of 8 numbers in this model.
    let (half, row) = (4, head / 8);
    let mut out = Vec::with_capacity(bytes.len());
    for head in bytes.chunks(head) {
        for place in 0..2 {
            for pair in 0..half {
                let at = (2 * pair + place) * row;
                out.extend(&head[at..at + row]);
            }
        }
    }
    out
}

/// What Hugging Face calls a tensor.
fn name(gguf: &str) -> String {
    let Some((layer, rest)) = gguf.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) else {
        return match gguf {
            "token_embd.weight" => "model.embed_tokens.weight".to_owned(),
            "output_norm.weight" => "model.norm.weight".to_owned(),
            _ => "lm_head.weight".to_owned(),
        };
    };
    let part = match rest.trim_end_matches(".weight") {
        "attn_norm" => "input_layernorm",
        "ffn_norm" => "post_attention_layernorm",
        "attn_q" => "self_attn.q_proj",
        "attn_k" => "self_attn.k_proj",
        "attn_v" => "self_attn.v_proj",
        "attn_output" => "self_attn.o_proj",
        "ffn_gate" => "mlp.gate_proj",
        "ffn_down" => "mlp.down_proj",
        "ffn_up" => "mlp.up_proj",
        other => panic!("{other} is no part of this model"),
    };
    format!("model.layers.{layer}.{part}.weight")
}

#[test]
fn a_directory_tells_the_authors_story() {
    let (Some(path), Some(text)) = (shared("data/stories260k/stories260K-f32.gguf"), authors_text()) else { return };
    let bytes = std::fs::read(path).expect("the model is read");
    let gguf = Gguf::parse(&bytes).expect("the model is sound");
    let folder = Folder::new("huggingface");
    // The author's numbers of stories260K: width 64, 5 layers, 8 heads over 4, 512 tokens, context 512.
    let (heads, kv_heads) = (8, 4);
    let tied = gguf.tensors().iter().all(|tensor| tensor.name != "output.weight");
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": 64,
        "intermediate_size": 172, "num_hidden_layers": 5, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "vocab_size": 512, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "rope_scaling": null, "attention_bias": false, "bos_token_id": 1, "eos_token_id": 2,
        "tie_word_embeddings": tied, "torch_dtype": "float32",
    });
    folder.file("config.json", config.to_string());
    let ends = json!({ "tokenizer_class": "LlamaTokenizer", "add_bos_token": true, "add_eos_token": false });
    folder.file("tokenizer_config.json", ends.to_string());
    folder.file("tokenizer.model", sentencepiece(&gguf));
    let mut writer = SafeTensorsWriter::new();
    writer.set("format", "pt");
    for tensor in gguf.tensors() {
        let shape: Vec<u64> = tensor.dims.iter().rev().copied().collect();
        writer.add_tensor(name(&tensor.name), Dtype::F32, &shape).expect("the tensor is sound");
    }
    let data = |header: &bantam_formats::safetensors::SafeTensorHeader, out: &mut dyn std::io::Write| {
        let tensor = gguf.tensors().iter().find(|tensor| name(&tensor.name) == header.name).expect("it is one of them");
        let bytes = bytes.get(tensor.range.clone()).expect("the file holds it");
        match header.name.rsplit('.').nth(1) {
            Some("q_proj") => out.write_all(&halves_apart(bytes, heads)),
            Some("k_proj") => out.write_all(&halves_apart(bytes, kv_heads)),
            _ => out.write_all(bytes),
        }
    };
    writer.write(&folder.0.join("model.safetensors"), data).expect("the weights are written");
    let directory = folder.0.to_str().expect("the path is UTF-8");
    let output = bantam(&["run", directory, "--raw", "--temperature", "0", ""], b"");
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.trim_start().starts_with(&text), "{told}");

    // The makers' own stops hold beside the user's: the answer ends before whichever comes first.
    folder.file("generation_config.json", r#"{"stop_strings": ["loved to play"], "eos_token_id": 2}"#);
    let ends_before = |more: &[&str], stop: &str| {
        let output = bantam(&[&["run", directory, "--raw", "--temperature", "0"], more, &[""]].concat(), b"");
        let (short, _) = told.split_once(stop).expect("the story has those words");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), short.trim_end(), "{stop}");
    };
    ends_before(&[], "loved to play");
    ends_before(&["--stop", "there was"], "there was");
}
