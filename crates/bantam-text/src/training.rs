//! Learning a tokenizer from text: byte-level BPE (Sennrich et al. 2016; on bytes, Radford et al. 2019).
//!
//! The pair of neighbours that occurs most often becomes a token, again and again, until the vocabulary is full; pairs
//! that occur equally often go by their ids, the smaller first. That is what PyPI `tokenizers` does with its `BpeTrainer`,
//! whose merges the tests compare. Ids are handed out in its order too: special tokens, the 256 bytes by the characters
//! that spell them, then the tokens made. Tokens that match before any merging stand behind the special ones.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use aho_corasick::{AhoCorasick, MatchKind};

use crate::error::TextError;
use crate::tokenizer::{Map, PreTokenizer, byte_to_char};
use crate::vocabulary::{TokenKind, Vocabulary};

/// The most tokens of a vocabulary, special ones and bytes included.
const LARGEST: usize = 1 << 24;

/// The pre-tokenizer of new vocabularies where no other is asked for: the oldest, which every program knows.
pub const USUAL_PRE_TOKENIZER: &str = "gpt-2";

/// What a vocabulary is to be like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BpeOptions {
    /// Tokens in all: special ones, 256 bytes, and as many merges as there is room for.
    pub size: usize,
    /// The spellings of special tokens, which get the first ids.
    pub specials: Vec<String>,
    /// The spellings of tokens that always match their own text, before any merging; they get the ids behind the special ones.
    pub user_defined: Vec<String>,
    /// A pair that occurs less often becomes no token.
    pub least_count: u64,
}

/// Counts the words of texts, then learns merges from them.
#[derive(Debug)]
pub struct BpeTrainer {
    pre_tokenizer: String,
    cut: PreTokenizer,
    /// Tokens that are taken out of a text before it is cut into words.
    taken_out: Option<AhoCorasick>,
    counts: Map<Box<[u8]>, u64>,
}

impl BpeTrainer {
    /// A trainer whose words are cut by the pre-tokenizer of this name (`gpt-2`, `llama-bpe`, `smollm`…), which the
    /// vocabulary then carries.
    ///
    /// # Errors
    /// [`TextError::Unsupported`] for a name that is not known.
    pub fn new(pre_tokenizer: &str) -> Result<Self, TextError> {
        Ok(Self {
            pre_tokenizer: pre_tokenizer.to_owned(),
            cut: PreTokenizer::named(pre_tokenizer)?,
            taken_out: None,
            counts: Map::default(),
        })
    }

    /// Takes these spellings out of every text, as a tokenizer that has them as tokens will: what stands beside them is
    /// counted, they are not.
    ///
    /// # Errors
    /// [`TextError::Vocabulary`] where one is empty, or they are too many to look for.
    pub fn taking_out(mut self, spellings: &[String]) -> Result<Self, TextError> {
        if spellings.iter().any(String::is_empty) {
            return Err(TextError::Vocabulary("a token's spelling is empty".to_owned()));
        }
        let found = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(spellings);
        self.taken_out = Some(found.map_err(|error| TextError::Vocabulary(error.to_string()))?);
        Ok(self)
    }

    /// Counts the words of one text: a line, a document, whatever belongs together.
    ///
    /// # Errors
    /// [`TextError::Pattern`] as [`Tokenizer::encode`](crate::Tokenizer::encode).
    pub fn feed(&mut self, text: &str) -> Result<(), TextError> {
        let mut from = 0;
        if let Some(taken_out) = self.taken_out.clone() {
            for found in taken_out.find_iter(text) {
                self.count(&text[from..found.start()])?;
                from = found.end();
            }
        }
        self.count(&text[from..])
    }

    fn count(&mut self, text: &str) -> Result<(), TextError> {
        if text.is_empty() {
            return Ok(());
        }
        for word in self.cut.words(text)? {
            match self.counts.get_mut(word.as_slice()) {
                Some(count) => *count += 1,
                None => {
                    self.counts.insert(word.into_boxed_slice(), 1);
                }
            }
        }
        Ok(())
    }

    /// The vocabulary learnt; smaller than asked for where the text has no more pairs. `progress` hears of every token
    /// made.
    ///
    /// # Errors
    /// [`TextError::Vocabulary`] where the size leaves no room for bytes and special tokens, or two of these are one.
    pub fn finish(self, options: &BpeOptions, mut progress: impl FnMut(usize)) -> Result<Vocabulary, TextError> {
        let mut learning = Learning::new(self.counts, options)?;
        while learning.tokens.len() < options.size && learning.merge_best(options.least_count) {
            progress(learning.tokens.len());
        }
        let mut types = vec![TokenKind::Normal.number(); learning.tokens.len()];
        let (specials, user_defined) = (options.specials.len(), options.user_defined.len());
        types[..specials].fill(TokenKind::Control.number());
        types[specials..specials + user_defined].fill(TokenKind::UserDefined.number());
        Ok(Vocabulary {
            model: "gpt2".to_owned(),
            pre: Some(self.pre_tokenizer),
            merges: learning.merges.iter().collect(),
            tokens: learning.tokens.into_iter().map(String::into_bytes).collect(),
            types,
            ..Vocabulary::default()
        })
    }
}

type Pair = (u32, u32);

/// A word of the text as tokens so far, and how often it occurs.
struct Word {
    tokens: Vec<u32>,
    count: i64,
}

struct Learning {
    /// Spellings in GPT-2's characters for bytes, by id.
    tokens: Vec<String>,
    ids: Map<String, u32>,
    merges: Vec<String>,
    words: Vec<Word>,
    /// How often a pair of neighbours occurs; a pair that was merged is gone.
    counts: Map<Pair, i64>,
    /// Words that had the pair when it was counted: all that have it, and some that no longer do.
    places: Map<Pair, Vec<u32>>,
    /// By count, then the smaller pair. A count that has changed since is put right when it comes up.
    queue: BinaryHeap<(i64, Reverse<Pair>)>,
}

impl Learning {
    fn new(counted: Map<Box<[u8]>, u64>, options: &BpeOptions) -> Result<Self, TextError> {
        let wrong = |problem: String| Err(TextError::Vocabulary(problem));
        let first_byte = options.specials.len() + options.user_defined.len();
        if options.size < first_byte + 256 || options.size > LARGEST {
            return wrong(format!(
                "{} tokens asked for, expected {} (256 bytes and {first_byte} tokens given) to {LARGEST}",
                options.size,
                first_byte + 256
            ));
        }
        let mut letters: Vec<(char, u8)> = (0..=255).map(|byte| (byte_to_char(byte), byte)).collect();
        letters.sort_unstable();
        let tokens: Vec<String> = options
            .specials
            .iter()
            .chain(&options.user_defined)
            .cloned()
            .chain(letters.iter().map(|(letter, _)| letter.to_string()))
            .collect();
        let mut ids = Map::default();
        let mut by_byte = [0u32; 256];
        for (id, token) in (0u32..).zip(&tokens) {
            if token.is_empty() || ids.insert(token.clone(), id).is_some() {
                return wrong(format!("token {token:?} is empty, stands twice or spells a byte"));
            }
        }
        for ((_, byte), id) in letters.iter().zip(u32::try_from(first_byte).unwrap_or(u32::MAX)..) {
            by_byte[usize::from(*byte)] = id;
        }
        let mut words: Vec<Word> = counted
            .into_iter()
            .map(|(bytes, count)| Word {
                tokens: bytes.iter().map(|byte| by_byte[usize::from(*byte)]).collect(),
                count: i64::try_from(count).unwrap_or(i64::MAX),
            })
            .collect();
        // Whatever the table's order was.
        words.sort_unstable_by(|one, other| one.tokens.cmp(&other.tokens));
        let mut learning = Self {
            tokens,
            ids,
            merges: Vec::new(),
            words: Vec::new(),
            counts: Map::default(),
            places: Map::default(),
            queue: BinaryHeap::new(),
        };
        for (place, word) in (0u32..).zip(&words) {
            for pair in word.tokens.windows(2).map(|pair| (pair[0], pair[1])) {
                learning.count(pair, word.count, place);
            }
        }
        learning.words = words;
        learning.queue = learning.counts.iter().map(|(pair, count)| (*count, Reverse(*pair))).collect();
        Ok(learning)
    }

    fn count(&mut self, pair: Pair, change: i64, place: u32) {
        let count = self.counts.entry(pair).or_default();
        *count = count.saturating_add(change);
        if change > 0 {
            let places = self.places.entry(pair).or_default();
            if places.last() != Some(&place) {
                places.push(place);
            }
        }
    }

    /// Makes a token of the pair that occurs most often; `false` where none occurs often enough.
    fn merge_best(&mut self, least_count: u64) -> bool {
        let least = i64::try_from(least_count.max(1)).unwrap_or(i64::MAX);
        while let Some((count, Reverse(pair))) = self.queue.pop() {
            let now = self.counts.get(&pair).copied().unwrap_or(0);
            if now != count {
                if now > 0 {
                    self.queue.push((now, Reverse(pair)));
                }
                continue;
            }
            if count < least {
                return false;
            }
            self.merge(pair);
            return true;
        }
        false
    }

    fn merge(&mut self, pair: Pair) {
        let [left, right] = [pair.0, pair.1].map(|id| self.tokens[id as usize].as_str());
        self.merges.push(format!("{left} {right}"));
        let spelling = format!("{left}{right}");
        // Two pairs may spell one token.
        let made = match self.ids.get(&spelling) {
            Some(&id) => id,
            None => {
                let id = u32::try_from(self.tokens.len()).expect("at most LARGEST tokens");
                self.ids.insert(spelling.clone(), id);
                self.tokens.push(spelling);
                id
            }
        };
        self.counts.remove(&pair);
        let mut places = self.places.remove(&pair).unwrap_or_default();
        places.sort_unstable();
        places.dedup();
        let mut changes = Vec::new();
        for place in places {
            let word = &mut self.words[place as usize];
            replace(&mut word.tokens, pair, made, &mut changes);
            let count = word.count;
            for (changed, by) in changes.drain(..) {
                if changed != pair {
                    self.count(changed, by * count, place);
                    if by > 0 {
                        // Its count may still change in this merge: what is too old is put right when it comes up.
                        self.queue.push((self.counts[&changed], Reverse(changed)));
                    }
                }
            }
        }
    }
}

/// Writes `made` for every `pair` in a word, from the left, and says which pairs of neighbours came and went.
fn replace(tokens: &mut Vec<u32>, pair: Pair, made: u32, changes: &mut Vec<(Pair, i64)>) {
    let (mut read, mut written) = (0, 0);
    while read < tokens.len() {
        if tokens[read] == pair.0 && tokens.get(read + 1) == Some(&pair.1) {
            if written > 0 {
                let before = tokens[written - 1];
                changes.extend([((before, pair.0), -1), ((before, made), 1)]);
            }
            if let Some(&behind) = tokens.get(read + 2) {
                changes.extend([((pair.1, behind), -1), ((made, behind), 1)]);
            }
            tokens[written] = made;
            read += 2;
        } else {
            tokens[written] = tokens[read];
            read += 1;
        }
        written += 1;
    }
    tokens.truncate(written);
}
