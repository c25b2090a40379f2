//! Unigram: the pipeline of a `tokenizer.json` as the four settings that GGUF has for it, and back.
//!
//! GGUF keeps what SentencePiece's own model has: replacements, a space before every text, runs of spaces folded into one.
//! The `tokenizers` library says the same as steps of normalizing and cutting; steps of other kinds have no key.

use serde_json::{Value, json};

use super::to_vocabulary::{damaged, kind, steps, unsupported};
use crate::error::TextError;
use crate::tokenizer::base64;
use crate::vocabulary::{TokenKind, Vocabulary};

const SPACE: &str = "\u{2581}";
/// The score of what is no piece, as llama.cpp's converter writes it.
const NO_PIECE: f32 = -10_000.0;

/// Spaces at the ends of a text.
const ENDS: &str = r"\A +| +\z";

/// Makes the vocabulary of GGUF one of Unigram: scores, replacements, and what is done about spaces.
pub(super) fn to_vocabulary(
    file: &Value,
    model: &Value,
    vocabulary: &mut Vocabulary,
    notes: &mut Vec<String>,
) -> Result<(), TextError> {
    vocabulary.model = "t5".to_owned();
    vocabulary.pre = Some("default".to_owned());
    vocabulary.scores = vec![NO_PIECE; vocabulary.tokens.len()];
    let list = model.get("vocab").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut rounded = 0;
    for (to, entry) in vocabulary.scores.iter_mut().zip(list) {
        let Some(score) = entry.get(1).and_then(Value::as_f64) else { continue };
        #[allow(clippy::cast_possible_truncation)] // GGUF has single precision; what that changes is said.
        let single = score as f32;
        // A reader of JSON may be off by the last bit of a double.
        rounded += usize::from((f64::from(single) - score).abs() > 2.0 * f64::EPSILON * score.abs());
        *to = single;
    }
    if rounded > 0 {
        notes.push(format!("{rounded} scores of tokens are rounded to single precision, which is what GGUF has"));
    }
    let (mut folds, mut prepends) = (false, false);
    for step in steps(file.get("normalizer"), "normalizers") {
        let text = |key: &str| step.get(key).and_then(Value::as_str).unwrap_or_default();
        let pattern = |key: &str| step.get("pattern").and_then(|pattern| pattern.get(key)).and_then(Value::as_str);
        match kind(step) {
            "Precompiled" if vocabulary.precompiled_charsmap.is_empty() && !folds && !prepends => {
                let bytes = base64::decode(text("precompiled_charsmap"));
                vocabulary.precompiled_charsmap = bytes.ok_or_else(|| damaged("precompiled_charsmap is not Base64"))?;
            }
            "Strip" => folds = true,
            "Replace" if is_folding(step) => folds = true,
            "Replace" if pattern("String") == Some(" ") && text("content") == SPACE => {}
            "Prepend" if text("prepend") == SPACE => prepends = true,
            other => return unsupported("normalizer for GGUF", other),
        }
    }
    for step in steps(file.get("pre_tokenizer"), "pretokenizers") {
        match kind(step) {
            "WhitespaceSplit" => folds = true,
            "Metaspace" => {
                let scheme = step.get("prepend_scheme").and_then(Value::as_str);
                let older = || step.get("add_prefix_space").and_then(Value::as_bool).unwrap_or(true);
                prepends |= scheme.map_or_else(older, |scheme| scheme != "never");
                if scheme == Some("first") {
                    notes.push("a space is written before the text behind a special token too in GGUF".to_owned());
                }
            }
            other => return unsupported("pre-tokenizer for GGUF", other),
        }
    }
    vocabulary.add_space_prefix = Some(prepends);
    vocabulary.remove_extra_whitespaces = Some(folds);
    notes.push("a special token's spelling in a text stays text in GGUF, also where it is a piece".to_owned());
    if !vocabulary.precompiled_charsmap.is_empty() {
        notes.push(
            "characters are replaced as SentencePiece does it, the longest match first: the tokenizers library looks at \
             what belongs together and takes the shortest, which differs for rare sequences"
                .to_owned(),
        );
    }
    Ok(())
}

/// Whether a step folds runs of spaces, or drops them at the ends: what files and [`to_json`] write for it.
fn is_folding(step: &Value) -> bool {
    let regex = step.get("pattern").and_then(|pattern| pattern.get("Regex")).and_then(Value::as_str);
    let content = step.get("content").and_then(Value::as_str);
    match regex {
        Some(" {2,}") => matches!(content, Some(" " | SPACE)),
        Some(ENDS) => content == Some(""),
        _ => false,
    }
}

/// A `tokenizer.json` that does what GGUF's vocabulary says, but for its added tokens and frame.
pub(super) fn to_json(vocabulary: &Vocabulary) -> Value {
    let (folds, prepends) =
        (vocabulary.remove_extra_whitespaces.unwrap_or(true), vocabulary.add_space_prefix.unwrap_or(true));
    let kind = |id: usize| vocabulary.types.get(id).map_or(TokenKind::Normal, |&n| TokenKind::from_number(n));
    let vocab: Vec<Value> = vocabulary
        .tokens
        .iter()
        .enumerate()
        .map(|(id, token)| {
            let score = vocabulary.scores.get(id).copied().unwrap_or(NO_PIECE);
            json!([String::from_utf8_lossy(token), f64::from(score)])
        })
        .collect();
    let unknown = vocabulary.unknown.map(u64::from);
    let unknown =
        unknown.or_else(|| (0..vocabulary.tokens.len()).find(|id| kind(*id) == TokenKind::Unknown).map(|id| id as u64));
    let mut normalizers = Vec::new();
    if !vocabulary.precompiled_charsmap.is_empty() {
        let map = base64::encode(&vocabulary.precompiled_charsmap);
        normalizers.push(json!({ "type": "Precompiled", "precompiled_charsmap": map }));
    }
    if folds {
        // Spaces alone, where a Strip takes white space of every kind.
        for (pattern, content) in [(ENDS, ""), (" {2,}", " ")] {
            normalizers.push(json!({ "type": "Replace", "pattern": { "Regex": pattern }, "content": content }));
        }
    }
    let scheme = if prepends { "always" } else { "never" };
    let mark = json!({ "type": "Metaspace", "replacement": SPACE, "prepend_scheme": scheme, "split": true });
    let bytes = (0..vocabulary.tokens.len()).any(|id| kind(id) == TokenKind::Byte);
    let decoder = match bytes {
        true => json!({ "type": "Sequence", "decoders": [{ "type": "ByteFallback" }, mark] }),
        false => mark.clone(),
    };
    json!({
        "version": null, "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": { "type": "Sequence", "normalizers": normalizers },
        "pre_tokenizer": mark, "post_processor": null, "decoder": decoder,
        "model": { "type": "Unigram", "unk_id": unknown, "vocab": vocab, "byte_fallback": bytes },
    })
}
