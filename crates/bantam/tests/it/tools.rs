//! Tools on the command line: what is read and refused, held to schemas, and begun in the model's stead.

use serde_json::{Value, json};

use crate::support::{Folder, bantam, check, fails, model, model_with_template};

const TOOLS: &str = r#"[
    {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "additionalProperties": false}}},
    {"name": "add", "parameters": {"type": "object", "additionalProperties": false, "required": ["a", "b"],
        "properties": {"a": {"enum": [1, 2]}, "b": {"type": "integer", "minimum": 0, "maximum": 9}}}}
]"#;
const HERMES: &str = "{{ tools }} <tool_call>{\"name\": …}</tool_call> {% for m in messages %}{{ m.role }}: {{ m.content }}{{ m.tool_calls }}\n{% endfor %}";

#[test]
fn tools_that_cannot_be_given_are_refused() {
    let folder = Folder::new("tools-refused");
    let tools = folder.file("tools.json", TOOLS);
    check(&["run", &model(), "a", "--tools", &tools], "", &fails(1, &["--tools needs a chat template"]));
    let plain = model_with_template(&folder, "{{ messages[0].content }}");
    check(&["run", &plain, "a", "--tools", &tools], "", &fails(1, &["template does not use tools"]));
    let unknown = model_with_template(&folder, "{{ tools }}{{ messages[0].content }}");
    check(&["run", &unknown, "a", "--tools", &tools], "", &fails(1, &["--tool-format says it (", "hermes"]));
    check(&["run", &unknown, "a", "--tools", &tools, "--tool-format", "x"], "", &fails(2, &["there is no format 'x'"]));
    check(&["run", &unknown, "a", "--tools", &tools, "--tool-choice", "x"], "", &fails(1, &["no tool called \"x\""]));
    check(&["run", &unknown, "a", "--tool-choice", "none"], "", &fails(2, &["--tool-choice needs --tools"]));
    check(&["run", &unknown, "a", "--tools", "missing.json"], "", &fails(1, &["missing.json"]));
    let cases = [
        ("[", "is no JSON: EOF"),
        ("[]", "describes no tool"),
        (r#"{"tools": [{"name": 1}]}"#, "tools[0].name: expected a text, found a number"),
        (r#"[{"type": "function"}]"#, "[0].name: expected a text, found nothing"),
    ];
    for (content, error) in cases {
        let file = folder.file("wrong.json", content);
        check(&["run", &unknown, "a", "--tools", &file], "", &fails(1, &["wrong.json", error]));
    }
}

#[test]
fn a_call_that_was_asked_for_is_made() {
    let folder = Folder::new("tools-asked");
    let tools = folder.file("tools.json", TOOLS);
    let model = model_with_template(&folder, HERMES);
    let run = |more: &[&str], stdin: &str| -> Value {
        let mut arguments = vec!["run", &model, "--max-tokens", "120", "--seed", "1", "--json"];
        arguments.extend(more);
        let output = bantam(&arguments, stdin.as_bytes());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("one object")
    };
    // A model that tells stories writes calls where nothing else may come.
    let check = |answer: &Value, names: &[&str]| {
        let call = &answer["tool_calls"][0];
        assert_eq!(call["type"], "function", "{answer}");
        assert!(names.contains(&call["function"]["name"].as_str().unwrap_or_default()), "{answer}");
        let arguments = call["function"]["arguments"].as_str().expect("a text");
        let arguments: Value = serde_json::from_str(arguments).expect("the arguments are JSON");
        assert!(arguments.is_object(), "{answer}");
        if call["function"]["name"] == "add" {
            assert!(arguments["a"].is_i64() && arguments["b"].is_i64(), "{answer}");
        }
    };
    check(&run(&["a", "--tools", &tools, "--tool-choice", "add"], ""), &["add"]);
    check(&run(&["a", "--tools", &tools, "--tool-choice", "required"], ""), &["add", "now"]);
    for choice in ["auto", "none"] {
        let answer = run(&["a", "--tools", &tools, "--tool-choice", choice], "");
        assert!(answer.get("tool_call_error").is_none() && answer["text"] != "", "{answer}");
    }
    // In a line too, where it goes before the command line.
    let line = |choice: Value, parallel: bool| {
        let tools: Value = serde_json::from_str(TOOLS).expect("tools");
        format!(
            "{}\n",
            json!({ "prompt": "a", "tools": tools, "tool_choice": choice, "parallel_tool_calls": parallel })
        )
    };
    let named = json!({ "type": "function", "function": { "name": "now" } });
    let single = run(&["--jsonl"], &line(named, false));
    check(&single, &["now"]);
    assert_eq!(single["tool_calls"].as_array().map(Vec::len), Some(1));
    assert_eq!((&single["text"], &single["finish_reason"]), (&json!(""), &json!("tool_calls")), "{single}");
    assert!(single["constraint_met"] == true && single.get("tool_call_error").is_none(), "{single}");
    let none = run(
        &["--jsonl", "--tools", &tools, "--tool-choice", "required"],
        "{\"prompt\": \"a\", \"tool_choice\": \"none\"}\n",
    );
    assert!(none.get("tool_call_error").is_none(), "{none}");
    let output = bantam(&["run", &model, "--jsonl"], b"{\"prompt\": \"a\", \"tool_choice\": \"required\"}\n");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("a call is required, and there are no tools"), "{said}");
    // Where nothing but a name begins a call, only a named one can be begun.
    let glm = ["run", &model, "a", "--tools", &tools, "--tool-format", "glm-4", "--tool-choice", "required"];
    let refused = bantam(&glm, b"");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("a call can't be required here"));
    let named = run(&["a", "--tools", &tools, "--tool-format", "glm-4", "--tool-choice", "add"], "");
    assert!(named.to_string().contains("add"), "{named}");
    assert!(none.get("tool_calls").is_none(), "{none}");
    // Where arguments are no JSON, the call is begun in the model's stead and only read.
    let begun = run(&["a", "--tools", &tools, "--tool-choice", "add", "--tool-format", "qwen3-coder"], "");
    assert!(begun["text"].as_str().is_some_and(|text| text.starts_with("<tool_call>\n<function=add>")), "{begun}");
    // A schema that can't be honoured is refused before the model is loaded.
    let bad = r#"[{"name": "f", "parameters": {"not": {"required": ["a"]}}}]"#;
    let bad = folder.file("bad.json", bad);
    let output = bantam(&["run", &model, "a", "--tools", &bad], b"");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("tool \"f\"") && said.contains("\"not\""), "{said}");
}

#[test]
fn arguments_reach_the_template_as_it_takes_them() {
    let folder = Folder::new("tools-arguments");
    let line = r#"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": null, "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"x\": 1}"}}]}, {"role": "tool", "tool_call_id": "1", "content": "2"}], "max_tokens": 1}"#;
    let runs = |template: &str| {
        let model = model_with_template(&folder, template);
        let output = bantam(&["run", &model, "--jsonl"], line.as_bytes());
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let object =
        "{% if messages[1].tool_calls[0].function.arguments.x != 1 %}{{ raise_exception('no object') }}{% endif %}a";
    let text = "{{ 'a' + messages[1].tool_calls[0].function.arguments }}";
    let neither = "{{ 1 + messages[1].tool_calls[0].function.arguments }}";
    assert!(runs(object).0, "{}", runs(object).1);
    assert!(runs(text).0, "{}", runs(text).1);
    let (success, said) = runs(neither);
    assert!(!success && said.contains("\"error\""), "{said}");
}
