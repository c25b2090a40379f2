//! From a directory's files to GGUF's vocabulary.

use serde_json::Value;

use super::{check_same, unigram};
use crate::error::{TextError, shorten};
use crate::merges::Merges;
use crate::tokenizer::{HfFiles, Map, PUNCTUATION, Tokenizer, recognise, sentencepiece_vocabulary};
use crate::vocabulary::Vocabulary;

const FILE: &str = "tokenizer.json";
/// Numbers of kinds of tokens, as SentencePiece and GGUF have them.
const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;
const BYTE: i32 = 6;
/// The visible space of SentencePiece.
const SPACE: char = '\u{2581}';

/// A vocabulary and what it does not say.
pub struct Exchanged {
    /// The vocabulary.
    pub vocabulary: Vocabulary,
    /// What GGUF has no key for, one sentence each.
    pub notes: Vec<String>,
}

pub(super) fn damaged(reason: impl ToString) -> TextError {
    TextError::File { file: FILE, reason: shorten(&reason.to_string(), 200) }
}

pub(super) fn unsupported<T>(what: &'static str, name: &str) -> Result<T, TextError> {
    Err(TextError::Unsupported { what, name: shorten(name, 60) })
}

/// The vocabulary of GGUF for a `tokenizer.json`, filled up to `rows` tokens, of which the model has that many.
///
/// # Errors
/// Those of [`Tokenizer::from_json`]; [`TextError::Unsupported`] names a pre-tokenizer that GGUF has no name for, or a
/// text that GGUF's form would cut otherwise.
pub fn vocabulary_of_json(json: &[u8], files: HfFiles<'_>, rows: usize) -> Result<Exchanged, TextError> {
    let meant = Tokenizer::from_json(json, files)?;
    let file: Value = serde_json::from_slice(json).map_err(damaged)?;
    let model = file.get("model").ok_or_else(|| damaged("it has no model"))?;
    let listed = model.get("vocab").is_some_and(Value::is_array);
    let kind = model.get("type").and_then(Value::as_str).unwrap_or(if listed { "Unigram" } else { "BPE" });
    let mut notes = Vec::new();
    let mut vocabulary = tokens(&file, model, &meant, rows, &mut notes)?;
    match kind {
        "BPE" if is_byte_level(&file) => {
            vocabulary.model = "gpt2".to_owned();
            vocabulary.merges = merges(model)?;
            vocabulary.pre = Some(pre_tokenizer(&file, model, &mut notes)?);
        }
        "BPE" if model.get("byte_fallback").and_then(Value::as_bool) == Some(true) => {
            vocabulary.model = "llama".to_owned();
            vocabulary.pre = Some("default".to_owned());
            vocabulary.scores = scores(model, &vocabulary)?;
            vocabulary.add_space_prefix = Some(prefixes_space(&file));
        }
        "WordPiece" => {
            word_pieces(&file, &mut vocabulary)?;
            vocabulary.pre = Some("bert-bge".to_owned());
        }
        "Unigram" => unigram::to_vocabulary(&file, model, &mut vocabulary, &mut notes)?,
        other => return unsupported("tokenizer for GGUF", other),
    }
    ends(&meant, &mut vocabulary, &mut notes)?;
    check_same(&meant, &Tokenizer::from_vocabulary(vocabulary.clone())?, "tokenizer for GGUF")?;
    Ok(Exchanged { vocabulary, notes })
}

/// The vocabulary of GGUF for a `tokenizer.model`, filled up to `rows` tokens.
///
/// # Errors
/// As [`Tokenizer::from_sentencepiece_directory`], and as [`vocabulary_of_json`].
pub fn vocabulary_of_sentencepiece(model: &[u8], files: HfFiles<'_>, rows: usize) -> Result<Exchanged, TextError> {
    let meant = Tokenizer::from_sentencepiece_directory(model, files)?;
    let mut vocabulary = sentencepiece_vocabulary(model)?;
    let mut notes = Vec::new();
    vocabulary.pre = Some("default".to_owned());
    let count = meant.vocabulary_len();
    check_rows(count, rows)?;
    let lowest = vocabulary.scores.iter().copied().fold(0.0f32, f32::min);
    for id in 0..count.max(rows) {
        let number = u32::try_from(id).unwrap_or(u32::MAX);
        let added = id >= vocabulary.tokens.len();
        if added {
            vocabulary.tokens.push(filler(id));
            vocabulary.scores.push(lowest - 1.0);
            vocabulary.types.push(UNUSED);
        }
        let (Some(text), Some(kind)) = (meant.token_text(number), meant.token_kind(number)) else { continue };
        // What companions add, or call special, is more than the model's own piece.
        if added || text.as_bytes() != vocabulary.tokens[id] || meant.is_special(number) {
            vocabulary.tokens[id] = text.as_bytes().to_vec();
            vocabulary.types[id] = kind.number();
        }
    }
    ends(&meant, &mut vocabulary, &mut notes)?;
    check_same(&meant, &Tokenizer::from_vocabulary(vocabulary.clone())?, "tokenizer for GGUF")?;
    Ok(Exchanged { vocabulary, notes })
}

/// What stands at an id that no token has.
fn filler(id: usize) -> Vec<u8> {
    format!("[PAD{id}]").into_bytes()
}

fn check_rows(count: usize, rows: usize) -> Result<(), TextError> {
    if count > rows {
        let problem = format!("{count} tokens, but the model has an embedding of {rows} rows");
        return Err(TextError::Vocabulary(problem));
    }
    Ok(())
}

/// Spellings and kinds by id.
fn tokens(
    file: &Value,
    model: &Value,
    meant: &Tokenizer,
    rows: usize,
    notes: &mut Vec<String>,
) -> Result<Vocabulary, TextError> {
    let fallback = model.get("byte_fallback").and_then(Value::as_bool) == Some(true);
    check_rows(meant.vocabulary_len(), rows)?;
    let mut vocabulary =
        Vocabulary { tokens: (0..rows).map(filler).collect(), types: vec![UNUSED; rows], ..Vocabulary::default() };
    let in_model: Vec<(&str, usize)> = match model.get("vocab") {
        Some(Value::Object(ids)) => {
            let id = |id: &Value| id.as_u64().and_then(|id| usize::try_from(id).ok());
            ids.iter().filter_map(|(spelling, number)| Some((spelling.as_str(), id(number)?))).collect()
        }
        Some(Value::Array(list)) => {
            list.iter().enumerate().filter_map(|(id, entry)| Some((entry.get(0)?.as_str()?, id))).collect()
        }
        _ => return Err(damaged("model.vocab is neither a map nor a list")),
    };
    for (spelling, id) in in_model.into_iter().filter(|(_, id)| *id < rows) {
        vocabulary.tokens[id] = spelling.as_bytes().to_vec();
        let is_byte = fallback && spelling.len() == 6 && spelling.starts_with("<0x") && spelling.ends_with('>');
        vocabulary.types[id] = if is_byte { BYTE } else { NORMAL };
    }
    for id in 0..u32::try_from(meant.vocabulary_len()).unwrap_or(u32::MAX) {
        if let (Some(text), Some(kind)) = (meant.token_text(id), meant.token_kind(id))
            && matches!(kind.number(), CONTROL | USER_DEFINED | UNKNOWN)
        {
            vocabulary.tokens[id as usize] = text.as_bytes().to_vec();
            vocabulary.types[id as usize] = kind.number();
        }
    }
    let stripping = |token: &&Value| {
        ["lstrip", "rstrip", "single_word"].iter().any(|key| token.get(*key).and_then(Value::as_bool) == Some(true))
    };
    let added = file.get("added_tokens").and_then(Value::as_array);
    let named: Vec<&str> =
        added.into_iter().flatten().filter(stripping).filter_map(|token| token.get("content")?.as_str()).collect();
    if let Some(first) = named.first() {
        notes.push(format!(
            "{} added tokens (such as {first:?}) take white space beside them along, which GGUF has no key for",
            named.len()
        ));
    }
    Ok(vocabulary)
}

pub(super) fn steps<'a>(value: Option<&'a Value>, list: &str) -> Vec<&'a Value> {
    match value {
        Some(value) => match value.get(list).and_then(Value::as_array) {
            Some(inner) => inner.iter().flat_map(|step| steps(Some(step), list)).collect(),
            None if value.is_null() => Vec::new(),
            None => vec![value],
        },
        None => Vec::new(),
    }
}

pub(super) fn kind(step: &Value) -> &str {
    step.get("type").and_then(Value::as_str).unwrap_or_default()
}

fn is_byte_level(file: &Value) -> bool {
    steps(file.get("pre_tokenizer"), "pretokenizers").iter().any(|step| kind(step) == "ByteLevel")
}

/// Whether a space is written before a text.
fn prefixes_space(file: &Value) -> bool {
    let prepends = |step: &&Value| match kind(step) {
        "Prepend" => true,
        "Metaspace" => step.get("prepend_scheme").and_then(Value::as_str) != Some("never"),
        _ => false,
    };
    steps(file.get("normalizer"), "normalizers").iter().any(prepends)
        || steps(file.get("pre_tokenizer"), "pretokenizers").iter().any(prepends)
}

fn merges(model: &Value) -> Result<Merges, TextError> {
    let list = model.get("merges").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let line = |merge: &Value| match merge {
        Value::String(line) => Some(line.clone()),
        Value::Array(pair) => match pair.as_slice() {
            [Value::String(left), Value::String(right)] => Some(format!("{left} {right}")),
            _ => None,
        },
        _ => None,
    };
    list.iter().map(|merge| line(merge).ok_or_else(|| damaged("a merge is no pair of tokens"))).collect()
}

/// The name GGUF has for the way a text is cut into words.
fn pre_tokenizer(file: &Value, model: &Value, notes: &mut Vec<String>) -> Result<String, TextError> {
    // Splits of the text, and of what bytes have become.
    let mut patterns = [Vec::new(), Vec::new()];
    let mut mapped = 0;
    for step in steps(file.get("pre_tokenizer"), "pretokenizers") {
        match kind(step) {
            "ByteLevel" => {
                if step.get("add_prefix_space").and_then(Value::as_bool) == Some(true) {
                    return unsupported("pre-tokenizer setting for GGUF", "add_prefix_space");
                }
                if step.get("use_regex").and_then(Value::as_bool).unwrap_or(true) {
                    patterns[mapped].push(crate::tokenizer::BYTE_LEVEL_PATTERN.to_owned());
                }
                mapped = 1;
            }
            "Digits" if step.get("individual_digits").and_then(Value::as_bool) == Some(true) => {
                patterns[mapped].push(r"\p{N}".to_owned());
            }
            "Digits" => patterns[mapped].push(r"\p{N}+".to_owned()),
            "Punctuation" if step.get("behavior").and_then(Value::as_str) == Some("Contiguous") => {
                patterns[mapped].push(PUNCTUATION.to_owned());
            }
            "Split" => {
                let regex = step.get("pattern").and_then(|pattern| pattern.get("Regex")).and_then(Value::as_str);
                match regex {
                    Some(regex) => patterns[mapped].push(regex.to_owned()),
                    None => return unsupported("pre-tokenizer for GGUF", &step.to_string()),
                }
            }
            other => return unsupported("pre-tokenizer for GGUF", other),
        }
    }
    let whole = model.get("ignore_merges").and_then(Value::as_bool) == Some(true);
    let normalizers = steps(file.get("normalizer"), "normalizers");
    let composes = match normalizers.as_slice() {
        [] => false,
        [only] if kind(only) == "NFC" => true,
        [first, ..] => return unsupported("normalizer for GGUF", kind(first)),
    };
    let Some((name, same)) = recognise(&patterns, whole, composes) else {
        return unsupported("pre-tokenizer for GGUF", &patterns.concat().join(" "));
    };
    if !same {
        notes.push(format!("GGUF's pre-tokenizer {name} does not compose characters (NFC) first as this one does"));
    }
    Ok(name.to_owned())
}

/// Scores that make SentencePiece's merging take the pairs in the order of the list of merges: a piece is worth the more,
/// the earlier the list makes it.
fn scores(model: &Value, vocabulary: &Vocabulary) -> Result<Vec<f32>, TextError> {
    let mut first: Map<Vec<u8>, usize> = Map::default();
    let mut count = 0;
    for merge in merges(model)?.iter() {
        let made: Vec<u8> = match merge.split_once(' ') {
            Some((left, right)) => [left.as_bytes(), right.as_bytes()].concat(),
            None => return Err(damaged("a merge is no pair of tokens")),
        };
        first.entry(made).or_insert_with(|| {
            count += 1;
            count
        });
    }
    // Pieces that no merge makes are single characters: they come after all that are made.
    let last = count + 1;
    let score = |piece: &Vec<u8>| -(first.get(piece).copied().unwrap_or(last) as f32);
    Ok(vocabulary.tokens.iter().map(score).collect())
}

/// Pieces that begin a word get a mark, those that go on lose theirs.
fn word_pieces(file: &Value, vocabulary: &mut Vocabulary) -> Result<(), TextError> {
    vocabulary.model = "bert".to_owned();
    let model = file.get("model");
    let setting = |of: Option<&Value>, key: &str| of.and_then(|of| of.get(key)).cloned().unwrap_or(Value::Null);
    let longest = setting(model, "max_input_chars_per_word");
    if longest.as_u64().is_some_and(|count| count != 100) {
        return unsupported("WordPiece setting for GGUF", &format!("max_input_chars_per_word = {longest}"));
    }
    for step in steps(file.get("normalizer"), "normalizers").into_iter().filter(|step| kind(step) == "BertNormalizer") {
        let on = |key: &str| setting(Some(step), key).as_bool();
        let lowers = on("lowercase").unwrap_or(true);
        for (key, expected) in [("clean_text", true), ("handle_chinese_chars", true), ("strip_accents", lowers)] {
            if on(key).is_some_and(|found| found != expected) {
                return unsupported("normalizer setting for GGUF", &format!("{key} = {}", !expected));
            }
        }
    }
    let continues = model.and_then(|model| model.get("continuing_subword_prefix")).and_then(Value::as_str);
    let continues = continues.unwrap_or("##").as_bytes();
    for (token, kind) in vocabulary.tokens.iter_mut().zip(&vocabulary.types) {
        // Tokens in brackets stand as they are.
        if *kind != NORMAL || (token.starts_with(b"[") && token.ends_with(b"]")) {
            continue;
        }
        *token = match token.strip_prefix(continues) {
            Some(rest) => rest.to_vec(),
            None => [SPACE.to_string().as_bytes(), token].concat(),
        };
    }
    Ok(())
}

/// Which tokens frame and end a text.
fn ends(meant: &Tokenizer, vocabulary: &mut Vocabulary, notes: &mut Vec<String>) -> Result<(), TextError> {
    let (prefix, suffix) = (meant.prefix_ids(), meant.suffix_ids());
    for (side, ids) in [("before", prefix), ("behind", suffix)] {
        if ids.len() > 1 {
            return unsupported("frame for GGUF, which has one token on each side,", &format!("{ids:?} {side} a text"));
        }
    }
    // The frame decides: companions need not name what a template puts there.
    vocabulary.bos = prefix.first().copied().or(meant.bos());
    vocabulary.eos = suffix.first().copied().or(meant.eos());
    vocabulary.unknown = meant.unknown();
    vocabulary.padding = meant.padding();
    if vocabulary.model == "bert" {
        vocabulary.class = prefix.first().copied();
        vocabulary.bos = vocabulary.class;
        vocabulary.eos = None;
        vocabulary.separator = suffix.last().copied();
        vocabulary.mask = meant.token_id("[MASK]");
        vocabulary.unknown = vocabulary.unknown.or(meant.token_id("[UNK]"));
        vocabulary.padding = vocabulary.padding.or(meant.token_id("[PAD]"));
        return Ok(());
    }
    vocabulary.add_bos = Some(!prefix.is_empty());
    vocabulary.add_eos = Some(!suffix.is_empty());
    if let Some(end) = suffix.first().filter(|id| !meant.end_of_generation().contains(id)) {
        let text = meant.token_text(*end).unwrap_or_default();
        notes.push(format!("{text:?}, which is put behind every text, ends an answer too in GGUF"));
    }
    let known = |vocabulary: &Vocabulary, id: u32| [vocabulary.eos, vocabulary.eot, vocabulary.eom].contains(&Some(id));
    // What GGUF's readers find by its spelling needs no key; the rest takes those there are.
    let found = Tokenizer::from_vocabulary(vocabulary.clone()).map(|made| made.end_of_generation().to_vec());
    let found = found.unwrap_or_default();
    for &id in meant.end_of_generation() {
        if known(vocabulary, id) || found.contains(&id) {
            continue;
        }
        if vocabulary.eos.is_none() {
            vocabulary.eos = Some(id);
        } else if vocabulary.eot.is_none() {
            vocabulary.eot = Some(id);
        } else if vocabulary.eom.is_none() {
            vocabulary.eom = Some(id);
        } else {
            notes.push(format!("GGUF has no key for one more token that ends an answer, {id}"));
        }
    }
    Ok(())
}
