//! WordPiece, Unigram and character-BPE vocabularies from GGUF metadata (`bert`, `t5`, `gemma4`), and Unigram ones from `tokenizer.model`.

use super::added::AddedTokens;
use super::bpe::{Alphabet, Bpe};
use super::bytes::byte_token;
use super::charsmap::Charsmap;
use super::decoding::Decoding;
use super::gguf::{Additions, Parts, Symbols, add_merges, added_token, finish, kind_of, place_added};
use super::json_model::check_lengths;
use super::normalizer::Normalizer;
use super::pieces::PieceNormalizer;
use super::pipeline::bert_steps;
use super::sentencepiece::SPACE;
use super::spellings::Spellings;
use super::split::Splitter;
use super::trie::Trie;
use super::unigram::Unigram;
use super::wordpiece::{CONTINUING, LONGEST_WORD, WordPiece};
use super::{FirstSpace, Joining, Map, Merger, Token, Tokenizer};
use crate::error::{TextError, shorten};
use crate::vocabulary::{TokenKind, Vocabulary};

/// Names of `tokenizer.ggml.pre` that go with WordPiece; all of them mean BERT's own pre-tokenizer.
const WORDPIECE_NAMES: &[&str] = &["default", "bert-bge", "bert-bge-large", "jina-v2-en"];
/// Names that go with Unigram: its pre-tokenizing is the white-space keys of the file.
const UNIGRAM_NAMES: &[&str] = &["default"];

fn check_name(vocabulary: &Vocabulary, names: &[&str]) -> Result<(), TextError> {
    match vocabulary.pre.as_deref() {
        Some(name) if !names.contains(&name) => {
            Err(TextError::Unsupported { what: "pre-tokenizer", name: shorten(name, 60) })
        }
        _ => Ok(()),
    }
}

/// A piece as the model's own vocabulary spells it. GGUF marks pieces that begin a word instead of those that do not;
/// tokens in brackets (`[CLS]`, `[unused7]`) stand as they are.
fn own_spelling(spelling: &str) -> String {
    if let Some(piece) = spelling.strip_prefix(SPACE) {
        return piece.to_owned();
    }
    if spelling.starts_with('[') && spelling.ends_with(']') {
        return spelling.to_owned();
    }
    format!("{CONTINUING}{spelling}")
}

pub(super) fn wordpiece(mut vocabulary: Vocabulary) -> Result<Tokenizer, TextError> {
    check_name(&vocabulary, WORDPIECE_NAMES)?;
    let decoding = Decoding::wordpiece();
    let mut spellings = Vec::with_capacity(vocabulary.tokens.len());
    for (id, spelling) in vocabulary.tokens.iter().enumerate() {
        let text = std::str::from_utf8(spelling)
            .map_err(|_| TextError::Vocabulary(format!("token {id} is spelled in bytes that are no UTF-8")))?;
        let special = !matches!(kind_of(&vocabulary, id), TokenKind::Normal | TokenKind::Unused);
        spellings.push(if special { text.to_owned() } else { own_spelling(text) });
    }
    check_lengths(spellings.iter().map(String::as_str))?;
    let named = |spelling: &str| {
        let at = spellings.iter().position(|found| found == spelling)?;
        u32::try_from(at).ok()
    };
    let unknown = vocabulary.unknown.or_else(|| named("[UNK]"));
    let Some(unknown) = unknown else {
        return Err(TextError::Vocabulary("a WordPiece vocabulary needs an unknown token, there is none".to_owned()));
    };
    // Every text is framed, whatever the switches for BOS and EOS say: that is what these models were trained on.
    vocabulary.bos = vocabulary.class.or(vocabulary.bos).or_else(|| named("[CLS]"));
    vocabulary.eos = vocabulary.separator.or(vocabulary.eos).or_else(|| named("[SEP]"));
    (vocabulary.add_bos, vocabulary.add_eos) = (Some(true), Some(true));
    vocabulary.unknown = Some(unknown);

    let normal = |id: usize| matches!(kind_of(&vocabulary, id), TokenKind::Normal | TokenKind::Unused);
    // GGUF has no key for it: a vocabulary without capitals is one of lower-cased text.
    let bracketed = |spelling: &str| spelling.starts_with('[') && spelling.ends_with(']');
    let mut pieces = spellings.iter().enumerate().filter(|(id, spelling)| normal(*id) && !bracketed(spelling));
    let lowercase = !pieces.any(|(_, spelling)| spelling.contains(|c: char| c.is_ascii_uppercase()));
    let (mut tokens, mut raw) = (Vec::with_capacity(spellings.len()), Vec::new());
    for (id, spelling) in spellings.iter().enumerate() {
        let kind = if id == unknown as usize { TokenKind::Unknown } else { kind_of(&vocabulary, id) };
        tokens.push(Some(Token::new(spelling, decoding.text(spelling)?, kind)));
        raw.extend(added_token(&vocabulary, id).map(|token| (token.content.clone(), token)));
    }
    let pieces = spellings.iter().zip(0u32..).filter(|(_, id)| normal(*id as usize));
    let merger =
        WordPiece::new(pieces.map(|(spelling, id)| (spelling.as_bytes(), id)), CONTINUING, unknown, LONGEST_WORD);
    let parts = Parts {
        tokens,
        added: AddedTokens::new(raw)?,
        normalized_added: AddedTokens::default(),
        normalizers: vec![Normalizer::Bert { clean: true, chinese: true, strip_accents: lowercase, lowercase }],
        steps: bert_steps()?,
        merger: Merger::Words(merger),
        joining: decoding.joining,
        add_bos: true,
        notes: Vec::new(),
    };
    Ok(finish(&vocabulary, parts))
}

/// Byte-pair merging over characters, spaces written as U+2581, what has no token spelled in bytes.
pub(super) fn character_bpe(vocabulary: Vocabulary) -> Result<Tokenizer, TextError> {
    let len = vocabulary.tokens.len();
    let mut bytes = Box::new([None; 256]);
    let mut by_bytes = Spellings::with_capacity(len);
    let (mut tokens, mut raw) = (Vec::with_capacity(len), Vec::new());
    for (spelling, id) in vocabulary.tokens.iter().zip(0u32..) {
        let kind = kind_of(&vocabulary, id as usize);
        let mut text = spelling.clone();
        if !matches!(kind, TokenKind::Control | TokenKind::Unknown) {
            by_bytes.insert_first(spelling, id);
            text = String::from_utf8_lossy(spelling).replace(SPACE, " ").into_bytes();
        }
        if let Some(byte) = byte_token(spelling).filter(|_| kind == TokenKind::Byte) {
            bytes[usize::from(byte)].get_or_insert(id);
            text = vec![byte];
        }
        raw.extend(added_token(&vocabulary, id as usize).map(|token| (token.content.clone(), token)));
        let text = (text != *spelling).then(|| text.into_boxed_slice());
        tokens.push(Some(Token { spelling: spelling.as_slice().into(), text, kind }));
    }
    let mut merger = Bpe {
        by_bytes,
        merges: Map::with_capacity_and_hasher(vocabulary.merges.len(), Default::default()),
        alphabet: Alphabet::Characters(Some(bytes)),
        unknown: vocabulary.unknown,
        fuse_unknown: true,
        ignore_merges: false,
        continuing_prefix: Vec::new(),
        word_suffix: Vec::new(),
    };
    add_merges(&mut merger, &vocabulary, false)?;
    let parts = Parts {
        tokens,
        added: AddedTokens::new(raw)?,
        normalized_added: AddedTokens::default(),
        normalizers: vec![Normalizer::Replace { pattern: Splitter::literal(" "), with: SPACE.to_owned() }],
        steps: Vec::new(),
        merger: Merger::Ranks(merger),
        joining: Joining::Pieces(FirstSpace::Kept),
        add_bos: false,
        notes: Vec::new(),
    };
    Ok(finish(&vocabulary, parts))
}

pub(super) fn unigram(
    mut vocabulary: Vocabulary,
    symbols: Symbols,
    additions: Additions,
) -> Result<Tokenizer, TextError> {
    check_name(&vocabulary, UNIGRAM_NAMES)?;
    let len = vocabulary.tokens.len();
    if vocabulary.scores.is_empty() {
        return Err(TextError::Vocabulary("a Unigram vocabulary needs scores, there are none".to_owned()));
    }
    if let Some(at) = vocabulary.scores.iter().take(len).position(|score| !score.is_finite()) {
        return Err(TextError::Vocabulary(format!("the score of token {at} is {}", vocabulary.scores[at])));
    }
    check_lengths(vocabulary.tokens.iter().filter_map(|token| std::str::from_utf8(token).ok()))?;
    let kinds: Vec<TokenKind> = (0..len).map(|id| kind_of(&vocabulary, id)).collect();
    let of_kind = |wanted: TokenKind| kinds.iter().zip(0u32..).filter(move |(kind, _)| **kind == wanted);
    if vocabulary.unknown.is_none() {
        vocabulary.unknown = of_kind(TokenKind::Unknown).map(|(_, id)| id).next();
    }
    let normal = of_kind(TokenKind::Normal).map(|(_, id)| f64::from(vocabulary.scores[id as usize]));
    let lowest = normal.fold(f64::MAX, f64::min);
    // SentencePiece finds user-defined pieces among the others; their score of 0 makes them win.
    let in_lattice = |kind: TokenKind| {
        kind == TokenKind::Normal || (kind == TokenKind::UserDefined && symbols == Symbols::InNormalized)
    };
    let scores: Vec<f64> = vocabulary.scores.iter().take(len).map(|score| f64::from(*score)).collect();
    let mut bytes = Box::new([None; 256]);
    let (mut tokens, mut raw) = (Vec::with_capacity(len), Vec::new());
    for (id, spelling) in vocabulary.tokens.iter().enumerate() {
        let (kind, number) = (kinds[id], u32::try_from(id).unwrap_or(u32::MAX));
        let mut text = String::from_utf8_lossy(spelling).replace(SPACE, " ").into_bytes();
        match kind {
            TokenKind::Byte => {
                let byte = byte_token(spelling).ok_or_else(|| {
                    let spelling = String::from_utf8_lossy(spelling);
                    TextError::Vocabulary(format!("byte token {id} is spelled {:?}", shorten(&spelling, 40)))
                })?;
                bytes[usize::from(byte)].get_or_insert(number);
                text = vec![byte];
            }
            TokenKind::Normal | TokenKind::UserDefined | TokenKind::Unused => {}
            TokenKind::Control | TokenKind::Unknown => text = spelling.clone(),
        }
        let added = added_token(&vocabulary, id);
        raw.extend(added.filter(|_| !in_lattice(kind)).map(|token| (token.content.clone(), token)));
        let text = (text != *spelling).then(|| text.into_boxed_slice());
        tokens.push(Some(Token { spelling: spelling.as_slice().into(), text, kind }));
    }
    let mut first = place_added(&mut tokens, additions.added, vocabulary.unknown)?;
    let replaced = |id: usize| first.iter().any(|(_, token)| token.id as usize == id);
    let pieces = || vocabulary.tokens.iter().zip(0u32..).map(|(piece, id)| (piece.as_slice(), id));
    let lattice = Trie::new(pieces().filter(|(_, id)| in_lattice(kinds[*id as usize]) && !replaced(*id as usize)));
    let user_defined = symbols == Symbols::InNormalized && of_kind(TokenKind::UserDefined).next().is_some();
    let kept =
        user_defined.then(|| Trie::new(pieces().filter(|(_, id)| kinds[*id as usize] == TokenKind::UserDefined)));
    let add_space = vocabulary.add_space_prefix.unwrap_or(true);
    let removes = vocabulary.remove_extra_whitespaces.unwrap_or(true);
    let normalizer = PieceNormalizer {
        charsmap: charsmap(&vocabulary)?,
        kept,
        add_space,
        at_start_only: additions.prefix_first,
        remove_extra_spaces: removes,
    };
    let merger = Unigram {
        pieces: lattice,
        scores,
        lowest,
        unknown: vocabulary.unknown,
        bytes: bytes.iter().all(Option::is_some).then_some(bytes),
        fuse_unknown: true,
        single_precision: symbols == Symbols::InNormalized,
    };
    let over: Vec<(String, u32)> = first.iter().map(|(spelling, token)| (spelling.clone(), token.id)).collect();
    first.append(&mut raw);
    let parts = Parts {
        tokens,
        added: AddedTokens::new(first)?,
        normalized_added: AddedTokens::default(),
        normalizers: vec![Normalizer::Pieces(Box::new(normalizer))],
        steps: Vec::new(),
        merger: Merger::Lattice(merger),
        joining: Joining::Pieces(match (removes, add_space) {
            (true, _) => FirstSpace::AllDropped,
            (false, true) => FirstSpace::Dropped,
            (false, false) => FirstSpace::Kept,
        }),
        add_bos: false,
        notes: Vec::new(),
    };
    if symbols == Symbols::InText && vocabulary.add_eos.is_none() {
        vocabulary.add_eos = Some(true);
    }
    let mut tokenizer = finish(&vocabulary, parts);
    // A spelling that a piece has too is the added token's.
    for (spelling, id) in over {
        tokenizer.by_spelling.insert(spelling.as_bytes(), id);
    }
    Ok(tokenizer)
}

/// The table of replacements, where the file has one.
pub(super) fn charsmap(vocabulary: &Vocabulary) -> Result<Option<Charsmap>, TextError> {
    let bytes = &vocabulary.precompiled_charsmap;
    if bytes.is_empty() { Ok(None) } else { Charsmap::new(bytes).map(Some) }
}
