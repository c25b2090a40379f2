//! The data doctor: what it finds, and what a mended file keeps.

use bantam_train::doctor::{Against, Kind, Report, check, mend};

use crate::support::Folder;

fn look(name: &str, data: &[u8], validation: Option<&[u8]>) -> (Report, String) {
    let folder = Folder::new("doctor");
    let (path, kept) = (folder.0.join(name), folder.0.join("kept.jsonl"));
    std::fs::write(&path, data).unwrap();
    if let Some(validation) = validation {
        std::fs::write(&kept, validation).unwrap();
    }
    let against = Against { model: None, validation: validation.map(|_| kept.as_path()) };
    let report = check(&path, &against).unwrap();
    let mut out = Vec::new();
    mend(&report, &mut out).unwrap();
    (report, String::from_utf8(out).unwrap())
}

/// What is found, kind and line; and how many rows stay.
#[track_caller]
fn finds(name: &str, data: &[u8], validation: Option<&[u8]>, expected: &[(Kind, usize, &str)], stay: usize) {
    let (report, mended) = look(name, data, validation);
    let found: Vec<(Kind, usize, &str)> = report
        .findings
        .iter()
        .map(|finding| (finding.kind, finding.line.unwrap_or_default(), finding.text.as_str()))
        .collect();
    let same = found.len() == expected.len()
        && found
            .iter()
            .zip(expected)
            .all(|(found, expected)| (found.0, found.1) == (expected.0, expected.1) && found.2.contains(expected.2));
    assert!(same, "{found:#?}\nis not\n{expected:#?}");
    assert_eq!(mended.lines().count(), stay, "{mended}");
    // Nothing is left to mend.
    let again = look("again.jsonl", mended.as_bytes(), validation).0;
    assert!(again.findings.iter().all(|finding| !finding.kind.is_removed()), "{:#?}", again.findings);
}

const FOX: &str = "The quick brown fox jumps over the lazy dog while seven wizards brew a potion of jazz and quartz";

#[test]
fn what_is_wrong_is_found_by_its_line() {
    let data = "\u{feff}{\"prompt\": \"a\", \"completion\": \"b\"}\r\n\
                {\"prompt\": \"a\", \"completion\": \" b \"}\r\n\
                \r\n\
                {\"prompt\": \"a\"}\n\
                {\"prompt\": \"c\", \"completion\": \" \"}\n\
                nonsense\n\
                {\"prompt\": \"a\", \"completion\": \"other\"}\n";
    finds(
        "d.jsonl",
        data.as_bytes(),
        None,
        &[
            (Kind::Malformed, 4, "expected both `prompt` and `completion`"),
            (Kind::Malformed, 6, "no JSON: expected"),
            (Kind::Empty, 5, "without a word"),
            (Kind::Duplicate, 2, "the same as line 1"),
            (Kind::Contradiction, 7, "asks the same as line 1"),
        ],
        2,
    );
    let bytes = b"{\"text\": \"one\"}\n{\"text\": \"\xff\"}\n\x00\n";
    finds("d.jsonl", bytes, None, &[(Kind::Malformed, 2, "no UTF-8"), (Kind::Malformed, 3, "no JSON")], 1);
    // All rows of a list in one line.
    let list = br#"[{"text": "one"}, {"text": "two"}, {"text": "one"}, {"txt": 3}]"#;
    let expected = [(Kind::Malformed, 4, "(line 1)"), (Kind::Duplicate, 3, "the same as row 1")];
    finds("d.json", list, None, &expected, 2);
    finds("d.csv", b"prompt,completion\r\na,b\r\na,b\r\n", None, &[(Kind::Duplicate, 3, "line 2")], 1);
    finds("d.jsonl", b"", None, &[], 0);
}

#[test]
fn near_duplicates_and_leaks_are_found() {
    let row = |prompt: &str, completion: &str| {
        format!("{}\n", serde_json::json!({ "prompt": prompt, "completion": completion }))
    };
    let data =
        row(FOX, "yes it does") + &row(&FOX.to_uppercase().replace(' ', ", "), "yes it does!") + &row("else", "no");
    finds("d.jsonl", data.as_bytes(), None, &[(Kind::NearDuplicate, 2, "nearly the same as line 1")], 2);
    let kept = row("else", "another answer") + &row("third", "c");
    let expected =
        [(Kind::NearDuplicate, 2, "line 1"), (Kind::Leak, 3, "asks the same as line 1 of the validation file")];
    finds("d.jsonl", data.as_bytes(), Some(kept.as_bytes()), &expected, 1);
    let kept = row(&FOX.replace("fox", "FOX"), "yes it does");
    let expected = [(Kind::Leak, 1, "nearly the same as line 1"), (Kind::Leak, 2, "nearly the same as line 1")];
    finds("d.jsonl", data.as_bytes(), Some(kept.as_bytes()), &expected, 1);
}

#[test]
fn preferences_that_contradict_are_found() {
    let data = r#"{"prompt": "a", "chosen": "b", "rejected": "c"}
{"prompt": "a", "chosen": "c", "rejected": "d"}
{"prompt": "e", "chosen": "f", "rejected": "f"}
{"prompt": "a", "completion": "c", "label": true}
{"prompt": "g", "completion": "h"}
"#;
    let expected = [
        (Kind::Contradiction, 2, "calls an answer good that line 1 calls bad"),
        (Kind::Contradiction, 3, "the chosen answer is the rejected one"),
        (Kind::Contradiction, 4, "calls an answer good that line 1 calls bad"),
        (Kind::Mixed, 5, "an answer to learn, where line 1 is to be compared"),
    ];
    finds("d.jsonl", data.as_bytes(), None, &expected, 5);
}

#[test]
fn personal_data_are_shown_masked() {
    let data = br#"{"prompt": "who?", "completion": "jane.doe@mail.bern.ch, +41 44 668 18 00"}"#;
    finds(
        "d.jsonl",
        data,
        None,
        &[(Kind::Personal, 1, "e-mail address j\u{2026}@\u{2026}.ch, telephone number +\u{2026}00")],
        1,
    );
    let (report, _) = look("d.jsonl", data, None);
    assert!(!serde_json::to_string(&report).unwrap().contains("doe"));
}

#[test]
fn labels_are_weighed() {
    let row = |n: usize, label: &str| {
        format!(
            "{}\n",
            serde_json::json!({ "prompt": format!("question {n} of many {}", n * 7919), "completion": label })
        )
    };
    let data: String = (0..60).map(|n| row(n, ["red", "green", "blue"][n % 3])).chain([row(99, "mauve")]).collect();
    let (report, _) = look("d.jsonl", data.as_bytes(), None);
    let labels: Vec<(&str, usize)> = report.labels.iter().map(|label| (label.label.as_str(), label.rows)).collect();
    assert_eq!(labels, [("blue", 20), ("green", 20), ("red", 20), ("mauve", 1)]);
    let rare: Vec<&str> = report.of(Kind::Imbalance).map(|finding| finding.text.as_str()).collect();
    assert_eq!(rare, ["`mauve` has 1 of 61 rows"]);
    assert!(report.is_sound());
    assert!(report.advice.iter().any(|advice| advice.contains("500 to 1,000")));
    assert!(report.advice.iter().any(|advice| advice.contains("negative examples")));
    assert!(report.advice.iter().any(|advice| advice.contains("no validation file")));
    // Answers in words of their own are no labels.
    let data: String = (0..60).map(|n| row(n, &format!("answer {n}"))).collect();
    assert!(look("d.jsonl", data.as_bytes(), None).0.labels.is_empty());
}
