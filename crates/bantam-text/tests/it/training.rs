//! Merges learnt from small texts against those that PyPI `tokenizers` learns (`tools/goldens/bpe_training.py`).

use bantam_text::training::{BpeOptions, BpeTrainer};
use bantam_text::{Special, Tokenizer, Vocabulary};
use serde_json::Value;

fn strings(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn learn(pre: &str, texts: &[&str], options: &BpeOptions) -> Result<Vocabulary, bantam_text::TextError> {
    let mut trainer = BpeTrainer::new(pre)?;
    texts.iter().try_for_each(|text| trainer.feed(text))?;
    trainer.finish(options, |_| {})
}

fn options(size: usize, specials: &[&str]) -> BpeOptions {
    BpeOptions { size, specials: specials.iter().map(|text| (*text).to_owned()).collect(), ..BpeOptions::default() }
}

#[test]
fn tokens_and_merges_are_those_of_tokenizers() {
    let cases: Value = serde_json::from_str(include_str!("../data/bpe_training.json")).unwrap();
    for case in cases.as_array().unwrap() {
        let (pre, texts) = (case["pre"].as_str().unwrap(), strings(&case["texts"]));
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let options = BpeOptions {
            size: usize::try_from(case["size"].as_u64().unwrap()).unwrap(),
            specials: strings(&case["specials"]),
            least_count: case["least"].as_u64().unwrap(),
            ..BpeOptions::default()
        };
        let learnt = learn(pre, &texts, &options).unwrap();
        assert_eq!(learnt.merges.iter().collect::<Vec<_>>(), strings(&case["merges"]), "{pre} of {}", options.size);
        let tokens: Vec<String> = learnt.tokens.iter().map(|token| String::from_utf8(token.clone()).unwrap()).collect();
        assert_eq!(tokens, strings(&case["tokens"]), "{pre} of {}", options.size);

        // What was learnt is a tokenizer: it spells every text, and special tokens are its own.
        let tokenizer = Tokenizer::from_vocabulary(learnt).unwrap();
        for text in texts {
            let ids = tokenizer.encode(text, Special::AsText).unwrap();
            assert_eq!(tokenizer.decode(&ids, false).unwrap(), text);
        }
        for (id, special) in (0u32..).zip(&options.specials) {
            assert_eq!(tokenizer.encode(special, Special::Parse).unwrap(), [id]);
            assert!(tokenizer.is_special(id));
        }
    }
}

#[test]
fn a_size_or_a_special_token_that_cannot_be_is_refused() {
    let check = |options: &BpeOptions, expected: &str| {
        let error = learn("gpt-2", &["text"], options).unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} does not say {expected:?}");
    };
    check(&options(255, &[]), "255 tokens asked for, expected 256");
    check(&options(257, &["<s>", "</s>"]), "expected 258");
    check(&options(usize::MAX, &[]), "16777216");
    check(&options(300, &["<s>", "<s>"]), "\"<s>\" is empty, stands twice or spells a byte");
    check(&options(300, &["a"]), "\"a\" is empty, stands twice or spells a byte");
    check(&options(300, &[""]), "\"\" is empty");
    assert!(BpeTrainer::new("no such").unwrap_err().to_string().contains("no such"));
}

#[test]
fn tokens_that_always_match_are_neither_cut_nor_counted() {
    let user_defined = vec![" ".to_owned(), "{\"name\": \"".to_owned()];
    let mut trainer = BpeTrainer::new("gpt-2").unwrap().taking_out(&user_defined).unwrap();
    trainer.feed("play jazz play {\"name\": \"play").unwrap();
    let options = BpeOptions { size: 264, specials: vec!["<s>".to_owned()], user_defined, least_count: 2 };
    let learnt = trainer.finish(&options, |_| {}).unwrap();
    assert_eq!(learnt.types[..4], [3, 4, 4, 1]);
    assert!(learnt.tokens.iter().all(|token| !token.starts_with("Ġ".as_bytes()) || token.len() == 2));
    let tokenizer = Tokenizer::from_vocabulary(learnt).unwrap();
    let play = tokenizer.token_id("play").unwrap();
    let check = |text: &str, expected: &[u32]| {
        let ids = tokenizer.encode(text, Special::AsText).unwrap();
        assert_eq!(ids, expected, "{text}");
        assert_eq!(tokenizer.decode(&ids, false).unwrap(), text);
    };
    check("play play", &[play, 1, play]);
    check("{\"name\": \"play", &[2, play]);
    let refused = BpeTrainer::new("gpt-2").unwrap().taking_out(&[String::new()]);
    assert!(refused.unwrap_err().to_string().contains("empty"));
}
