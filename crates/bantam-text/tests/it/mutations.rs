//! Damaged templates, tokenizers and vocabularies give errors or other results, and never a panic.
//!
//! `BANTAM_MUTATIONS` sets how many of each; the same number always makes the same damage.

use bantam_text::{ChatInput, ChatTemplate, HfFiles, Special, Tokenizer, Vocabulary};
use serde_json::{Value, json};

use crate::shared;

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

fn count(default: usize) -> usize {
    std::env::var("BANTAM_MUTATIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(default)
}

/// Replaces, removes, repeats or inserts a few stretches; `words` are what insertions are made of.
fn damage(source: &str, words: &[&str], random: &mut Random) -> String {
    let mut text: Vec<char> = source.chars().collect();
    for _ in 0..=random.below(4) {
        let at = random.below(text.len());
        let end = (at + random.below(12)).min(text.len());
        match random.below(5) {
            0 => drop(text.drain(at..end)),
            1 => {
                let part: Vec<char> = text[at..end].to_vec();
                let to = random.below(text.len());
                text.splice(to..to, part);
            }
            2 => {
                let word = words[random.below(words.len())];
                text.splice(at..at, word.chars());
            }
            3 => {
                let word = words[random.below(words.len())];
                text.splice(at..end, word.chars());
            }
            _ => {
                if let Some(character) = text.get_mut(at) {
                    *character = char::from_u32(random.below(0x250) as u32).unwrap_or('x');
                }
            }
        }
    }
    text.into_iter().collect()
}

#[test]
fn damaged_templates_never_panic() {
    const WORDS: &[&str] = &[
        "{{",
        "}}",
        "{%",
        "%}",
        "{#",
        "#}",
        "-",
        "+",
        " if ",
        " else ",
        "endif",
        "endfor",
        "messages",
        "loop",
        "[",
        "]",
        "[::-1]",
        "[-1]",
        "(",
        ")",
        "|",
        "|length",
        "|tojson",
        "|list",
        "|int",
        "|sort",
        "|map",
        "|first",
        ".",
        "..",
        ",",
        ":",
        "'",
        "\"",
        "\\",
        "*",
        "**",
        "//",
        "%",
        "~",
        "==",
        "<",
        " in ",
        " is ",
        " not ",
        "none",
        "true",
        "9223372036854775807",
        "-9223372036854775808",
        "1e308",
        "0",
        "99999999999999999999",
        "range(9)",
        ".split('')",
        ".strip()",
        "namespace()",
        "{% raw %}",
        "{% endraw %}",
        "{% macro f(a) %}",
        "{% endmacro %}",
        "{{ f() }}",
        "é",
        "\u{2028}",
        "'%s' % ",
        "'{}'.format(",
    ];
    let snippets: Value = serde_json::from_str(include_str!("../data/jinja_snippets.json")).unwrap();
    let mut sources: Vec<String> = snippets["goldens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|golden| golden["source"].as_str().unwrap().to_owned())
        .collect();
    if let Some(folder) = shared("data/chat-templates") {
        let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        sources.extend(names.iter().map(|path| std::fs::read_to_string(path).unwrap()));
    }
    let chat = ChatInput {
        messages: json!([{"role": "system", "content": "s"}, {"role": "user", "content": "<x> é"}, {"role": "assistant", "content": "b"}]),
        tools: Some(
            json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]),
        ),
        variables: snippets["variables"].as_object().unwrap().clone(),
        ..ChatInput::default()
    };
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut rendered = 0;
    for _ in 0..count(3_000) {
        let source = damage(&sources[random.below(sources.len())], WORDS, &mut random);
        let found = ChatTemplate::new(&source, "<s>", "</s>", "damaged").and_then(|template| template.render(&chat));
        rendered += usize::from(found.is_ok());
    }
    println!("{rendered} of {} rendered", count(3_000));
}

#[test]
fn damaged_tokenizers_never_panic() {
    const WORDS: &[&str] = &[
        "null",
        "true",
        "[]",
        "{}",
        "\"\"",
        "-1",
        "4294967295",
        "1e9",
        ",",
        ":",
        "\"",
        "\\u0000",
        "\\ud800",
        "Regex",
        "String",
        "(?",
        "\\\\p{L}+",
        "(?!",
        "*",
        "{9999}",
        "Ġ",
        "▁",
        "<0x0A>",
        "ByteLevel",
        "Metaspace",
        "Removed",
        "\"invert\":true,",
        "\"byte_fallback\":true,",
        "\"ignore_merges\":true,",
    ];
    let words = include_str!("../data/words.jsonl").lines();
    let sources: Vec<&str> = include_str!("../data/tokenizers.jsonl").lines().chain(words).collect();
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut loaded = 0;
    for _ in 0..count(1_000) {
        let variant: Value = serde_json::from_str(sources[random.below(sources.len())]).unwrap();
        let text = variant["rows"][random.below(10)][0].as_str().unwrap().to_owned();
        let source = damage(&variant["tokenizer"].to_string(), WORDS, &mut random);
        let Ok(tokenizer) = Tokenizer::from_json(source.as_bytes(), HfFiles::default()) else { continue };
        loaded += 1;
        for special in [Special::AsText, Special::Parse] {
            if let Ok(ids) = tokenizer.encode(&text, special) {
                tokenizer.decode(&ids, false).unwrap();
                tokenizer.pieces(&ids).unwrap();
            }
        }
    }
    println!("{loaded} of {} loaded", count(1_000));
}

#[test]
fn damaged_vocabularies_never_panic() {
    let mut random = Random(0x0123_4567_89ab_cdef);
    const TOKENS: &[&str] =
        &["a", "b", "ab", "▁", "▁a", "<0x61>", "<0xZZ>", "<s>", "", "é", "Ġ", "Ġa", "<unk>", "\u{0}"];
    const PRE: &[Option<&str>] =
        &[None, Some("default"), Some("gpt-2"), Some("llama-bpe"), Some("none such"), Some("falcon")];
    for _ in 0..count(1_000) {
        let len = random.below(TOKENS.len() + 3);
        let number = |random: &mut Random| random.below(2).eq(&0).then(|| random.below(20) as u32);
        let vocabulary = Vocabulary {
            model: ["llama", "gpt2", "bert", "t5", "gemma4", ""][random.below(6)].to_owned(),
            precompiled_charsmap: (0..random.below(2) * 40).map(|_| [0, 0, 0, 4, 8, 97][random.below(6)]).collect(),
            class: number(&mut random),
            separator: number(&mut random),
            pre: PRE[random.below(PRE.len())].map(str::to_owned),
            tokens: (0..len)
                .map(|_| TOKENS[random.below(TOKENS.len())].as_bytes().to_vec())
                .chain([vec![0xff, 0xfe]])
                .collect(),
            scores: (0..random.below(2) * 20)
                .map(|_| [f32::NAN, 0.0, -0.0, 1.5, f32::INFINITY][random.below(5)])
                .collect(),
            types: (0..random.below(2) * 20).map(|_| random.below(9) as i32 - 1).collect(),
            merges: (0..random.below(4))
                .map(|_| ["a b", "ab", "", " ", "a  b", "Ġ a"][random.below(6)].to_owned())
                .collect(),
            bos: number(&mut random),
            eos: number(&mut random),
            unknown: number(&mut random),
            ..Vocabulary::default()
        };
        let Ok(tokenizer) = Tokenizer::from_vocabulary(vocabulary) else { continue };
        for text in ["", "a b ab", " é\u{0}<s>", "ababababababababababababababababababababab"] {
            // What has no token, where there is none for that either, is an error.
            let Ok(ids) = tokenizer.encode_with_ends(text, Special::Parse) else { continue };
            tokenizer.decode(&ids, true).unwrap();
        }
    }
}

#[test]
fn damaged_sentencepiece_models_and_companions_never_panic() {
    let models = include_str!("../data/sentencepiece_unigram.jsonl").lines();
    let models: Vec<Vec<u8>> = models
        .map(|line| {
            let record: Value = serde_json::from_str(line).unwrap();
            let digits = record["model"].as_str().unwrap().as_bytes();
            let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
            digits.chunks(2).map(byte).collect()
        })
        .collect();
    const TEXTS: &[&str] =
        &["", " the\u{a0}of  e\u{301} ÄBC\u{2167}", "<sep>é🎉\u{200b}\u{0} x", "aaaaaaaaaaaaaaaaaaaaaaaa"];
    const WORDS: &[&str] = &["\"", ",", ":", "{", "}", "0", "9", "4294967295", "-1", "the", "null", "[]", "\\u0000"];
    let mut random = Random(0x0bad_cafe_1234_5678);
    let mut loaded = 0;
    for _ in 0..count(1_000) {
        let mut model = models[random.below(models.len())].clone();
        for _ in 0..random.below(4) {
            let at = random.below(model.len());
            match random.below(3) {
                _ if model.is_empty() => {}
                0 => model[at] = random.below(256) as u8,
                1 => drop(model.drain(at..(at + random.below(9)).min(model.len()))),
                _ => model.truncate(at.max(1)),
            }
        }
        let added = damage(r#"{"the": 3, "<x>": 400, " y": 401, "of": 9}"#, WORDS, &mut random);
        let files = HfFiles { added_tokens: Some(added.as_bytes()), ..HfFiles::default() };
        let vocab = damage("[UNK]\n[CLS]\n[SEP]\nthe\n##e\nof\na\n##a\n", WORDS, &mut random);
        let found = [
            Tokenizer::from_sentencepiece(&model),
            Tokenizer::from_sentencepiece_directory(&model, files),
            Tokenizer::from_vocab_txt(vocab.as_bytes(), files),
        ];
        for tokenizer in found.into_iter().flatten() {
            loaded += 1;
            for text in TEXTS {
                let Ok(ids) = tokenizer.encode_with_ends(text, Special::Parse) else { continue };
                tokenizer.decode(&ids, false).unwrap();
            }
        }
    }
    println!("{loaded} of {} loaded", 3 * count(1_000));
}
