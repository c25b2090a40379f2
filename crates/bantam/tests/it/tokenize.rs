//! `bantam tokenize`.

use crate::support::{Expected, bantam, check, fails, prints, shared};

#[test]
fn texts_become_tokens_and_texts_again() {
    let Some(model) = shared("data/tokenizers/ggml-vocab-gpt-2.gguf") else { return };
    let model = model.as_str();
    check(&["tokenize", model, "--ids", "Hello world"], "", &prints("15496 995\n"));
    check(&["tokenize", model, "--ids", ""], "", &prints("\n"));
    check(&["tokenize", model, "--ids"], "Hello world", &prints("15496 995\n"));
    check(&["tokenize", model, "--ids"], "Hello world\n", &prints("15496 995 198\n"));
    check(&["tokenize", model, "Hello world\n"], "", &prints("15496  'Hello'\n  995  ' world'\n  198  '\\n'\n"));
    check(&["tokenize", model, "--detokenize", "15496 995"], "", &prints("Hello world"));
    check(&["tokenize", model, "--detokenize"], "[15496, 995]\n", &prints("Hello world"));
    check(&["tokenize", model, "--detokenize", "--json", "15496"], "", &prints("\"Hello\"\n"));
    check(&["tokenize", model, "--ids", "--json", "Hello world"], "", &prints("[15496,995]\n"));
    check(&["tokenize", model, "--detokenize", "50257000"], "", &fails(1, &["outside the vocabulary"]));
    check(&["tokenize", model, "--detokenize", "x"], "", &fails(1, &["'x' is no token id"]));
    let json = bantam(&["tokenize", model, "--json", "Hello€"], b"");
    let pieces: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON is printed");
    let bytes = pieces.as_array().expect("an array").iter().flat_map(|piece| piece["bytes"].as_array().expect("bytes"));
    let bytes: Vec<u8> = bytes.map(|byte| byte.as_u64().expect("a byte") as u8).collect();
    assert_eq!(bytes, "Hello€".as_bytes());
}

#[test]
fn special_tokens_are_special_only_when_asked() {
    let Some(model) = shared("data/tokenizers/ggml-vocab-llama-spm.gguf") else { return };
    let model = model.as_str();
    check(&["tokenize", model, "--ids", "Hello"], "", &prints("15043\n"));
    check(&["tokenize", model, "--ids", "--special", "Hello"], "", &prints("1 15043\n"));
    check(&["tokenize", model, "--ids", "</s>"], "", &prints("1533 29879 29958\n"));
    check(&["tokenize", model, "--detokenize", "1 15043"], "", &prints("Hello"));
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let Some(model) = shared("data/tokenizers/ggml-vocab-gpt-2.gguf") else { return };
    let output = bantam(&["tokenize", &model, "--ids"], b"ab\xff");
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "error: stdin is not UTF-8: byte 2 begins no character\n");
}

/// The texts and ids that come with the vocabularies; the whole of them is the text crate's test, this is the way in.
#[test]
fn vocabularies_of_any_architecture_are_read() {
    for name in ["llama-spm", "gpt-2"] {
        let Some(model) = shared(&format!("data/tokenizers/ggml-vocab-{name}.gguf")) else { return };
        let read = |end: &str| std::fs::read_to_string(format!("{model}.{end}")).expect("the file is there");
        let (texts, ids) = (read("inp"), read("out"));
        let cases = texts.split("\n__ggml_vocab_test__\n").zip(ids.lines());
        for (text, ids) in cases.step_by(5) {
            let expected = format!("{}\n", ids.trim());
            check(&["tokenize", &model, "--ids"], text, &Expected { stdout: Some(&expected), ..Expected::default() });
        }
    }
}
