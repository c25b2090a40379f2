//! What templates mark as the model's own words, against transformers.

use std::path::Path;

use bantam_text::{ChatTemplate, HfFiles, Moment, Tokenizer};
use bantam_train::data::{Encoder, read};

use crate::support::{Folder, json};

fn tokenizer(golden: &serde_json::Value) -> Tokenizer {
    let files = HfFiles {
        config: Some(br#"{"eos_token_id": 1}"#),
        tokenizer_config: Some(br#"{"eos_token": "<|im_end|>"}"#),
        ..Default::default()
    };
    Tokenizer::from_json(golden["tokenizer"].to_string().as_bytes(), files).unwrap()
}

fn golden() -> serde_json::Value {
    json(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/generation.json"))
}

#[test]
fn templates_are_told_the_date_of_the_run() {
    const DATED: &str = "{% for m in messages %}{{ strftime_now('%d %b %Y') + m.content + eos_token }}{% endfor %}\
                         {% if add_generation_prompt %}{{ strftime_now('%d %b %Y') }}{% endif %}";
    let tokenizer = tokenizer(&golden());
    let template = ChatTemplate::new(DATED, "", "<|im_end|>", "test").unwrap();
    let encoder = Encoder::new(&tokenizer, Some(template), None).with_date(Moment::date(2024, 7, 26));
    let folder = Folder::new("dated");
    let path = folder.0.join("d.jsonl");
    std::fs::write(&path, r#"{"prompt": "a", "completion": "b"}"#).unwrap();
    let file = read(&path, &encoder, 1000, false).unwrap();
    let text = tokenizer.decode(&file.examples[0].tokens, true).unwrap();
    assert_eq!(text, "26 Jul 2024a26 Jul 2024b");
}

#[test]
fn generation_blocks_mark_what_transformers_marks() {
    let golden = golden();
    let tokenizer = tokenizer(&golden);
    let folder = Folder::new("generation");
    let path = folder.0.join("d.jsonl");
    for case in golden["cases"].as_array().unwrap() {
        let template = ChatTemplate::new(case["template"].as_str().unwrap(), "", "<|im_end|>", "test").unwrap();
        let encoder = Encoder::new(&tokenizer, Some(template), None);
        std::fs::write(&path, case["row"].to_string()).unwrap();
        let file = read(&path, &encoder, 1000, false).unwrap();
        let list = |key: &str| -> Vec<u64> {
            case[key].as_array().unwrap().iter().map(|number| number.as_u64().unwrap()).collect()
        };
        let (mut ids, mut mask) = (list("ids"), list("mask"));
        // Behind the last answer nothing is predicted.
        let end = mask.iter().rposition(|said| *said == 1).unwrap() + 1;
        ids.truncate(end);
        mask.truncate(end);
        let [example] = &file.examples[..] else { panic!("one example is expected, found {:?}", file.examples) };
        let said: Vec<u64> = example.said.iter().map(|said| u64::from(*said)).collect();
        let tokens: Vec<u64> = example.tokens.iter().map(|token| u64::from(*token)).collect();
        assert_eq!((tokens, said), (ids, mask), "{}", case["name"]);
    }
}
