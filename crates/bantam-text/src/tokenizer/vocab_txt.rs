//! A tokenizer from the `vocab.txt` of older BERT directories, which have no `tokenizer.json`.

use serde_json::{Value, json};

use super::Tokenizer;
use super::companions::{HfFiles, Settings};
use super::json::damaged;
use crate::error::{TextError, shorten};

const FILE: &str = "vocab.txt";
/// What `tokenizer_class` may say beside a `vocab.txt` of this kind, without "Fast".
const CLASSES: &[&str] = &["BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer"];

/// What `tokenizer.json` would hold in a directory that has `vocab.txt` instead, as the `BertTokenizer` of transformers reads
/// it.
///
/// # Errors
/// [`TextError::File`] for files that are not what they should be, [`TextError::Unsupported`] names a tokenizer class of
/// another kind.
pub fn json_of_vocab_txt(vocab: &[u8], files: HfFiles<'_>) -> Result<Value, TextError> {
    let text = std::str::from_utf8(vocab)
        .map_err(|error| damaged(FILE, format!("it is not UTF-8 at byte {}", error.valid_up_to())))?;
    let settings = Settings::read(files)?;
    if let Some(class) = settings.config.text("tokenizer_class") {
        let name = class.strip_suffix("Fast").unwrap_or(class);
        if !CLASSES.contains(&name) {
            return Err(TextError::Unsupported { what: "tokenizer class", name: shorten(class, 60) });
        }
    }
    let mut ids = serde_json::Map::new();
    for (id, line) in text.split_terminator('\n').enumerate() {
        // Of equal lines the last counts.
        ids.insert(line.strip_suffix('\r').unwrap_or(line).to_owned(), json!(id));
    }
    let spelling = |key: &str, usual: &str| settings.spelling(key).unwrap_or_else(|| usual.to_owned());
    let (class, separator) = (spelling("cls_token", "[CLS]"), spelling("sep_token", "[SEP]"));
    let unknown = spelling("unk_token", "[UNK]");
    let (padding, mask) = (spelling("pad_token", "[PAD]"), spelling("mask_token", "[MASK]"));
    let mut added = Vec::new();
    for token in [&padding, &unknown, &class, &separator, &mask] {
        if let Some(id) = ids.get(token.as_str()) {
            added.push(json!({"id": id, "content": token, "special": true}));
        }
    }
    let framing = |token: &String| {
        ids.get(token.as_str()).cloned().ok_or_else(|| {
            damaged(FILE, format!("it lacks the token {:?}, which frames every text", shorten(token, 40)))
        })
    };
    let post_processor = json!({
        "type": "BertProcessing",
        "cls": [class, framing(&class)?],
        "sep": [separator, framing(&separator)?],
    });
    let flag = |key: &str, usual: bool| settings.config.flag(key).unwrap_or(usual);
    let lowercase = flag("do_lower_case", true);
    if !flag("do_basic_tokenize", true) {
        return Err(TextError::Unsupported { what: "tokenizer setting", name: "do_basic_tokenize = false".to_owned() });
    }
    Ok(json!({
        "added_tokens": added,
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": true,
            "handle_chinese_chars": flag("tokenize_chinese_chars", true),
            "strip_accents": flag("strip_accents", lowercase),
            "lowercase": lowercase,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": post_processor,
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": unknown, "vocab": ids},
    }))
}

impl Tokenizer {
    /// Builds the WordPiece tokenizer of an older BERT directory from the bytes of `vocab.txt`, one piece a line, and its
    /// companions, as the `BertTokenizer` of transformers reads them.
    ///
    /// # Errors
    /// As [`json_of_vocab_txt`] and [`Tokenizer::from_json`].
    pub fn from_vocab_txt(vocab: &[u8], files: HfFiles<'_>) -> Result<Tokenizer, TextError> {
        Tokenizer::from_json_value(json_of_vocab_txt(vocab, files)?, files)
    }
}
