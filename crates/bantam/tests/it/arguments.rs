//! Arguments, help and the errors that need no model.

use crate::support::{Expected, bantam, check, fails};

#[test]
fn wrong_usage_is_named() {
    let cases: [(&[&str], &str); 16] = [
        (&["walk"], "unrecognized subcommand 'walk'"),
        (&["run"], "<MODEL>"),
        (&["run", "m", "p", "q"], "unexpected argument 'q'"),
        (&["run", "m", "--temperature", "-1"], "below 0"),
        (&["run", "m", "--temperature", "hot"], "'hot' is no number"),
        (&["run", "m", "--top-p", "1.5"], "not between 0 and 1"),
        (&["run", "m", "--memory", "3X"], "'3X' is no size"),
        (&["run", "m", "--type", "q9_9"], "there is no type 'q9_9'"),
        (&["run", "m", "--kv", "f8"], "invalid value 'f8'"),
        (&["run", "m", "--lines", "p"], "cannot be used with"),
        (&["run", "m", "--lines", "--jsonl"], "cannot be used with"),
        (&["run", "m", "--raw", "--system", "s", "p"], "cannot be used with"),
        (&["run", "m", "--context", "0", "p"], "invalid value '0'"),
        (&["run", "m", "--nonsense", "p"], "unexpected argument '--nonsense'"),
        (&["tokenize", "m", "--ids", "--detokenize"], "cannot be used with"),
        (&["logits", "m", "text"], "--output"),
    ];
    for (arguments, message) in cases {
        check(arguments, "", &fails(2, &["error: ", message]));
    }
}

#[test]
fn a_model_that_is_not_there_is_an_error_never_a_prompt() {
    let cases: [&[&str]; 9] = [
        &["run", "tell-me-a-story"],
        &["run", "no-such.gguf", "hello"],
        &["run", "no-such.gguf", "--lines"],
        &["run", "no-such.gguf", "--jsonl", "--json"],
        &["show", "no-such.gguf"],
        &["tokenize", "no-such.gguf", "text"],
        &["template", "no-such.gguf", "-"],
        &["logits", "no-such.gguf", "text", "-o", "-"],
        &["bench", "no-such.gguf"],
    ];
    for arguments in cases {
        check(arguments, "stdin", &fails(1, &[arguments[1]]));
    }
}

#[test]
fn help_is_there() {
    let words = |text: &'static [&'static str]| text;
    let cases: [(&[&str], &[&str]); 6] = [
        (
            &["--help"],
            words(&["Usage: bantam", "run", "show", "tokenize", "template", "logits", "bench", "completions", "man"]),
        ),
        (&["--version"], words(&["bantam "])),
        (&["run", "--help"], words(&["--temperature", "--seed", "--jsonl", "--no-think"])),
        (&["completions", "bash"], words(&["_bantam"])),
        (&["man"], words(&[".TH bantam"])),
        (&["man", "run"], words(&[".TH bantam-run", "typical"])),
    ];
    for (arguments, words) in cases {
        let output = bantam(arguments, b"");
        let text = String::from_utf8(output.stdout).expect("help is UTF-8");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        for word in words {
            assert!(text.contains(word), "{arguments:?} lacks {word:?}:\n{text}");
        }
        assert!(!text.contains("template-worker"), "{arguments:?} shows what is hidden");
    }
    check(&["man", "walk"], "", &fails(1, &["there is no command 'walk'"]));
    check(&[], "", &Expected { code: 2, stdout: Some(""), stderr: &["Usage: bantam"] });
}

/// Every option and command of the command line stands in `docs/commands.md`.
#[test]
fn the_reference_is_whole() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/commands.md");
    let reference = std::fs::read_to_string(path).expect("docs/commands.md is there");
    let mut missing = Vec::new();
    let commands = [
        "run",
        "show",
        "tokenize",
        "template",
        "logits",
        "embed",
        "bench",
        "convert",
        "optimise",
        "tune",
        "completions",
        "man",
    ];
    for command in commands {
        let help = String::from_utf8(bantam(&[command, "--help"], b"").stdout).expect("help is UTF-8");
        let flags =
            help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).filter(|word| word.starts_with("--"));
        missing
            .extend(flags.filter(|flag| flag.len() > 2 && !reference.contains(&format!("`{flag}"))).map(str::to_owned));
        if !reference.contains(&format!("`bantam {command}")) {
            missing.push(command.to_owned());
        }
    }
    missing.retain(|flag| flag != "--help" && flag != "--version");
    missing.sort();
    missing.dedup();
    assert!(missing.is_empty(), "docs/commands.md says nothing of {missing:?}");
}
