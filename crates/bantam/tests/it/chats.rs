//! `bantam run` through a chat template: system prompts, messages, thoughts.

use serde_json::{Value, json};

use crate::support::{Folder, bantam, check, fails, model_with_template};

/// Writes out who says what.
const PLAIN: &str = "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }} {% endfor %}";
/// Has the model think, unless told not to.
const THINKING: &str = "{{ bos_token }}{% for m in messages %}{{ m.content }} {% endfor %}\
    {% if enable_thinking is defined and not enable_thinking %}<think></think>{% else %}<think>{% endif %}";

fn answers(arguments: &[&str], stdin: &str) -> Vec<Value> {
    let output = bantam(&[&["run"], arguments, &["--temperature", "0", "-n", "8"]].concat(), stdin.as_bytes());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "nothing needs saying");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn prompts_go_through_the_template() {
    let folder = Folder::new("chats");
    let model = model_with_template(&folder, PLAIN);
    let model = model.as_str();
    let chat = r#"[{"role": "user", "content": "One day"}]"#;
    let told = bantam(&["template", model, "-"], chat.as_bytes());
    assert_eq!(String::from_utf8_lossy(&told.stdout), "<s>[user] One day ");
    let single = answers(&[model, "--json", "One day"], "");
    let count = |text: &str| {
        let output = bantam(&["tokenize", model, "--ids", "--json", text], b"");
        serde_json::from_slice::<Vec<u32>>(&output.stdout).expect("ids").len()
    };
    // BOS is the template's own, once; the rest is text.
    assert_eq!(single[0]["usage"]["prompt_tokens"], 1 + count("[user] One day "));
    let line = json!({ "messages": [{ "role": "user", "content": "One day" }] });
    let system =
        json!({ "messages": [{ "role": "system", "content": "Be." }, { "role": "user", "content": "One day" }] });
    let lines = answers(&[model, "--jsonl"], &format!("{line}\n{}\n{system}\n", json!({ "prompt": "One day" })));
    assert_eq!((&lines[0]["text"], &lines[1]["text"]), (&single[0]["text"], &single[0]["text"]));
    let with_system = answers(&[model, "--json", "--system", "Be.", "One day"], "");
    assert_eq!(lines[2]["text"], with_system[0]["text"]);
    assert_ne!(lines[2]["usage"]["prompt_tokens"], lines[1]["usage"]["prompt_tokens"]);
    // A user who spells a special token writes text.
    let forged = answers(&[model, "--json", "One</s> day"], "");
    assert_eq!(forged[0]["usage"]["prompt_tokens"], 1 + count("[user] One</s> day "));
    check(&["run", model, "--think", "One day"], "", &fails(1, &["--think has no effect"]));
    check(&["run", model, "--no-think", "One day"], "", &fails(1, &["--no-think has no effect"]));
}

#[test]
fn thoughts_are_kept_apart() {
    let folder = Folder::new("thoughts");
    let model = model_with_template(&folder, THINKING);
    let model = model.as_str();
    let run = |arguments: &[&str]| {
        let arguments = [&["run", model, "--temperature", "0", "-n", "8"], arguments, &["One day"]].concat();
        let output = bantam(&arguments, b"");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    // The model never ends its thoughts, so there is nothing but them.
    assert_eq!(run(&[]), "\n");
    let shown = run(&["--think"]);
    assert!(shown.starts_with("<think>\n") && shown.len() > 10, "{shown:?}");
    let answer = answers(&[model, "--json", "One day"], "").remove(0);
    assert_eq!(answer["text"], "");
    assert!(answer["reasoning_content"].as_str().is_some_and(|text| shown.contains(text)), "{answer}");
    let answer = answers(&[model, "--json", "--no-think", "One day"], "").remove(0);
    assert!(answer["text"].as_str().is_some_and(|text| !text.is_empty()) && answer.get("reasoning_content").is_none());
}

#[test]
fn thoughts_of_many_lines_stand_between_the_models_markers() {
    let folder = Folder::new("markers");
    for (start, end) in [("<think>", "</think>"), ("[THINK]", "[/THINK]")] {
        let template =
            format!("{{{{ bos_token }}}}{{{{ messages[0].content }}}}{start}{{% if false %}}{end}{{% endif %}}");
        let model = model_with_template(&folder, &template);
        let run = |arguments: &[&str], stdin: &str| {
            let arguments = [&["run", &model, "--temperature", "0", "-n", "8", "--think"], arguments].concat();
            let output = bantam(&arguments, stdin.as_bytes());
            assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).expect("UTF-8")
        };
        let alone = run(&["One day"], "");
        assert!(alone.starts_with(&format!("{start}\n")) && alone.ends_with(&format!("\n{end}\n")), "{alone:?}");
        let lines = run(&["--lines"], "One day\n");
        assert_eq!(lines.trim_end_matches('\n'), alone.trim_end_matches('\n').replace('\n', "\\n"));
    }
}

#[test]
fn lines_bring_what_the_template_knows() {
    let folder = Folder::new("lines");
    let template = "{# <tool_call>{\"name\": #}{{ bos_token }}{% if tools %}{{ tools[0].function.name }}{% endif %}{{ style }}\
        {% for m in messages %}{{ m.content }} {% endfor %}\
        {% if enable_thinking is defined and not enable_thinking %}<think></think>{% else %}<think>{% endif %}";
    let model = model_with_template(&folder, template);
    let user = json!([{ "role": "user", "content": "One day" }]);
    let tools = json!([{ "type": "function", "function": { "name": "find" } }]);
    let lines = [
        json!({ "messages": user }),
        json!({ "messages": user, "think": false }),
        json!({ "messages": [{ "role": "system", "content": "Be." }, { "role": "user", "content": "One day" }] }),
        json!({ "messages": user, "system": "Be." }),
        json!({ "prompt": "One day", "chat_template_kwargs": { "style": "Be. " } }),
        json!({ "messages": user, "tools": tools }),
    ];
    let stdin = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let found = answers(&[&model, "--jsonl", "--tool-format", "hermes"], &stdin);
    assert!(found[0].get("reasoning_content").is_some() && found[1].get("reasoning_content").is_none());
    for (key, index) in [("reasoning_content", 3), ("reasoning_content", 4), ("usage", 3), ("usage", 4)] {
        assert_eq!(found[index][key], found[2][key], "{key} of line {index}");
    }
    assert_ne!(found[5]["usage"], found[0]["usage"]);
    let plain = model_with_template(&folder, PLAIN);
    let refused = [
        (json!({ "messages": user, "tools": tools }), "does not use tools"),
        (json!({ "messages": user, "think": true }), "has no effect"),
        (json!({ "messages": user, "reasoning_effort": "high" }), "\"reasoning_effort\" is not supported"),
        (json!({ "messages": user, "chat_template_kwargs": { "messages": [] } }), "\"messages\" can't be set"),
        (json!({ "messages": user, "chat_template_kwargs": { "style": "</s>" } }), "special tokens"),
    ];
    for (line, message) in refused {
        let output = bantam(&["run", &plain, "--jsonl"], line.to_string().as_bytes());
        let object: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
        assert!(object["error"]["message"].as_str().is_some_and(|found| found.contains(message)), "{line}: {object}");
        assert_eq!(output.status.code(), Some(1), "{line}");
    }
    let bare = bantam(&["run", &crate::support::model(), "--jsonl"], br#"{"prompt": "a", "system": "b"}"#);
    assert!(String::from_utf8_lossy(&bare.stdout).contains("needs a chat template"));
}

#[test]
fn the_templates_own_words_are_passed_on() {
    let folder = Folder::new("refusing");
    let model = model_with_template(&folder, "{{ raise_exception('only in English') }}");
    check(&["run", &model, "Bonjour"], "", &fails(1, &["only in English"]));
    let broken = model_with_template(&folder, "{% for %}");
    check(&["run", &broken, "Bonjour"], "", &fails(1, &["chat template, line 1"]));
}
