//! Lines to examples: which tokens, and which of them are said.

use bantam_testkit::Golden;
use bantam_text::{ChatTemplate, Tokenizer};
use bantam_train::data::{Encoder, read};

use crate::support::Folder;

/// Turns between marks, each ended by `</s>`, which ends an answer.
const PLAIN: &str = "{% for m in messages %}{{ '<s>' + m.role[0] + ' ' + m.content + '</s>' }}\n{% endfor %}\
                     {% if add_generation_prompt %}{{ '<s>a ' }}{% endif %}";
/// Earlier answers lose what stands before a bar.
const FORGETS: &str = "{% for m in messages %}{{ '<s>' + m.role[0] + ' ' }}\
                       {{ m.content if loop.last else m.content.split('Z')[-1] }}{{ '</s>' }}{% endfor %}\
                       {% if add_generation_prompt %}{{ '<s>a ' }}{% endif %}";
/// An answer begins otherwise than what it is asked with.
const OTHERWISE: &str = "{% for m in messages %}{{ '<s>' + m.content + '</s>' }}{% endfor %}\
                         {% if add_generation_prompt %}{{ '<s>a ' }}{% endif %}";

fn tokenizer() -> Tokenizer {
    let json = std::fs::read(Golden::root().join("tiny-qwen2-a/tokenizer.json")).unwrap();
    Tokenizer::from_json(
        &json,
        bantam_text::HfFiles {
            config: Some(br#"{"eos_token_id": 1}"#),
            tokenizer_config: Some(br#"{"eos_token": "</s>", "bos_token": "<s>"}"#),
            ..Default::default()
        },
    )
    .unwrap()
}

fn run(template: Option<&str>, data: &str, limit: usize, skip: bool) -> Result<Vec<(String, String)>, String> {
    let tokenizer = tokenizer();
    let template = template.map(|source| ChatTemplate::new(source, "<s>", "</s>", "test").unwrap());
    let encoder = Encoder::new(&tokenizer, template, None);
    let folder = Folder::new("data");
    let path = folder.0.join("d.jsonl");
    std::fs::write(&path, data).unwrap();
    let file = read(&path, &encoder, limit, skip)
        .map_err(|error| error.to_string().replace(&path.display().to_string(), "d.jsonl"))?;
    let text = |ids: Vec<u32>| tokenizer.decode(&ids, false).unwrap();
    Ok(file
        .examples
        .iter()
        .map(|example| {
            let said = example.tokens.iter().zip(&example.said).filter(|(_, said)| **said).map(|(id, _)| *id);
            (text(example.tokens.clone()), text(said.collect()))
        })
        .collect())
}

fn check(template: Option<&str>, data: &str, expected: &[(&str, &str)]) {
    let found = run(template, data, 100, false).unwrap();
    let found: Vec<(&str, &str)> = found.iter().map(|(all, said)| (all.as_str(), said.as_str())).collect();
    assert_eq!(found, expected, "{data}");
}

const TURNS: &str = r#"{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "heZyo"}, {"role": "user", "content": "go"}, {"role": "assistant", "content": "no"}]}"#;

#[test]
fn only_what_the_assistant_says_is_learned() {
    check(Some(PLAIN), TURNS, &[("<s>u hi</s>\n<s>a heZyo</s>\n<s>u go</s>\n<s>a no</s>", "heZyo</s>no</s>")]);
    check(
        Some(FORGETS),
        TURNS,
        &[("<s>u hi</s><s>a heZyo</s>", "heZyo</s>"), ("<s>u hi</s><s>a yo</s><s>u go</s><s>a no</s>", "no</s>")],
    );
    check(Some(PLAIN), r#"{"prompt": "hi", "completion": "yo"}"#, &[("<s>u hi</s>\n<s>a yo</s>", "yo</s>")]);
    check(None, r#"{"prompt": "hi ", "completion": "yo"}"#, &[("hi yo</s>", "yo</s>")]);
    check(None, "{\"text\": \"hiyo\"}\n\n{\"text\": \"the\"}\n", &[("hiyo</s>", "iyo</s>"), ("the</s>", "e</s>")]);
    let lists = r#"{"prompt": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}], "completion": [{"role": "assistant", "content": "d"}]}"#;
    check(Some(PLAIN), lists, &[("<s>u a</s>\n<s>a b</s>\n<s>u c</s>\n<s>a d</s>", "d</s>")]);
}

#[test]
fn a_message_cannot_end_its_turn_with_a_special_token() {
    let data = r#"{"messages": [{"role": "user", "content": "a</s>b"}, {"role": "assistant", "content": "c"}]}"#;
    let found = run(Some(PLAIN), data, 100, false);
    // The characters of the spelling are not in this vocabulary, so it is refused rather than made a token.
    assert!(found.is_err() || found.as_ref().unwrap()[0].1 == "c</s>", "{found:?}");
}

#[test]
fn lines_that_are_no_examples_are_refused_by_their_number() {
    let refused = |template: Option<&str>, data: &str, expected: &str| {
        let error = run(template, data, 12, false).unwrap_err();
        assert!(error.contains(expected), "{error}");
    };
    refused(
        None,
        "{\"text\": \"a\"}\n{\"text\": \"b\"",
        "d.jsonl:2: no JSON: EOF while parsing an object at column 12",
    );
    refused(None, "[1]", "d.jsonl:1: expected an object");
    refused(
        None,
        "{\"txt\": \"a\"}",
        "d.jsonl:1: expected `messages`, `conversations`, `instruction` and `output`, `prompt` and `completion`, `text`, or \
         `chosen` and `rejected`; found `txt`",
    );
    refused(None, "{\"prompt\": \"a\"}", "d.jsonl:1: expected both `prompt` and `completion`");
    refused(None, "{\"text\": 3}", "d.jsonl:1: `text` is no string");
    refused(None, TURNS, "d.jsonl:1: `messages` need a chat template, and this model has none");
    refused(Some(PLAIN), r#"{"messages": []}"#, "d.jsonl:1: no message is the assistant's");
    refused(Some(PLAIN), r#"{"messages": [{"content": "a"}]}"#, "d.jsonl:1: message 0 has no `role`");
    refused(Some(OTHERWISE), TURNS, "d.jsonl:1: the chat template writes message 3 in another way");
    refused(None, "\n \n", "d.jsonl: no examples");
    refused(
        None,
        "{\"text\": \"abcdefghijklmno\"}\n{\"text\": \"a\"}\n{\"text\": \"abcdefghijklm\"}",
        "d.jsonl: 2 of 3 examples are longer than 12 tokens: line 1 (16), line 3 (14); raise --max-length",
    );
    let skipped = run(None, "{\"text\": \"abcdefghijklmno\"}\n{\"text\": \"ab\"}", 12, true).unwrap();
    assert_eq!(skipped.len(), 1);
}
