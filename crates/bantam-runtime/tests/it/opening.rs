//! What opening says of files that are no model, damaged, or not understood.

use std::path::{Path, PathBuf};

use bantam_formats::gguf::{Array, GgufWriter, Strings};
use bantam_runtime::{LoadOptions, Model, OpenOptions, describe, open_text};
use bantam_testkit::Golden;
use bantam_text::Special;

/// A directory of a test's own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("bantam-opening-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn refusal(path: &Path) -> String {
    Model::open(path, &OpenOptions::default()).map(drop).unwrap_err().to_string()
}

#[test]
fn each_kind_of_wrong_path_gets_one_sentence() {
    let folder = Folder::new("paths");
    let check = |name: &str, bytes: Option<&[u8]>, expected: &[&str]| {
        let path = folder.0.join(name);
        if let Some(bytes) = bytes {
            std::fs::write(&path, bytes).unwrap();
        }
        let found = refusal(&path);
        for part in expected {
            assert!(found.contains(part), "{name}: `{found}` does not say `{part}`");
        }
        assert!(!found.contains('\n'), "{found}");
    };
    check("absent.gguf", None, &["absent.gguf", "no file or directory"]);
    check("empty.gguf", Some(b""), &["empty.gguf", "empty"]);
    check("text.gguf", Some(b"hello, this is no model at all"), &["text.gguf"]);
    check("short.gguf", Some(b"GGUF\x03\0\0\0"), &["short.gguf"]);
    check("old.gguf", Some(b"ggjt\x03\0\0\0aaaaaaaaaaaaaaaa"), &["old.gguf"]);
    let empty = folder.0.join("directory");
    std::fs::create_dir(&empty).unwrap();
    assert!(refusal(&empty).contains("config.json"), "{}", refusal(&empty));
}

#[test]
fn a_truncated_model_names_the_tensor_that_is_cut() {
    let folder = Folder::new("truncated");
    let whole = std::fs::read(Golden::load("tiny-llama-a").gguf.unwrap()).unwrap();
    let path = folder.0.join("cut.gguf");
    std::fs::write(&path, &whole[..whole.len() - 1000]).unwrap();
    let found = refusal(&path);
    assert!(found.contains("tensor") && found.contains("cut.gguf"), "{found}");
}

#[test]
fn a_description_is_whole_and_names_what_cannot_run() {
    let golden = Golden::load("tiny-llama-c");
    let load = LoadOptions::default();
    for path in [golden.directory.clone(), golden.gguf.clone().unwrap()] {
        let found = describe(&path, &OpenOptions::default(), &load).unwrap();
        assert_eq!(found.family.as_deref(), Some("llama"));
        assert!(found.memory.is_some() && found.parameters > 1000, "{found:?}");
        let shape = found.shape.unwrap();
        assert_eq!((shape.layers, shape.heads, shape.kv_heads, shape.head_width), (2, 2, 1, 24));
    }
    let folder = Folder::new("unknown");
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        std::fs::copy(golden.directory.join(file), folder.0.join(file)).unwrap();
    }
    let config = std::fs::read_to_string(folder.0.join("config.json")).unwrap();
    std::fs::write(folder.0.join("config.json"), config.replace("LlamaForCausalLM", "OtherModel")).unwrap();
    let found = describe(&folder.0, &OpenOptions::default(), &load).unwrap();
    assert_eq!(found.problems.len(), 1, "{:?}", found.problems);
    assert!(found.problems[0].contains("unknown model family `OtherModel`"), "{:?}", found.problems);
}

/// Field `number` of a protocol-buffers message.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()][..], bytes].concat()
}

#[test]
fn companions_of_a_sentencepiece_model_count() {
    let folder = Folder::new("sentencepiece");
    let piece = |text: &str, kind: u8| field(1, &[field(1, text.as_bytes()), vec![3 << 3, kind]].concat());
    let pieces = [("<unk>", 2), ("<s>", 3), ("</s>", 3), ("a", 1), ("\u{2581}", 1), ("b", 1)];
    let mut model: Vec<u8> = pieces.iter().flat_map(|&(text, kind)| piece(text, kind)).collect();
    model.extend(field(2, &[3 << 3, 2]));
    model.extend(field(3, &[4 << 3, 0]));
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.0.join(name), bytes).unwrap();
    write("tokenizer.model", &model);
    write("config.json", br#"{"model_type": "llama", "eos_token_id": 2}"#);
    write("generation_config.json", br#"{"eos_token_id": [2, 3]}"#);
    write("special_tokens_map.json", br#"{"eos_token": "<|im_end|>"}"#);
    let config = br#"{"add_bos_token": false, "legacy": false, "added_tokens_decoder": {
        "5": {"content": "<|im_end|>", "special": true, "rstrip": true}}}"#;
    write("tokenizer_config.json", config);
    let tokenizer = open_text(&folder.0).unwrap().tokenizer.unwrap();
    assert_eq!(tokenizer.encode_with_ends("a<|im_end|> a", Special::Parse), Ok(vec![4, 3, 5, 3]));
    assert_eq!((tokenizer.eos(), tokenizer.end_of_generation()), (Some(5), &[2, 3, 5][..]));
    write("generation_config.json", br#"{"eos_token_id": 512}"#);
    let error = open_text(&folder.0).map(drop).unwrap_err().to_string();
    assert!(error.contains("generation_config.json: eos_token_id names 512"), "{error}");
}

#[test]
fn a_description_notes_what_the_file_leaves_open() {
    let folder = Folder::new("notes");
    let (path, tokens) = (folder.0.join("vocabulary.gguf"), ["a", "b"].iter().collect::<Strings>());
    let mut writer = GgufWriter::new();
    writer.set("general.architecture", "other").set("tokenizer.ggml.model", "gpt2");
    writer.set("tokenizer.ggml.tokens", Array::Strings(tokens));
    let check = |writer: &GgufWriter, expected: &[&str]| {
        writer.write(&path, |_, _| Ok(())).unwrap();
        let found = describe(&path, &OpenOptions::default(), &LoadOptions::default()).unwrap();
        assert_eq!(found.notes, expected, "{found:?}");
    };
    check(&writer, &["the file names no pre-tokenizer; the default one is used"]);
    writer.set("tokenizer.ggml.pre", "gpt-2");
    check(&writer, &[]);
}
