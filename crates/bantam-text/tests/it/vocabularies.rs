//! Real vocabularies against the ids that their makers' own tokenizers give.

use bantam_testkit::evidence;
use bantam_text::{Detokenizer, Special, Tokenizer};

use crate::{gguf, shared};

/// Every text of `name`'s test file gives the expected ids, and the ids give the text back.
fn check(name: &str, back: impl Fn(&str, &str) -> bool) {
    let Some(path) = shared(&format!("data/tokenizers/ggml-vocab-{name}.gguf")) else { return };
    let vocabulary = gguf::vocabulary(&std::fs::read(&path).unwrap());
    let (model, pre) = (vocabulary.model.clone(), vocabulary.pre.clone());
    let tokenizer = Tokenizer::from_vocabulary(vocabulary).unwrap();
    let texts = std::fs::read_to_string(path.with_extension("gguf.inp")).unwrap();
    let expected = std::fs::read_to_string(path.with_extension("gguf.out")).unwrap();
    let texts = texts.strip_suffix("\n__ggml_vocab_test__\n").unwrap_or(&texts);
    let texts: Vec<&str> = texts.split("\n__ggml_vocab_test__\n").collect();
    let expected: Vec<Vec<u32>> =
        expected.lines().map(|line| line.split_whitespace().map(|id| id.parse().unwrap()).collect()).collect();
    assert_eq!(texts.len(), expected.len());
    for (text, expected) in texts.iter().zip(&expected) {
        let ids = tokenizer.encode(text, Special::AsText).unwrap();
        assert_eq!(&ids, expected, "{name}: {text:?}");
        let decoded = tokenizer.decode(&ids, false).unwrap();
        assert!(back(text, &decoded), "{name}: {text:?} came back as {decoded:?}");
        let mut stream = Detokenizer::new(&tokenizer);
        let mut streamed = String::new();
        for &id in &ids {
            streamed.push_str(stream.push(id).unwrap());
        }
        streamed.push_str(stream.finish());
        assert_eq!(streamed, decoded);
    }
    evidence::shown_with_shared("tokenizer model", &model, "ids");
    if let Some(pre) = pre.filter(|_| model == "gpt2") {
        evidence::shown_with_shared("pre-tokenizer", &pre, "ids of a vocabulary");
    }
    println!("{name}: {} of {} texts", texts.len(), texts.len());
}

#[test]
fn sentencepiece_vocabularies_give_the_expected_ids() {
    check("llama-spm", |text, back| text == back);
    check("phi-3", |text, back| text == back);
}

#[test]
fn byte_level_vocabularies_give_the_expected_ids() {
    check("gpt-2", |text, back| text == back);
    check("starcoder", |text, back| text == back);
    check("falcon", |text, back| text == back);
    check("deepseek-llm", |text, back| text == back);
}

#[test]
fn wordpiece_vocabularies_give_the_expected_ids() {
    // What was lower-cased, or has no piece, does not come back.
    check("bert-bge", |_, _| true);
}
