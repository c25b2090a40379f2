//! Tokenizers: `tokenizer.json` and its older companions, a SentencePiece model, and the vocabulary in GGUF metadata.

use bantam_formats::gguf::{Array, Gguf, GgufWriter, Strings};
use bantam_testkit::mutate::Region;
use bantam_text::{Detokenizer, HfFiles, Special, Tokenizer, Vocabulary};

use super::Target;

pub(super) const JSON: Target = Target {
    name: "tokenizer",
    about: "tokenizer.json, and texts through what it makes",
    seeds: json_seeds,
    text: false,
    region: all,
    take: |bytes| Tokenizer::from_json(bytes, HfFiles::default()).is_ok_and(|tokenizer| use_all_of(&tokenizer)),
};

pub(super) const SENTENCEPIECE: Target = Target {
    name: "sentencepiece",
    about: "tokenizer.model, and texts through what it makes",
    seeds: sentencepiece_seeds,
    text: false,
    region: all,
    take: |bytes| Tokenizer::from_sentencepiece(bytes).is_ok_and(|tokenizer| use_all_of(&tokenizer)),
};

pub(super) const VOCABULARY: Target = Target {
    name: "vocabulary",
    about: "the vocabulary in GGUF metadata, and texts through what it makes",
    seeds: vocabulary_seeds,
    text: false,
    region: all,
    take: |bytes| {
        let Ok(gguf) = Gguf::parse(bytes) else { return false };
        Tokenizer::from_vocabulary(vocabulary_of(&gguf)).is_ok_and(|tokenizer| use_all_of(&tokenizer))
    },
};

pub(super) const ADDED_TOKENS: Target = Target {
    name: "added-tokens",
    about: "added_tokens.json beside a whole tokenizer.json and tokenizer.model",
    seeds: || {
        let tokens: [&[u8]; 2] =
            [br#"{"<|end|>": 8, "<|more|>": 9, " x": 12}"#, br#"{"<pad>": 12, "[INST]": 10, "\u2581\u2581": 13}"#];
        tokens.map(<[u8]>::to_vec).into()
    },
    text: false,
    region: all,
    take: |bytes| {
        let config = br#"{"additional_special_tokens": ["<|more|>"], "eos_token": "<|end|>"}"#;
        let added_tokens = Some(bytes);
        let files = HfFiles { tokenizer_config: Some(config), added_tokens, ..HfFiles::default() };
        let by_json = Tokenizer::from_json(BYTE_LEVEL.as_bytes(), files).is_ok_and(|tokenizer| use_all_of(&tokenizer));
        let model = sentencepiece_seed();
        let by_model =
            Tokenizer::from_sentencepiece_directory(&model, files).is_ok_and(|tokenizer| use_all_of(&tokenizer));
        by_json || by_model
    },
};

pub(super) const VOCAB_TXT: Target = Target {
    name: "vocab-txt",
    about: "vocab.txt of a WordPiece directory",
    seeds: || vec![b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\n##b\nend\n##it\n\xe6\xbc\xa2\n.\n1\n##2\n".to_vec()],
    text: false,
    region: all,
    take: |bytes| Tokenizer::from_vocab_txt(bytes, HfFiles::default()).is_ok_and(|tokenizer| use_all_of(&tokenizer)),
};

/// The small tokenizers of the text crate's own tests: WordPiece and Unigram with their pipelines.
const WORDS: &str = include_str!("../../../bantam-text/tests/data/words.jsonl");
/// SentencePiece models of both kinds, with replacements.
const MODELS: &str = include_str!("../../../bantam-text/tests/data/sentencepiece_unigram.jsonl");

fn field(line: &str, key: &str) -> Option<serde_json::Value> {
    serde_json::from_str::<serde_json::Value>(line).ok()?.get_mut(key).map(serde_json::Value::take)
}

pub(super) fn sentencepiece_seeds() -> Vec<Vec<u8>> {
    let bytes = |line: &str| {
        let model = field(line, "model")?;
        let digits = model.as_str()?.as_bytes();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        digits.chunks(2).map(byte).collect::<Option<Vec<u8>>>()
    };
    std::iter::once(sentencepiece_seed()).chain(MODELS.lines().filter_map(bytes)).collect()
}

const TEXTS: [&str; 7] = [
    "",
    "ab abab  the\tend\r\n\n 1234567",
    "Ünïcode 🦊 e\u{301} 漢字 \u{0}\u{200d}",
    "<s>[INST] <|end|> </s><unk>▁<0x0A>",
    "              ",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "it's WE'LL x=y+1; // \u{202e}ok",
];

fn all(bytes: &[u8]) -> Region {
    Region { range: 0..bytes.len(), percent: 100 }
}

/// Texts to ids and back, whole and token by token, and ids that are no token's.
fn use_all_of(tokenizer: &Tokenizer) -> bool {
    let ends = [tokenizer.bos(), tokenizer.eos(), tokenizer.unknown(), tokenizer.padding()];
    let last = tokenizer.vocabulary_len() as u32;
    for text in TEXTS {
        for special in [Special::AsText, Special::Parse] {
            let Ok(ids) = tokenizer.encode(text, special) else { continue };
            for &id in &ids {
                assert!(id < last, "id {id} is outside the vocabulary of {last}");
            }
            let _ = (tokenizer.decode(&ids, true), tokenizer.pieces(&ids), tokenizer.encode_with_ends(text, special));
        }
    }
    let mut detokenizer = Detokenizer::new(tokenizer);
    for id in ends.into_iter().flatten().chain((0..last).take(300)).chain([last, u32::MAX]) {
        let _ = (detokenizer.push(id).map(str::len), tokenizer.token_text(id), tokenizer.token_kind(id));
    }
    detokenizer.finish();
    true
}

/// A byte-level tokenizer with every setting that such files have.
const BYTE_LEVEL: &str = r#"{"version":"1.0","truncation":null,"padding":null,
        "added_tokens":[{"id":8,"content":"<|end|>","single_word":false,"lstrip":false,"rstrip":true,"normalized":false,"special":true}],
        "normalizer":{"type":"NFC"},
        "pre_tokenizer":{"type":"Sequence","pretokenizers":[
            {"type":"Split","pattern":{"Regex":"(?i:'s|'t)|\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"},"behavior":"Isolated","invert":false},
            {"type":"Digits","individual_digits":true},
            {"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}]},
        "post_processor":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":false,"use_regex":true},
        "decoder":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true},
        "model":{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":"","end_of_word_suffix":"","fuse_unk":false,"byte_fallback":false,
            "vocab":{"a":0,"b":1,"Ġ":2,"ab":3,"Ġa":4,"1":5,"2":6,"abab":7},"merges":["a b","Ġ a",["ab","ab"]]}}"#;

pub(super) fn json_seeds() -> Vec<Vec<u8>> {
    let sentencepiece_like = r#"{"version":"1.0",
        "added_tokens":[{"id":0,"content":"<unk>","special":true,"normalized":false},{"id":1,"content":"<s>","special":true,"normalized":false},
            {"id":2,"content":"</s>","special":true,"normalized":true}],
        "normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},{"type":"Replace","pattern":{"String":" "},"content":"▁"}]},
        "pre_tokenizer":null,
        "post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],
            "pair":[],"special_tokens":{"<s>":{"id":"<s>","ids":[1],"tokens":["<s>"]}}},
        "decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},
            {"type":"Strip","content":" ","start":1,"stop":0}]},
        "model":{"type":"BPE","unk_token":"<unk>","fuse_unk":true,"byte_fallback":true,
            "vocab":{"<unk>":0,"<s>":1,"</s>":2,"<0x0A>":3,"<0xC3>":4,"▁":5,"a":6,"b":7,"ab":8,"▁ab":9},"merges":["a b","▁ ab"]}}"#;
    let others = WORDS.lines().filter_map(|line| field(line, "tokenizer")).map(|file| file.to_string().into_bytes());
    [BYTE_LEVEL, sentencepiece_like].map(|file| file.as_bytes().to_vec()).into_iter().chain(others).collect()
}

/// The pieces of the small vocabularies: spelling, score and SentencePiece's number of its kind.
const PIECES: [(&str, f32, i32); 12] = [
    ("<unk>", 0.0, 2),
    ("<s>", 0.0, 3),
    ("</s>", 0.0, 3),
    ("<0x0A>", 0.0, 6),
    ("<0xC3>", 0.0, 6),
    ("▁", -1.0, 1),
    ("a", -2.0, 1),
    ("b", -3.0, 1),
    ("ab", -0.5, 1),
    ("▁ab", -0.25, 1),
    ("[INST]", 0.0, 4),
    ("unused", 0.0, 5),
];

/// SentencePiece's `ModelProto` by hand: pieces (field 1), trainer (2: BPE, byte fallback) and normalizer (3).
fn sentencepiece_seed() -> Vec<u8> {
    let mut model = Vec::new();
    for (spelling, score, kind) in PIECES {
        let mut piece = vec![0x0a, spelling.len() as u8];
        piece.extend_from_slice(spelling.as_bytes());
        piece.push(0x15);
        piece.extend(score.to_le_bytes());
        piece.extend([0x18, kind as u8]);
        model.extend([0x0a, piece.len() as u8]);
        model.extend(piece);
    }
    // model_type (3) = BPE (2), byte_fallback (35) = true.
    model.extend([0x12, 5, 0x18, 2, 0x98, 0x02, 1]);
    // name (1), add_dummy_prefix (3), remove_extra_whitespaces (4), escape_whitespaces (5).
    model.extend([0x1a, 16, 0x0a, 8]);
    model.extend_from_slice(b"identity");
    model.extend([0x18, 1, 0x20, 0, 0x28, 1]);
    model
}

pub(super) fn vocabulary_seeds() -> Vec<Vec<u8>> {
    let seed = |model: &str, pre: &str, merges: &[&str]| {
        let mut writer = GgufWriter::new();
        let tokens: Strings = PIECES.iter().map(|(spelling, ..)| spelling).collect();
        writer
            .set("general.architecture", "llama")
            .set("tokenizer.ggml.model", model)
            .set("tokenizer.ggml.pre", pre)
            .set("tokenizer.ggml.tokens", Array::Strings(tokens))
            .set("tokenizer.ggml.scores", Array::F32(PIECES.iter().map(|piece| piece.1).collect()))
            .set("tokenizer.ggml.token_type", Array::I32(PIECES.iter().map(|piece| piece.2).collect()))
            .set("tokenizer.ggml.merges", Array::Strings(merges.iter().collect()))
            .set("tokenizer.ggml.bos_token_id", 1u32)
            .set("tokenizer.ggml.eos_token_id", 2u32)
            .set("tokenizer.ggml.unknown_token_id", 0u32)
            .set("tokenizer.ggml.seperator_token_id", 2u32)
            .set("tokenizer.ggml.remove_extra_whitespaces", true)
            .set("tokenizer.ggml.add_bos_token", true)
            .set("tokenizer.ggml.add_space_prefix", true);
        if model == "t5" {
            // An array of one unit, and one replacement.
            let charsmap = vec![4, 0, 0, 0, 0, 0, 0, 0, b'x', 0];
            writer.set("tokenizer.ggml.precompiled_charsmap", Array::U8(charsmap));
        }
        writer.to_bytes(|_, _| Ok(()))
    };
    let seeds = [
        seed("llama", "default", &[]),
        seed("gpt2", "gpt-2", &["a b"]),
        seed("bert", "bert-bge", &[]),
        seed("t5", "default", &[]),
        seed("gemma4", "gemma4", &["a b", "▁ ab"]),
    ];
    seeds.into_iter().flatten().collect()
}

/// The vocabulary as it stands in the metadata; what is missing or of another type stays empty.
fn vocabulary_of(gguf: &Gguf) -> Vocabulary {
    let text = |key: &str| gguf.str(key).ok().flatten().map(str::to_owned);
    let id = |key: &str| gguf.u32(key).ok().flatten();
    let flag = |key: &str| gguf.bool(key).ok().flatten();
    let array = |key: &str| gguf.array(key).ok().flatten();
    let strings = |key: &str| {
        let strings = array(key).and_then(Array::as_strings);
        strings.map(|strings| strings.iter().map(<[u8]>::to_vec).collect::<Vec<_>>()).unwrap_or_default()
    };
    let numbers = |key: &str| array(key).and_then(Array::to_i64s).unwrap_or_default().into_owned();
    Vocabulary {
        model: text("tokenizer.ggml.model").unwrap_or_default(),
        pre: text("tokenizer.ggml.pre"),
        name: text("general.name"),
        tokens: strings("tokenizer.ggml.tokens"),
        scores: array("tokenizer.ggml.scores").and_then(Array::to_f32s).unwrap_or_default().into_owned(),
        types: numbers("tokenizer.ggml.token_type").iter().map(|&kind| kind as i32).collect(),
        merges: strings("tokenizer.ggml.merges")
            .iter()
            .map(|merge| String::from_utf8_lossy(merge).into_owned())
            .collect(),
        bos: id("tokenizer.ggml.bos_token_id"),
        eos: id("tokenizer.ggml.eos_token_id"),
        unknown: id("tokenizer.ggml.unknown_token_id"),
        add_bos: flag("tokenizer.ggml.add_bos_token"),
        separator: id("tokenizer.ggml.seperator_token_id"),
        class: id("tokenizer.ggml.cls_token_id"),
        add_space_prefix: flag("tokenizer.ggml.add_space_prefix"),
        remove_extra_whitespaces: flag("tokenizer.ggml.remove_extra_whitespaces"),
        precompiled_charsmap: numbers("tokenizer.ggml.precompiled_charsmap").iter().map(|&byte| byte as u8).collect(),
        ..Vocabulary::default()
    }
}
