//! A tokenizer from the vocabulary in GGUF metadata (and, by the same road, from `tokenizer.model`).

use super::added::{AddedToken, AddedTokens};
use super::bpe::{Alphabet, Bpe};
use super::bytes::{byte_token, unmap, unmap_into};
use super::companions::{Added, check_largest};
use super::gguf_words::{character_bpe, charsmap, unigram, wordpiece};
use super::normalizer::Normalizer;
use super::pieces::PieceNormalizer;
use super::sentencepiece::{SPACE, ScoreBpe};
use super::spellings::Spellings;
use super::split::Splitter;
use super::trie::Trie;
use super::{Ends, FirstSpace, Joining, Map, Merger, Token, Tokenizer, patterns};
use crate::error::{TextError, shorten};
use crate::vocabulary::{TokenKind, Vocabulary};

impl Tokenizer {
    /// Builds the tokenizer a GGUF file describes.
    ///
    /// # Errors
    /// [`TextError::Unsupported`] names a model or pre-tokenizer that is not known; [`TextError::Vocabulary`] says what
    /// contradicts itself.
    pub fn from_vocabulary(vocabulary: Vocabulary) -> Result<Tokenizer, TextError> {
        check(&vocabulary)?;
        match vocabulary.model.as_str() {
            "llama" => score_bpe(vocabulary, Symbols::InText, Additions::default()),
            "gpt2" => byte_bpe(vocabulary),
            "gemma4" => character_bpe(vocabulary),
            "bert" => wordpiece(vocabulary),
            "t5" => unigram(vocabulary, Symbols::InText, Additions::default()),
            other => Err(TextError::Unsupported { what: "tokenizer model", name: shorten(other, 60) }),
        }
    }
}

pub(super) fn check(vocabulary: &Vocabulary) -> Result<(), TextError> {
    let len = vocabulary.tokens.len();
    let refuse = |reason: String| Err(TextError::Vocabulary(reason));
    if len == 0 {
        return refuse("no tokens".to_owned());
    }
    if u32::try_from(len).is_err() {
        return refuse(format!("{len} tokens are more than ids can count"));
    }
    for (what, found) in [("scores", vocabulary.scores.len()), ("token types", vocabulary.types.len())] {
        if found != 0 && found < len {
            return refuse(format!("{found} {what} for {len} tokens"));
        }
    }
    for (what, id) in [
        ("bos", vocabulary.bos),
        ("eos", vocabulary.eos),
        ("eot", vocabulary.eot),
        ("eom", vocabulary.eom),
        ("unknown", vocabulary.unknown),
        ("padding", vocabulary.padding),
        ("separator", vocabulary.separator),
        ("mask", vocabulary.mask),
        ("cls", vocabulary.class),
    ] {
        if let Some(id) = id
            && id as usize >= len
        {
            return refuse(format!("the {what} token is {id}, but there are {len} tokens"));
        }
    }
    Ok(())
}

pub(super) fn kind_of(vocabulary: &Vocabulary, id: usize) -> TokenKind {
    vocabulary.types.get(id).map_or(TokenKind::Normal, |&number| TokenKind::from_number(number))
}

/// Some models strip white space behind their special tokens; GGUF has no key for it, the model's name tells.
fn strips_right(vocabulary: &Vocabulary, spelling: &str) -> bool {
    let name = vocabulary.name.as_deref().unwrap_or("").to_lowercase();
    (name.contains("phi-3") || name.contains("phi3")) && !matches!(spelling, "<unk>" | "<s>" | "<|endoftext|>")
}

pub(super) fn added_token(vocabulary: &Vocabulary, id: usize) -> Option<AddedToken> {
    let kind = kind_of(vocabulary, id);
    let special = match kind {
        TokenKind::Control | TokenKind::Unknown => true,
        TokenKind::UserDefined => false,
        _ => return None,
    };
    let content = String::from_utf8(vocabulary.tokens.get(id)?.clone()).ok()?;
    let right_strip = strips_right(vocabulary, &content);
    Some(AddedToken { content, id: u32::try_from(id).ok()?, special, right_strip, ..AddedToken::default() })
}

/// Where the tokens that always match are looked for. It decides about the space written before a text: llama.cpp, whose
/// reading of GGUF is the reference for it, takes them out first and writes the space before every text between them;
/// SentencePiece writes it once and finds them behind it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Symbols {
    InText,
    InNormalized,
}

/// What a directory says about a SentencePiece model beyond the model itself.
#[derive(Default)]
pub(super) struct Additions {
    /// Tokens that are taken out of the text first; one whose id is a piece's takes its place.
    pub(super) added: Vec<Added>,
    /// The space is written where the text begins, and not behind added tokens.
    pub(super) prefix_first: bool,
}

pub(super) fn score_bpe(
    vocabulary: Vocabulary,
    symbols: Symbols,
    additions: Additions,
) -> Result<Tokenizer, TextError> {
    if vocabulary.scores.is_empty() {
        return Err(TextError::Vocabulary("a SentencePiece vocabulary needs scores, there are none".to_owned()));
    }
    if symbols == Symbols::InText && !vocabulary.precompiled_charsmap.is_empty() {
        return Err(TextError::Unsupported { what: "normalizer", name: "precompiled_charsmap".to_owned() });
    }
    let len = vocabulary.tokens.len();
    let prefix = vocabulary.add_space_prefix.unwrap_or(true);
    let mut merger = ScoreBpe {
        by_bytes: Spellings::with_capacity(len),
        // Adding zero makes -0 and 0 the same score.
        scores: vocabulary.scores.iter().map(|score| score + 0.0).collect(),
        unused: vec![false; len],
        bytes: Box::new([None; 256]),
        unknown: vocabulary.unknown,
        longest: 0,
    };
    let mut tokens = Vec::with_capacity(len);
    let (mut raw, mut escaped) = (Vec::new(), Vec::new());
    let replaced: Map<u32, ()> = additions.added.iter().map(|token| (token.id, ())).collect();
    for (id, spelling) in vocabulary.tokens.iter().enumerate() {
        let kind = kind_of(&vocabulary, id);
        let number = u32::try_from(id).unwrap_or(u32::MAX);
        if replaced.contains_key(&number) {
            tokens.push(None);
            continue;
        }
        let mut text = None;
        match kind {
            TokenKind::Byte => {
                let byte = byte_token(spelling).ok_or_else(|| {
                    TextError::Vocabulary(format!(
                        "byte token {id} is spelled {:?}, expected <0x00> to <0xFF>",
                        shorten(&String::from_utf8_lossy(spelling), 40)
                    ))
                })?;
                merger.bytes[usize::from(byte)].get_or_insert(number);
                text = Some(vec![byte].into_boxed_slice());
            }
            TokenKind::Normal | TokenKind::UserDefined | TokenKind::Unused => {
                merger.longest = merger.longest.max(spelling.len());
                merger.by_bytes.insert_first(spelling, number);
                merger.unused[id] = kind == TokenKind::Unused;
                if let Ok(plain) = std::str::from_utf8(spelling)
                    && plain.contains(SPACE)
                {
                    text = Some(plain.replace(SPACE, " ").into_bytes().into_boxed_slice());
                }
            }
            TokenKind::Control | TokenKind::Unknown => {}
        }
        if let Some(mut token) = added_token(&vocabulary, id) {
            // Spellings with visible spaces can only be found once the text's spaces are visible too.
            let normalized = symbols == Symbols::InNormalized || token.content.contains(SPACE);
            if !token.special && normalized {
                token.normalized = true;
                escaped.push((token.content.replace(' ', SPACE), token));
            } else {
                raw.push((token.content.clone(), token));
            }
        }
        tokens.push(Some(Token { spelling: spelling.as_slice().into(), text, kind }));
    }
    let mut first = place_added(&mut tokens, additions.added, vocabulary.unknown)?;
    first.append(&mut raw);
    let mut normalizers = Vec::new();
    let removes = vocabulary.remove_extra_whitespaces == Some(true);
    if symbols == Symbols::InNormalized && (removes || !vocabulary.precompiled_charsmap.is_empty()) {
        let user_defined = vocabulary
            .tokens
            .iter()
            .zip(0u32..)
            .filter(|(_, id)| kind_of(&vocabulary, *id as usize) == TokenKind::UserDefined);
        normalizers.push(Normalizer::Pieces(Box::new(PieceNormalizer {
            charsmap: charsmap(&vocabulary)?,
            kept: Some(Trie::new(user_defined.map(|(piece, id)| (piece.as_slice(), id)))),
            add_space: prefix,
            at_start_only: additions.prefix_first,
            remove_extra_spaces: removes,
        })));
    } else {
        if prefix && additions.prefix_first {
            normalizers.push(Normalizer::PrependFirst(SPACE.to_owned()));
        } else if prefix {
            normalizers.push(Normalizer::Prepend(SPACE.to_owned()));
        }
        normalizers.push(Normalizer::Replace { pattern: Splitter::literal(" "), with: SPACE.to_owned() });
    }
    let parts = Parts {
        tokens,
        added: AddedTokens::new(first)?,
        normalized_added: AddedTokens::new(escaped)?,
        normalizers,
        steps: Vec::new(),
        merger: Merger::Scores(merger),
        joining: Joining::Pieces(match (removes && symbols == Symbols::InNormalized, prefix) {
            (true, _) => FirstSpace::AllDropped,
            (false, true) => FirstSpace::Dropped,
            (false, false) => FirstSpace::Kept,
        }),
        add_bos: true,
        notes: Vec::new(),
    };
    let mut tokenizer = finish(&vocabulary, parts);
    // A spelling that a piece has too is the added token's.
    for &id in replaced.keys() {
        if let Some(spelling) = tokenizer.token(id).map(|token| token.spelling.clone()) {
            tokenizer.by_spelling.insert(&spelling, id);
        }
    }
    Ok(tokenizer)
}

/// Puts added tokens at their ids, over what stands there; gives them with the spellings to look for.
pub(super) fn place_added(
    tokens: &mut Vec<Option<Token>>,
    added: Vec<Added>,
    unknown: Option<u32>,
) -> Result<Vec<(String, AddedToken)>, TextError> {
    let largest = added.iter().map(|token| token.id).max().unwrap_or(0);
    check_largest(largest, tokens.len() + added.len())?;
    tokens.resize(tokens.len().max(largest as usize + 1), None);
    let mut placed = Vec::with_capacity(added.len());
    for token in added {
        let kind = match token.special {
            _ if unknown == Some(token.id) => TokenKind::Unknown,
            true => TokenKind::Control,
            false => TokenKind::UserDefined,
        };
        tokens[token.id as usize] = Some(Token { spelling: token.content.as_bytes().into(), text: None, kind });
        placed.push((token.content.clone(), AddedToken::from(token)));
    }
    Ok(placed)
}

/// Adds the vocabulary's merges, whose sides are spelled as its tokens are or, with `byte_level`, by characters for bytes.
pub(super) fn add_merges(merger: &mut Bpe, vocabulary: &Vocabulary, byte_level: bool) -> Result<(), TextError> {
    let (mut left, mut right, mut joined) = (Vec::new(), Vec::new(), Vec::new());
    for (rank, merge) in vocabulary.merges.iter().enumerate() {
        // The space that separates is never the first character: a token may be a space itself.
        let space = merge.char_indices().skip(1).find(|&(_, c)| c == ' ').map(|(at, _)| at).ok_or_else(|| {
            TextError::Vocabulary(format!("merge {rank} is {:?}, expected two tokens and a space", shorten(merge, 60)))
        })?;
        let sides = (&merge.as_bytes()[..space], &merge.as_bytes()[space + 1..]);
        if byte_level {
            left.clear();
            right.clear();
            unmap_into(sides.0, &mut left);
            unmap_into(sides.1, &mut right);
            merger.add_merge(rank, (&left, &right), true, &mut joined)?;
        } else {
            merger.add_merge(rank, sides, true, &mut joined)?;
        }
    }
    Ok(())
}

fn byte_bpe(vocabulary: Vocabulary) -> Result<Tokenizer, TextError> {
    let pre = patterns::find(vocabulary.pre.as_deref().unwrap_or("default"))?;
    let mut notes = Vec::new();
    if vocabulary.pre.is_none() {
        notes.push("the file names no pre-tokenizer; the default one is used".to_owned());
    }
    let len = vocabulary.tokens.len();
    let mut by_bytes = Spellings::with_capacity(len);
    let mut tokens = Vec::with_capacity(len);
    let (mut raw, mut bytes) = (Vec::new(), Vec::new());
    for (id, spelling) in vocabulary.tokens.iter().enumerate() {
        let kind = kind_of(&vocabulary, id);
        let number = u32::try_from(id).unwrap_or(u32::MAX);
        let mut text = None;
        if matches!(kind, TokenKind::Normal | TokenKind::Unused | TokenKind::Byte) {
            bytes.clear();
            unmap_into(spelling, &mut bytes);
            by_bytes.insert_first(&bytes, number);
            text = (bytes != *spelling).then(|| bytes.as_slice().into());
        }
        raw.extend(added_token(&vocabulary, id).map(|token| (token.content.clone(), token)));
        tokens.push(Some(Token { spelling: spelling.as_slice().into(), text, kind }));
    }
    // Added tokens take part in merging too, if the merges name them; ordinary ones come first.
    for (id, spelling) in vocabulary.tokens.iter().enumerate() {
        if kind_of(&vocabulary, id) == TokenKind::UserDefined {
            by_bytes.insert_first(&unmap(spelling), u32::try_from(id).unwrap_or(u32::MAX));
        }
    }
    let mut alphabet = Box::new([None; 256]);
    for byte in 0..=255u8 {
        alphabet[usize::from(byte)] = by_bytes.get(&[byte]);
    }
    let mut merger = Bpe {
        by_bytes,
        merges: Map::with_capacity_and_hasher(vocabulary.merges.len(), Default::default()),
        alphabet: Alphabet::Bytes(alphabet),
        unknown: None,
        fuse_unknown: false,
        ignore_merges: pre.ignore_merges,
        continuing_prefix: Vec::new(),
        word_suffix: Vec::new(),
    };
    add_merges(&mut merger, &vocabulary, true)?;
    let parts = Parts {
        tokens,
        added: AddedTokens::new(raw)?,
        normalized_added: AddedTokens::default(),
        normalizers: pre.normalizers(),
        steps: pre.steps()?,
        merger: Merger::Ranks(merger),
        joining: Joining::Bytes,
        add_bos: pre.add_bos,
        notes,
    };
    Ok(finish(&vocabulary, parts))
}

pub(super) struct Parts {
    pub(super) tokens: Vec<Option<Token>>,
    pub(super) added: AddedTokens,
    pub(super) normalized_added: AddedTokens,
    pub(super) normalizers: Vec<Normalizer>,
    pub(super) steps: Vec<super::Step>,
    pub(super) merger: Merger,
    pub(super) joining: Joining,
    pub(super) add_bos: bool,
    pub(super) notes: Vec<String>,
}

pub(super) fn finish(vocabulary: &Vocabulary, parts: Parts) -> Tokenizer {
    let by_spelling = super::by_spelling(&parts.tokens);
    let prefix = if vocabulary.add_bos.unwrap_or(parts.add_bos) { vocabulary.bos } else { None };
    let suffix = if vocabulary.add_eos.unwrap_or(false) { vocabulary.eos } else { None };
    let mut tokenizer = Tokenizer {
        tokens: parts.tokens,
        by_spelling,
        added: parts.added,
        normalized_added: parts.normalized_added,
        normalizers: parts.normalizers,
        steps: parts.steps,
        merger: parts.merger,
        joining: parts.joining,
        ends: Ends {
            bos: vocabulary.bos,
            eos: vocabulary.eos,
            unknown: vocabulary.unknown,
            padding: vocabulary.padding,
            prefix: prefix.into_iter().collect(),
            suffix: suffix.into_iter().collect(),
            end_of_generation: Vec::new(),
        },
        notes: parts.notes,
    };
    let named: Vec<u32> = [vocabulary.eot, vocabulary.eom].into_iter().flatten().collect();
    tokenizer.gather_ends(&named);
    tokenizer
}
