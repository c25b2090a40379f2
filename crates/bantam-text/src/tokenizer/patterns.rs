//! Pre-tokenizers by the name that GGUF files carry in `tokenizer.ggml.pre`.
//!
//! GGUF stores no pattern, only a name, so the patterns stand here as the models' own `tokenizer.json` has them. Adding
//! one is adding a row.

use super::normalizer::{Form, Normalizer};
use super::split::{Behavior, Splitter};
use super::words::{GPT2, Step, words};
use crate::error::{TextError, shorten};

/// Conventions that go with a pre-tokenizer's name.
pub(crate) struct Row {
    names: &'static [&'static str],
    /// Each splits the pieces of the one before it; gaps and matches are both words.
    patterns: &'static [&'static str],
    /// A word that is a token is taken whole.
    pub(crate) ignore_merges: bool,
    /// BOS is added unless the file says otherwise.
    pub(crate) add_bos: bool,
    /// The model's own tokenizer composes characters first.
    nfc: bool,
    /// Split what the others left once more, after each byte has become one of GPT-2's characters.
    mapped: &'static [&'static str],
}

const PLAIN: Row = Row { names: &[], patterns: &[], ignore_merges: false, add_bos: false, nfc: false, mapped: &[] };

const CL100K: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
pub(super) const CL100K_DIGIT: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const CL100K_MARKS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const PUNCTUATED: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##;
const BLOOM: &str = r" ?[^(\s|.,!?…。，、।۔،)]+";
/// What `tokenizers` takes for runs of punctuation: that of Unicode 8, and ASCII's.
pub(crate) const PUNCTUATION: &str = r"[[\p{P}\x{166D}\x{111C9}&&\p{Age=8.0}]\$\+<=>\^~\|`]+";
/// DeepSeek's letters: Latin, Greek, Cyrillic, Georgian, Armenian, Cherokee, … case-bearing scripts, range by range.
const CASED: &str = concat!(
    r"\s?[",
    r"\x{41}-\x{5A}\x{61}-\x{7A}\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}",
    r"\x{1C4}-\x{293}\x{295}-\x{2AF}\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386}",
    r"\x{388}-\x{38A}\x{38C}\x{38E}-\x{3A1}\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-\x{556}",
    r"\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}",
    r"\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}",
    r"\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}\x{1F5D}\x{1F5F}-\x{1F7D}",
    r"\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC}\x{1FD0}-\x{1FD3}",
    r"\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}\x{2102}\x{2107}",
    r"\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124}\x{2126}\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134}",
    r"\x{2139}\x{213C}-\x{213F}\x{2145}-\x{2149}\x{214E}\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}",
    r"\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F}",
    r"\x{A771}-\x{A787}\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}",
    r"\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}\x{10400}-\x{1044F}\x{104B0}-\x{104D3}\x{104D8}-\x{104FB}",
    r"\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF}\x{1E900}-\x{1E943}",
    "]+"
);

#[rustfmt::skip]
const TABLE: &[Row] = &[
    Row {
        names: &["default"],
        patterns: &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
        ..PLAIN
    },
    Row {
        names: &["gpt-2", "phi-2", "gigachat", "a.x-4.0", "mellum", "exaone4", "trillion", "granite-docling", "jina-es",
                 "jina-de", "jina-v2-es", "jina-v2-de", "jais"],
        patterns: &[GPT2],
        ..PLAIN
    },
    Row { names: &["mpt", "olmo"], patterns: &[GPT2], nfc: true, ..PLAIN },
    Row {
        names: &["llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"],
        patterns: &[CL100K],
        ignore_merges: true,
        add_bos: true,
        ..PLAIN
    },
    Row { names: &["dbrx", "smaug-bpe", "glm4", "chatglm-bpe"], patterns: &[CL100K], ..PLAIN },
    Row {
        names: &["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"],
        patterns: &[r"\p{N}", GPT2],
        ..PLAIN
    },
    Row {
        names: &["qwen2", "deepseek-r1-qwen", "megrez", "kormo", "f2llmv2"],
        patterns: &[CL100K_DIGIT],
        nfc: true,
        ..PLAIN
    },
    Row { names: &["qwen35"], patterns: &[CL100K_MARKS], nfc: true, ..PLAIN },
    Row { names: &["stablelm2", "hunyuan", "solar-open", "grok-2"], patterns: &[CL100K_DIGIT], ..PLAIN },
    Row {
        names: &["seed-coder"],
        patterns: &[r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"],
        ..PLAIN
    },
    Row { names: &["gpt-4o", "llama4", "kanana2", "minimax-m2", "talkie"], patterns: &[O200K], ..PLAIN },
    Row { names: &["granite-embed-multi-97m"], patterns: &[O200K], ignore_merges: true, ..PLAIN },
    Row { names: &["tiny_aya", "cohere2moe"], patterns: &[r"\d{1,3}(?=(?:\d{3})*\b)", O200K], ..PLAIN },
    Row {
        names: &["minicpm5"],
        patterns: &[r"\p{N}{1,3}", r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"],
        ignore_merges: true,
        ..PLAIN
    },
    Row {
        names: &["ufakzeka"],
        patterns: &[r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"],
        ..PLAIN
    },
    Row {
        names: &["exaone-moe"],
        patterns: &[r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"],
        ..PLAIN
    },
    Row { names: &["laguna"], patterns: &[r"[^\n]+|[\n]+", CL100K_DIGIT], ..PLAIN },
    Row { names: &["tekken"], patterns: &[TEKKEN], ignore_merges: true, add_bos: true, ..PLAIN },
    Row {
        names: &["deepseek-v3", "hunyuan-dense", "joyai-llm"],
        patterns: &[r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", PUNCTUATED],
        ..PLAIN
    },
    Row {
        names: &["deepseek-llm"],
        patterns: &["[\r\n]", CASED, r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", "[一-龥ࠀ-一가-퟿]+", r"\p{N}+"],
        ..PLAIN
    },
    Row {
        names: &["deepseek-coder"],
        patterns: &["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", r"\p{N}"],
        ..PLAIN
    },
    Row {
        // Some bytes of other characters become numbers in GPT-2's alphabet, such as ².
        names: &["falcon"],
        patterns: &[PUNCTUATION, GPT2],
        mapped: &[r"\p{N}+", "[0-9][0-9][0-9]"],
        ..PLAIN
    },
    Row { names: &["bloom", "poro-chat", "gpt3-finnish"], patterns: &[BLOOM], ..PLAIN },
    Row { names: &["viking"], patterns: &[BLOOM, r"\p{N}"], ..PLAIN },
    Row {
        names: &["bailingmoe", "bailingmoe2", "llada-moe"],
        patterns: &[r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"],
        ..PLAIN
    },
];

/// The row with this name.
pub(crate) fn find(name: &str) -> Result<&'static Row, TextError> {
    TABLE
        .iter()
        .find(|row| row.names.contains(&name))
        .ok_or_else(|| TextError::Unsupported { what: "pre-tokenizer", name: shorten(name, 60) })
}

/// The name to write for patterns as a `tokenizer.json` has them, before bytes are characters and after, and whether it says all: `whole` words that are tokens,
/// and whether characters are `composed` first (which a name may leave unsaid). `None` where no name means them.
pub(crate) fn recognise(
    [patterns, mapped]: &[Vec<String>; 2],
    whole: bool,
    composed: bool,
) -> Option<(&'static str, bool)> {
    // Of names that mean the same, the one that converters write.
    const USUAL: &[&str] = &["llama-bpe"];
    let spelled: Vec<String> = patterns.iter().map(|pattern| unescaped(pattern)).collect();
    let same = |row: &&Row| {
        row.mapped.iter().eq(mapped)
            && row.ignore_merges == whole
            && row.patterns.iter().map(|pattern| unescaped(pattern)).eq(spelled.iter().cloned())
    };
    let row = TABLE.iter().filter(same).find(|row| row.nfc == composed).or_else(|| TABLE.iter().find(same))?;
    let name = row.names.iter().find(|name| USUAL.contains(name)).or(row.names.first())?;
    Some((name, row.nfc == composed))
}

/// What goes by a name, for other kinds of files.
pub(crate) struct Conventions {
    /// Each splits what the one before it left.
    pub(crate) patterns: &'static [&'static str],
    /// The same, once bytes are GPT-2's characters.
    pub(crate) mapped: &'static [&'static str],
    /// Words that are tokens are taken whole.
    pub(crate) whole: bool,
    /// Characters are composed first.
    pub(crate) composes: bool,
}

/// What goes by a name.
pub(crate) fn conventions(name: &str) -> Result<Conventions, TextError> {
    let row = find(name)?;
    let (patterns, mapped) = (row.patterns, row.mapped);
    Ok(Conventions { patterns, mapped, whole: row.ignore_merges, composes: row.nfc })
}

/// A pattern with the characters that it gives by number.
fn unescaped(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(at) = rest.find("\\x{") {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let number = from.get(3..).and_then(|digits| digits.split_once('}'));
        match number.and_then(|(digits, after)| Some((char::from_u32(u32::from_str_radix(digits, 16).ok()?)?, after))) {
            Some((character, after)) => {
                out.push(character);
                rest = after;
            }
            None => {
                out.push_str("\\x{");
                rest = from.get(3..).unwrap_or_default();
            }
        }
    }
    out + rest
}

/// Every name that is understood, those that mean the same together, for a support table.
pub fn pre_tokenizer_names() -> impl Iterator<Item = &'static [&'static str]> {
    TABLE.iter().map(|row| row.names)
}

/// What goes before merging, by a name of [`pre_tokenizer_names`].
#[derive(Debug)]
pub struct PreTokenizer {
    normalizers: Vec<Normalizer>,
    steps: Vec<Step>,
}

impl PreTokenizer {
    /// The one of this name, its patterns compiled.
    ///
    /// # Errors
    /// [`TextError::Unsupported`] for a name that is not known.
    pub fn named(name: &str) -> Result<Self, TextError> {
        let row = find(name)?;
        Ok(Self { normalizers: row.normalizers(), steps: row.steps()? })
    }

    /// Cuts a text into words, each as its bytes: what merging never crosses.
    ///
    /// # Errors
    /// [`TextError::Pattern`] as [`Tokenizer::encode`](crate::Tokenizer::encode).
    pub fn words(&self, text: &str) -> Result<Vec<Vec<u8>>, TextError> {
        let mut text = text.to_owned();
        for normalizer in &self.normalizers {
            text = normalizer.apply(text, true)?;
        }
        let mut found = Vec::new();
        words(&text, true, &self.steps)?.each(|word| {
            found.push(word.to_vec());
            Ok(())
        })?;
        Ok(found)
    }
}

impl Row {
    /// The steps that cut a text into words.
    pub(crate) fn steps(&self) -> Result<Vec<Step>, TextError> {
        let mut steps = Vec::with_capacity(self.patterns.len() + 1);
        let split = |pattern: &&str| {
            Ok(Step::Split { pattern: Splitter::regex(pattern)?, behavior: Behavior::Isolated, invert: false })
        };
        for pattern in self.patterns {
            steps.push(split(pattern)?);
        }
        steps.push(Step::ByteLevel { prefix_space: false, pattern: None });
        for pattern in self.mapped {
            steps.push(split(pattern)?);
        }
        Ok(steps)
    }

    /// What happens to the text before.
    pub(crate) fn normalizers(&self) -> Vec<Normalizer> {
        if self.nfc { vec![Normalizer::Form(Form::Nfc)] } else { Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_compiles_and_every_name_is_said_once() {
        let mut seen = std::collections::BTreeSet::new();
        for row in TABLE {
            row.steps().expect("a pattern of the table compiles");
            assert!(row.names.iter().all(|name| seen.insert(name)));
        }
    }
}
