//! The shapes and forms that data come in: each gives the very examples that the plainest one gives.

use bantam_testkit::Golden;
use bantam_text::{ChatTemplate, Tokenizer};
use bantam_train::data::{Compared, Comparison, Encoder, Example, read, read_comparisons};

use crate::support::Folder;

/// Every role by its first letter; calls for tools are their names.
const TEMPLATE: &str = "{% for m in messages %}{{ '<s>' + m.role[0] + ' ' + (m.content or '') }}\
                        {% for c in m.tool_calls or [] %}{{ c.function.name }}{% endfor %}{{ '</s>' }}{% endfor %}\
                        {% if add_generation_prompt %}{{ '<s>a ' }}{% endif %}";

fn tokenizer() -> Tokenizer {
    let json = std::fs::read(Golden::root().join("tiny-qwen2-a/tokenizer.json")).unwrap();
    let files = bantam_text::HfFiles {
        config: Some(br#"{"eos_token_id": 1}"#),
        tokenizer_config: Some(br#"{"eos_token": "</s>", "bos_token": "<s>"}"#),
        ..Default::default()
    };
    Tokenizer::from_json(&json, files).unwrap()
}

/// The text of an example, and of what is said in it.
fn told(tokenizer: &Tokenizer, example: &Example) -> (String, String) {
    let said = example.tokens.iter().zip(&example.said).filter(|(_, said)| **said).map(|(id, _)| *id);
    let text = |ids: &[u32]| tokenizer.decode(ids, false).unwrap();
    (text(&example.tokens), text(&said.collect::<Vec<_>>()))
}

/// Writes a file and reads it through an encoder.
fn with_file<T>(
    name: &str,
    data: &[u8],
    raw: bool,
    read: impl FnOnce(&std::path::Path, &Encoder<'_>) -> Result<T, bantam_train::TrainError>,
) -> Result<T, String> {
    let tokenizer = tokenizer();
    let template = (!raw).then(|| ChatTemplate::new(TEMPLATE, "<s>", "</s>", "test").unwrap());
    let encoder = Encoder::new(&tokenizer, template, None);
    let folder = Folder::new("shapes");
    let path = folder.0.join(name);
    std::fs::write(&path, data).unwrap();
    read(&path, &encoder).map_err(|error| error.to_string().replace(&path.display().to_string(), name))
}

fn examples(name: &str, data: &[u8]) -> Result<Vec<(usize, String, String)>, String> {
    let file = with_file(name, data, false, |path, encoder| read(path, encoder, 1000, false))?;
    let tokenizer = tokenizer();
    let one = |example: &Example| {
        let (all, said) = told(&tokenizer, example);
        (example.line, all, said)
    };
    Ok(file.examples.iter().map(one).collect())
}

#[track_caller]
fn check(name: &str, data: &str, expected: &[(usize, &str, &str)]) {
    let found = examples(name, data.as_bytes()).unwrap();
    let found: Vec<(usize, &str, &str)> = found.iter().map(|(line, all, said)| (*line, &**all, &**said)).collect();
    assert_eq!(found, expected, "{data}");
}

#[test]
fn every_shape_is_recognised() {
    let plain = [(1, "<s>u hi</s><s>a yo</s>", "yo</s>")];
    check("d.jsonl", r#"{"prompt": "hi", "completion": "yo"}"#, &plain);
    check("d.jsonl", r#"{"instruction": "hi", "output": "yo"}"#, &plain);
    check("d.jsonl", r#"{"instruction": "hi", "input": "", "output": "yo", "text": "hi yo"}"#, &plain);
    check(
        "d.jsonl",
        r#"{"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "yo"}]}"#,
        &plain,
    );
    check(
        "d.jsonl",
        r#"{"conversations": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]}"#,
        &plain,
    );
    // What well-known sets hold beside is let be.
    let beside = r#"{"prompt": "hi", "prompt_id": "7", "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]}"#;
    check("d.jsonl", beside, &plain);
    let input = r#"{"instruction": "a", "input": "b", "output": "c"}"#;
    check("d.jsonl", input, &[(1, "<s>u a\nb</s><s>a c</s>", "c</s>")]);
    let history = r#"{"system": "be", "instruction": "c", "output": "d", "history": [["a", "b"]]}"#;
    check("d.jsonl", history, &[(1, "<s>s be</s><s>u a</s><s>a b</s><s>u c</s><s>a d</s>", "b</s>d</s>")]);
    let calling = r#"{"system": "be", "conversations": [{"from": "human", "value": "a"}, {"from": "function_call", "value": "{\"name\": \"go\", \"arguments\": {\"x\": 1}}"}, {"from": "observation", "value": "b"}, {"from": "gpt", "value": "c"}], "tools": "[{\"name\": \"go\"}]"}"#;
    check("d.jsonl", calling, &[(1, "<s>s be</s><s>u a</s><s>a go</s><s>t b</s><s>a c</s>", "go</s>c</s>")]);
    // OpenAI's way of leaving an answer out.
    let weight = r#"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 0}, {"role": "user", "content": "c"}, {"role": "assistant", "content": "d", "weight": 1}]}"#;
    check("d.jsonl", weight, &[(1, "<s>u a</s><s>a b</s><s>u c</s><s>a d</s>", "d</s>")]);
}

#[test]
fn every_form_is_recognised() {
    let two = |second: usize| [(2, "<s>u hi</s><s>a yo</s>", "yo</s>"), (second, "<s>u a\nb</s><s>a c</s>", "c</s>")];
    let list = "[\n {\"instruction\": \"hi\", \"output\": \"yo\"},\n\n {\"instruction\": \"a\",\n  \"input\": \"b\", \"output\": \"c\"}\n]\n";
    // By rows, which may stand in one line.
    let rows = [(1, two(3)[0].1, two(3)[0].2), (2, two(3)[1].1, two(3)[1].2)];
    check("d.json", list, &rows);
    check("d.jsonl", &list.replace('\n', ""), &rows);
    check("d.csv", "instruction,input,output\nhi,,yo\n\"a\",b,c\n", &two(3));
    check("d.csv", "\u{feff}prompt,completion\r\nhi,yo\r\n\"a\nb\",c\r\n", &two(3));
    check("d.tsv", "instruction\tinput\toutput\nhi\t\tyo\na\tb\tc\n", &two(3));
    let cells = "messages\n\"[{\"\"role\"\": \"\"user\"\", \"\"content\"\": \"\"hi\"\"}, {\"\"role\"\": \"\"assistant\"\", \"\"content\"\": \"\"yo\"\"}]\"\n";
    check("d.csv", cells, &two(3)[..1]);
    check("d.jsonl", "\u{feff}\r\n{\"prompt\": \"hi\", \"completion\": \"yo\"}\r\n", &two(3)[..1]);
}

#[test]
fn what_is_damaged_is_refused_by_its_line() {
    let refused = |name: &str, data: &[u8], expected: &str| {
        let error = examples(name, data).unwrap_err();
        assert!(error.contains(expected), "{error}\n does not say\n{expected}");
    };
    refused("d.jsonl", b"{\"text\": \"a\"}\n{\"text\": \"\xff\"}", "d.jsonl:2: no UTF-8");
    refused("d.json", b"[{\"text\": \"a\"},\n{\"text\": }]", "d.json:2: no JSON: expected value");
    refused("d.json", b"[{\"text\": \"a\"}\n{\"text\": \"b\"}]", "d.json:2: no JSON: expected `,` or `]`");
    refused("d.json", b"[{\"text\": \"a\"},\n", "d.json:2: no JSON: the list ends without `]`");
    refused("d.json", b"[{\"text\": \"a\"}]\n{}", "d.json:2: no JSON: expected nothing behind the list");
    refused("d.json", b"[]", "d.json: no examples");
    refused("d.json", b"[3]", "d.json:1: expected an object");
    refused("d.csv", b"prompt,completion\na,b\nc\n", "d.csv:3: expected 2 values, one for each column, found 1");
    refused("d.csv", b"prompt,prompt\na,b\n", "d.csv:1: two columns are called `prompt`");
    refused("d.csv", b"prompt,completion\na,\xff\n", "d.csv:2: no UTF-8");
    refused("d.csv", b"question,answer\na,b\n", "d.csv:2: expected `messages`");
    refused("d.csv", b"prompt,completion\n", "d.csv: no examples");
    refused("d.parquet", b"PAR1PAR1", "d.parquet:1: no Parquet: ");
    let row = |row: &str, expected: &str| refused("d.jsonl", row.as_bytes(), &format!("d.jsonl:1: {expected}"));
    row(r#"{"chosen": "a", "rejected": "b", "prompt": "c"}"#, "`chosen` and `rejected` are compared");
    row(r#"{"prompt": "a", "completion": "b", "label": true}"#, "`completion` with a `label` is judged");
    row(r#"{"messages": [], "text": "a"}"#, "`messages`, `conversations`, `instruction`/`output`");
    row(r#"{"conversations": [{"from": "him", "value": "a"}]}"#, "turn 0 is from `him`; known are human");
    row(r#"{"conversations": [{"from": "gpt"}]}"#, "turn 0 has no `value`");
    row(r#"{"conversations": [{"from": "function_call", "value": "go"}]}"#, "turn 0: expected a call for a tool");
    row(r#"{"instruction": "a"}"#, "expected both `instruction` and `output`");
    row(r#"{"instruction": "a", "output": "b", "history": [["c"]]}"#, "`history` is no list of pairs");
    row(r#"{"messages": [{"role": "assistant", "content": "a", "weight": 2}]}"#, "expected 0 or 1 as the `weight`");
    row(r#"{"messages": [{"role": "assistant", "content": "a"}], "tools": "x"}"#, "`tools` is neither a list nor");
}

fn comparisons(wanted: Compared, raw: bool, data: &str) -> Result<String, String> {
    let read = |path: &std::path::Path, encoder: &Encoder<'_>| read_comparisons(path, encoder, wanted, 1000, false);
    let file = with_file("d.jsonl", data.as_bytes(), raw, read)?;
    let tokenizer = tokenizer();
    let said = |example: &Example| {
        let (all, said) = told(&tokenizer, example);
        format!("{}|{said}", all.strip_suffix(&said).unwrap())
    };
    let one = |comparison: &Comparison| match comparison {
        Comparison::Pair { chosen, rejected } => format!("{} > {}", said(chosen), said(rejected)),
        Comparison::Single { answer, good } => format!("{} {good}", said(answer)),
    };
    Ok(file.examples.iter().map(one).collect::<Vec<_>>().join("; "))
}

#[test]
fn comparisons_are_read() {
    let check = |wanted: Compared, raw: bool, data: &str, expected: &str| {
        assert_eq!(comparisons(wanted, raw, data).as_deref(), Ok(expected), "{data}");
    };
    let pair = "<s>u a</s><s>a |b</s> > <s>u a</s><s>a |c</s>";
    check(Compared::Pairs, false, r#"{"prompt": "a", "chosen": "b", "rejected": "c"}"#, pair);
    let lists = r#"{"prompt": [{"role": "user", "content": "a"}], "chosen": [{"role": "assistant", "content": "b"}], "rejected": [{"role": "assistant", "content": "c"}]}"#;
    check(Compared::Pairs, false, lists, pair);
    let whole = r#"{"chosen": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "rejected": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "c"}]}"#;
    check(Compared::Pairs, false, whole, pair);
    check(Compared::Pairs, false, &whole.replacen('{', r#"{"prompt": "a", "#, 1), pair);
    let answers = r#"{"prompt": "a", "chosen": [{"role": "assistant", "content": "b"}], "rejected": [{"role": "assistant", "content": "c"}]}"#;
    check(Compared::Pairs, false, answers, pair);
    check(Compared::Pairs, true, r#"{"chosen": "a b cd", "rejected": "a b ce"}"#, "a b| cd</s> > a b| ce</s>");
    check(Compared::Singles, false, answers, "<s>u a</s><s>a |b</s> true; <s>u a</s><s>a |c</s> false");
    let judged = r#"{"prompt": "a", "completion": "b", "label": false}"#;
    check(Compared::Singles, false, judged, "<s>u a</s><s>a |b</s> false");
    let refused = |wanted: Compared, data: &str, expected: &str| {
        let error = comparisons(wanted, false, data).unwrap_err();
        assert!(error.contains(expected), "{error}");
    };
    refused(Compared::Pairs, &format!("{lists}\n{judged}"), "d.jsonl:2: expected `chosen` and `rejected`");
    refused(Compared::Singles, r#"{"text": "a"}"#, "d.jsonl:1: expected `completion` with a `label`");
    refused(Compared::Pairs, r#"{"chosen": "a", "rejected": "b"}"#, "texts without a `prompt`");
    refused(Compared::Pairs, r#"{"chosen": "a"}"#, "expected both `chosen` and `rejected`");
    refused(Compared::Singles, &judged.replace("false", "3"), "expected true or false as `label`, found 3");
    let apart = r#"{"chosen": [{"role": "user", "content": "a"}], "rejected": [{"role": "user", "content": "b"}]}"#;
    refused(Compared::Pairs, apart, "share no beginning");
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_is_read_as_pyarrow_wrote_it() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
    for name in ["chats.parquet", "alpaca.parquet", "deltas.parquet"] {
        let bytes = std::fs::read(folder.join(name)).unwrap();
        let found = examples(name, &bytes).unwrap();
        let lines = std::fs::read(folder.join(name.replace("parquet", "jsonl"))).unwrap();
        assert_eq!(found, examples("d.jsonl", &lines).unwrap(), "{name}");
        // Cut or damaged anywhere, it is refused or read, and nothing else.
        for at in (0..bytes.len()).step_by(37) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x5a;
            let _ = examples(name, &damaged);
            let _ = examples(name, &bytes[..at]);
        }
    }
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_that_says_more_than_it_holds_is_refused() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
    // Where `before` stands first, `after` is put; the footer's length is told anew.
    let refused = |name: &str, before: &[u8], after: &[u8], expected: &str| {
        let mut bytes = std::fs::read(folder.join(name)).unwrap();
        let at = bytes.windows(before.len()).position(|window| window == before).unwrap();
        let tail = bytes.len() - 8;
        let length = u32::from_le_bytes(bytes[tail..tail + 4].try_into().unwrap()) as usize;
        if at >= tail - length {
            let length = (length + after.len() - before.len()) as u32;
            bytes[tail..tail + 4].copy_from_slice(&length.to_le_bytes());
        }
        bytes.splice(at..at + before.len(), after.iter().copied());
        let error = examples(name, &bytes).unwrap_err();
        assert!(error.contains(expected), "{error}\n does not say\n{expected}");
    };
    let most = [0xfe, 0xff, 0xff, 0xff, 0x0f];
    let with = |before: &[u8], after: &[u8]| [before, &most, after].concat();
    // What the fuzz target found first: a dictionary of 1.9 thousand million texts took 60 GB.
    let dictionary = with(&[0x4c, 0x15], &[0x15]);
    refused("alpaca.parquet", &[0x4c, 0x15, 0x50, 0x15], &dictionary, "a dictionary of 2147483647 values in 350 bytes");
    let unpacked = with(&[0x15, 0x04, 0x15], &[0x15]);
    refused("chats.parquet", &[0x15, 0x04, 0x15, 0x80, 0x02, 0x15], &unpacked, "75 bytes that unpacks to 2147483647");
    let children = with(b"\x18\x06schema\x15", &[]);
    refused("alpaca.parquet", b"\x18\x06schema\x15\x06", &children, "a group of 2147483647 columns where 3 are left");
    refused("alpaca.parquet", &[0x16, 0x50, 0x26, 0x08], &with(&[0x16], &[0x26, 0x08]), "2147483647 rows in");
    refused("alpaca.parquet", b"\x19\x4c\x35", b"\x19\xfc\xff\xff\xff\x07\x35", "a list of 16777215 elements");
}
