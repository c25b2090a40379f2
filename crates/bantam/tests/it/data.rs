//! `bantam data check`: what it prints, its exit code, and the new file of `--fix`.

use crate::support::{Expected, Folder, bantam, check, fails, model};

const DATA: &str = "{\"prompt\": \"a\", \"completion\": \"b\"}\n\
                    {\"prompt\": \"a\", \"completion\": \"b\"}\n\
                    {\"prompt\": \"me\", \"completion\": \"jane.doe@mail.bern.ch\"}\n\
                    nonsense\n";

#[test]
fn data_are_checked() {
    let folder = Folder::new("data");
    let file = folder.file("d.jsonl", DATA);
    let run = |arguments: &[&str]| {
        let output = bantam(&[&["data", "check", &file], arguments].concat(), b"");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, said) = run(&[]);
    for part in
        ["4 rows as JSON lines: 3 prompt/completion", "line 4: no JSON", "line 2: the same as line 1", "j…@….ch"]
    {
        assert!(said.contains(part), "{part:?} is not in\n{said}");
    }
    assert!(!said.contains("jane"));
    assert_eq!(code, Some(1));
    let (code, said) = run(&["--json"]);
    let report: serde_json::Value = serde_json::from_str(&said).expect("it is JSON");
    assert_eq!((code, report["rows"].as_u64()), (Some(1), Some(4)));
    assert_eq!(report["findings"][0]["kind"], "malformed");
    assert_eq!(report["findings"][0]["line"], 4);
    // What is personal stays, and so does the exit code.
    let (code, said) = run(&["--fix"]);
    assert!(
        said.contains("left out line 2: the same as line 1") && said.contains("left out line 4: no JSON"),
        "{said}"
    );
    assert_eq!(code, Some(1));
    let fixed = std::fs::read_to_string(folder.0.join("d.fixed.jsonl")).expect("the new file is there");
    let lines: Vec<&str> = DATA.lines().collect();
    assert_eq!(fixed, format!("{}\n{}\n", lines[0], lines[2]));
    assert_eq!(std::fs::read_to_string(&file).expect("the old file is there"), DATA);
    check(&["data", "check", &file, "--fix"], "", &fails(1, &["is there already; --fix writes a new file"]));
    let good = folder.file("good.jsonl", "{\"text\": \"Once upon a time\"}\n");
    let model = model();
    check(&["data", "check", &good, "--model", &model], "", &Expected::default());
    let short = bantam(&["data", "check", &good, "--model", &model, "--max-length", "2"], b"");
    assert!(String::from_utf8_lossy(&short.stdout).contains("1 row is too long"));
    check(&["data", "check", "missing.jsonl"], "", &fails(1, &["cannot read missing.jsonl"]));
}
