//! The streaming detokenizer never emits half a character.

use bantam_text::{Detokenizer, HfFiles, TextError, Tokenizer, Vocabulary};
use serde_json::json;

use crate::tokenizers::bytes_with;

/// What each id lets out, the last entry being what the end lets out.
fn stream(mut detokenizer: Detokenizer<'_>, ids: &[u32]) -> Vec<String> {
    let mut out: Vec<String> = ids.iter().map(|&id| detokenizer.push(id).unwrap().to_owned()).collect();
    out.push(detokenizer.finish().to_owned());
    out
}

#[test]
fn characters_come_out_whole() {
    let file = bytes_with(json!([{"id": 256, "content": "<|end|>", "special": true}]), json!({}));
    let tokenizer = Tokenizer::from_json(&serde_json::to_vec(&file).unwrap(), HfFiles::default()).unwrap();
    let check = |ids: &[u32], expected: &[&str]| {
        assert_eq!(stream(Detokenizer::new(&tokenizer), ids), expected, "{ids:x?}");
        assert_eq!(tokenizer.decode(ids, false).unwrap(), expected.concat());
        // Byte-level vocabularies replace as Python's and Rust's lossy decoders do.
        let bytes: Vec<u8> = ids.iter().filter_map(|&id| u8::try_from(id).ok()).collect();
        if bytes.len() == ids.len() {
            assert_eq!(expected.concat(), String::from_utf8_lossy(&bytes));
        }
    };
    check(&[], &[""]);
    check(&[0x61, 0x62], &["a", "b", ""]);
    check(&[0xc3, 0xa9], &["", "é", ""]);
    check(&[0xf0, 0x9f, 0x8e, 0x89, 0x21], &["", "", "", "🎉", "!", ""]);
    check(&[0xf0, 0x9f, 0x8e], &["", "", "", "\u{fffd}"]);
    check(&[0xf0, 0x9f, 0x61], &["", "", "\u{fffd}a", ""]);
    check(&[0x80, 0x61], &["\u{fffd}", "a", ""]);
    check(&[0xc3, 0x28], &["", "\u{fffd}(", ""]);
    check(&[0xe2, 0x28, 0xa1], &["", "\u{fffd}(", "\u{fffd}", ""]);
    check(&[0xed, 0xa0, 0x80], &["", "\u{fffd}\u{fffd}", "\u{fffd}", ""]);
    check(&[0x61, 256, 0x62], &["a", "<|end|>", "b", ""]);
    check(&[0xc3, 256, 0xa9], &["", "\u{fffd}<|end|>", "\u{fffd}", ""]);
    assert_eq!(tokenizer.decode(&[0x61, 256, 0x62], true).unwrap(), "ab");
    assert_eq!(tokenizer.decode(&[999], true), Err(TextError::TokenId { id: 999, len: 257 }));
}

/// `<unk> <s> </s>`, the bytes, and a few pieces.
fn pieces(add_space_prefix: Option<bool>) -> Tokenizer {
    let mut tokens: Vec<Vec<u8>> = vec![b"<unk>".to_vec(), b"<s>".to_vec(), b"</s>".to_vec()];
    let mut types = vec![2, 3, 3];
    for byte in 0..=255 {
        tokens.push(format!("<0x{byte:02X}>").into_bytes());
        types.push(6);
    }
    for piece in ["▁", "a", "b", "▁a", "ab", "▁ab", "▁▁"] {
        tokens.push(piece.as_bytes().to_vec());
        types.push(1);
    }
    let scores = (0..tokens.len()).map(|id| if id < 259 { 0.0 } else { -(id as f32) }).collect();
    let vocabulary = Vocabulary {
        model: "llama".to_owned(),
        tokens,
        scores,
        types,
        bos: Some(1),
        eos: Some(2),
        unknown: Some(0),
        add_space_prefix,
        ..Vocabulary::default()
    };
    Tokenizer::from_vocabulary(vocabulary).unwrap()
}

#[test]
fn the_space_before_a_text_is_not_part_of_it() {
    let tokenizer = pieces(None);
    let byte = |byte: u8| u32::from(byte) + 3;
    let check = |prompt: Option<&[u32]>, ids: &[u32], expected: &[&str]| {
        let detokenizer = match prompt {
            Some(prompt) => Detokenizer::after(&tokenizer, prompt),
            None => Detokenizer::new(&tokenizer),
        };
        assert_eq!(stream(detokenizer.skip_special(true), ids), expected, "{prompt:?} {ids:?}");
    };
    check(None, &[262, 262], &["a", " a", ""]);
    check(None, &[1, 262, 2], &["", "a", "", ""]);
    check(None, &[265, 262], &[" ", " a", ""]);
    check(Some(&[1]), &[262], &["a", ""]);
    check(Some(&[1, 262]), &[262], &[" a", ""]);
    check(Some(&[]), &[262], &["a", ""]);
    check(None, &[byte(0xc3), byte(0xa9), 260], &["", "é", "a", ""]);
    // SentencePiece replaces byte by byte.
    check(None, &[byte(0xe4), byte(0xbd), 260], &["", "", "\u{fffd}\u{fffd}a", ""]);
    check(None, &[byte(0xe4), byte(0xbd)], &["", "", "\u{fffd}\u{fffd}"]);
}

#[test]
fn sentencepiece_merges_by_score_from_the_left() {
    use bantam_text::Special::{AsText, Parse};
    let check = |prefix: Option<bool>, text: &str, special, expected: &[u32]| {
        assert_eq!(pieces(prefix).encode(text, special).unwrap(), expected, "{text:?}");
    };
    check(None, "", AsText, &[]);
    check(None, "a", AsText, &[262]);
    check(None, " a", AsText, &[265 - 6, 262]);
    check(Some(false), "ab", AsText, &[263]);
    check(None, "é", AsText, &[259, 3 + 0xc3, 3 + 0xa9]);
    check(Some(false), "<s>", AsText, &[3 + 0x3c, 3 + 0x73, 3 + 0x3e]);
    check(Some(false), "<s>", Parse, &[1]);
    check(Some(false), "<0x0A>", AsText, &"<0x0A>".bytes().map(|b| u32::from(b) + 3).collect::<Vec<_>>());
    assert_eq!(pieces(None).encode_with_ends("a", AsText).unwrap(), [1, 262]);
}
