//! Calls for tools, read from answers: conventions as they are published, and every way of cutting an answer.

use bantam_testkit::evidence;
use bantam_text::tool_calls::{CONVENTIONS, Outcome, Piece, Signs, ToolCall, ToolCallParser, Tools, named, recognise};
use serde_json::{Map, Value, json};

fn tools() -> Tools {
    let parameters = json!({
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer"},
            "wind": {"type": ["boolean", "null"]},
            "places": {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]},
            "options": {"$ref": "#/$defs/options"},
        },
        "$defs": {"options": {"type": "object"}},
    });
    let python = json!({"type": "object", "properties": {"code": {"type": "string"}}});
    Tools::from_json(json!([
        {"type": "function", "function": {"name": "weather", "description": "Tells it.", "parameters": parameters}},
        {"name": "now"},
        {"type": "function", "function": {"name": "python", "parameters": python}},
    ]))
    .unwrap()
}

/// The answer in these pieces: text, thoughts, outcome.
fn read(convention: &str, pieces: &[&str], ended: bool) -> (String, String, Outcome) {
    let (mut text, mut thoughts, mut calls) = (String::new(), String::new(), Vec::new());
    let mut emit = |piece: Piece<'_>| match piece {
        Piece::Text(piece) => text.push_str(piece),
        Piece::Reasoning(piece) => thoughts.push_str(piece),
        Piece::Call(call) => calls.push(call.clone()),
    };
    let mut parser = ToolCallParser::new(named(convention).unwrap(), tools(), 7, 0);
    pieces.iter().for_each(|piece| parser.push(piece, &mut emit));
    let outcome = parser.finish(ended, &mut emit);
    assert_eq!(calls, outcome.calls, "{pieces:?}: what is streamed is what is gathered");
    (text, thoughts, outcome)
}

/// The answer's text, its calls as `name arguments` a line, and what is said to be wrong; the same however it is cut.
#[track_caller]
fn check(convention: &str, answer: &str, text: &str, calls: &str, error: &str) {
    check_end(convention, (answer, true), text, calls, error);
}

/// The same, of an answer that the model ended, or that was cut short.
#[track_caller]
fn check_end(convention: &str, (answer, ended): (&str, bool), text: &str, calls: &str, error: &str) {
    let read = |pieces: &[&str]| read(convention, pieces, ended);
    let whole = read(&[answer]);
    let written: Vec<_> = whole.2.calls.iter().map(|call| format!("{} {}", call.name, call.arguments)).collect();
    let found = (whole.0.as_str(), written.join("\n"), whole.2.error.as_deref().unwrap_or(""));
    assert_eq!(found, (text, calls.to_owned(), error), "{convention}: {answer:?}");
    for call in &whole.2.calls {
        assert!(serde_json::from_str::<Map<String, Value>>(&call.arguments).is_ok(), "{}", call.arguments);
    }
    let characters: Vec<_> = answer.char_indices().map(|(at, c)| &answer[at..at + c.len_utf8()]).collect();
    assert_eq!(read(&characters), whole, "{convention}: {answer:?}, character by character");
    for (at, _) in answer.char_indices() {
        assert_eq!(read(&[&answer[..at], &answer[at..]]), whole, "{convention}: {answer:?} cut at {at}");
    }
    if !whole.2.calls.is_empty() && error.is_empty() {
        evidence::shown("tool calls", convention, "parsed");
    }
}

#[test]
fn hermes() {
    let check = |answer: &str, text: &str, calls: &str, error: &str| check("hermes", answer, text, calls, error);
    check("Hello <b>you</b>. ", "Hello <b>you</b>. ", "", "");
    check(
        "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Köln\"}}\n</tool_call>",
        "",
        "weather {\"city\": \"Köln\"}",
        "",
    );
    check(
        "Let me see.\n\n<tool_call>{\"arguments\":{\"n\":1.50},\"name\":\"now\"}</tool_call>\n<tool_call>\n{\"name\": \"now\"}\n</tool_call>\n",
        "Let me see.",
        "now {\"n\":1.50}\nnow {}",
        "",
    );
    // The end of the answer ends a call; the end inside of one does not.
    check("a <tool_call>{\"name\": \"now\", \"arguments\": {}}", "a", "now {}", "");
    check(
        "<tool_call>\n{\"name\": \"now\", \"argu",
        "<tool_call>\n{\"name\": \"now\", \"argu",
        "",
        "the answer ends inside of a call",
    );
    check("a <tool_cal", "a <tool_cal", "", "");
    // What is malformed stays, and what follows it is read.
    check(
        "<tool_call>{'name': 'now'}</tool_call> or <tool_call>{\"name\": \"now\"}</tool_call> done",
        "<tool_call>{'name': 'now'}</tool_call> or done",
        "now {}",
        "a call's JSON is wrong at \"'\": a key in double quotes was expected",
    );
    check(
        "<tool_call>{\"name\": \"now\", \"arguments\": [1]}</tool_call>",
        "<tool_call>{\"name\": \"now\", \"arguments\": [1]}</tool_call>",
        "",
        "the arguments of now are no JSON object",
    );
    check("<tool_call>[]</tool_call>", "<tool_call>[]</tool_call>", "", "a list of calls is empty");
    check("<tool_call>{}</tool_call>", "<tool_call>{}</tool_call>", "", "a call has no \"name\"");
    check(
        "<tool_call>{\"name\": \"fly\", \"arguments\": {}}</tool_call>",
        "",
        "fly {}",
        "the model called fly, which is not among the tools",
    );
    // Arguments as a text that spells them, a whole call in OpenAI's shape, line breaks in texts.
    check("<tool_call>{\"name\": \"now\", \"arguments\": \"{\\\"a\\\": 1}\"}</tool_call>", "", "now {\"a\": 1}", "");
    check(
        "<tool_call>{\"type\": \"function\", \"function\": {\"name\": \"now\", \"parameters\": {\"a\": \"x\ny\"}}}</tool_call>",
        "",
        "now {\"a\": \"x\\ny\"}",
        "",
    );
    check("a<tool_call>{\"name\": \"now\"}</tool_call>\n\nb\n", "ab\n", "now {}", "");
    // The same under other marks.
    let other = |convention: &str, answer: &str| self::check(convention, answer, "a", "now {}", "");
    other("longcat", "a<longcat_tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</longcat_tool_call>");
    other("gigachat3", "a\n\nfunction call<|role_sep|>\n{\"name\": \"now\", \"arguments\": {}}");
}

#[test]
fn parameters_that_say_their_kind() {
    let argument = |key: &str, kind: &str, value: &str| {
        format!("<｜DSML｜parameter name=\"{key}\"{kind}>{value}</｜DSML｜parameter>\n")
    };
    let [texts, others] = [" string=\"true\"", " string=\"false\""];
    let all = [
        argument("city", texts, "Köln\n"),
        argument("days", others, "2"),
        argument("options", others, "{\"x\": [1, null]}"),
        argument("places", others, "half"),
        argument("wind", "", "true"),
        argument("days", texts, "3"),
    ];
    let calls = format!(
        "<｜DSML｜invoke name=\"weather\">\n{}</｜DSML｜invoke>\n<｜DSML｜invoke name=\"now\">\n</｜DSML｜invoke>",
        all.concat()
    );
    let read = "weather {\"city\": \"Köln\\n\", \"options\": {\"x\": [1, null]}, \"places\": \"half\", \"wind\": true, \"days\": \"3\"}\nnow {}";
    let [three, four] = ["function_calls", "tool_calls"]
        .map(|section| format!("Well.\n\n<｜DSML｜{section}>\n{calls}\n</｜DSML｜{section}>"));
    check("deepseek-v3.2", &three, "Well.", read, "");
    check("deepseek-v4", &four, "Well.", read, "");
    let empty = "<｜DSML｜tool_calls>\n</｜DSML｜tool_calls>";
    let reason = "a call has \"<\" where \"<｜DSML｜invoke name=\\\"\" was expected";
    check("deepseek-v4", empty, empty, "", reason);
}

#[test]
fn recipients_before_their_text() {
    let check =
        |answer: &str, text: &str, calls: &str, error: &str| check("functionary-v3.2", answer, text, calls, error);
    check("all\nHi >>> there", "Hi >>> there", "", "");
    check("now\n{}", "", "now {}", "");
    check(
        "all\nLet me see.\n>>>weather\n{\"city\": \"a>>>b\"}>>>now\n{}",
        "Let me see.",
        "weather {\"city\": \"a>>>b\"}\nnow {}",
        "",
    );
    check("fly\n{}", "fly\n{}", "", "");
    check("now\n{", "now\n{", "", "the answer ends inside of a call");
    check("all", "all", "", "");
}

#[test]
fn parameters_in_tags() {
    check(
        "qwen3-coder",
        "I look.\n<tool_call>\n<function=weather>\n<parameter=city>\nKöln\n</parameter>\n<parameter=days>\n2\n</parameter>\n\
         <parameter=wind>\nTrue\n</parameter>\n<parameter=places>\n[\"a\", \"b\"]\n</parameter>\n<parameter=options>\n\
         {'x': None}\n</parameter>\n<parameter=more>\n5\n</parameter>\n</function>\n</tool_call>",
        "I look.",
        "weather {\"city\": \"Köln\", \"days\": 2, \"wind\": true, \"places\": [\"a\", \"b\"], \"options\": {\"x\": null}, \"more\": \"5\"}",
        "",
    );
    check(
        "qwen3-coder",
        "<function=weather>\n<parameter=city>\na\n</parameter>\nb\n\n</parameter>\n<parameter=days>\nmany\n</parameter>\n</function>\n</tool_call>",
        "",
        "weather {\"city\": \"a\\n</parameter>\\nb\\n\", \"days\": \"many\"}",
        "",
    );
    check("qwen3-coder", "<tool_call><function=now></function></tool_call>", "", "now {}", "");
    check(
        "qwen3-coder",
        "<tool_call>\n<function=now>\n<parameter=a>\n1",
        "<tool_call>\n<function=now>\n<parameter=a>\n1",
        "",
        "the answer ends inside of a call",
    );
    check(
        "glm-4.5",
        "\n<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Köln</arg_value>\n<arg_key>days</arg_key>\n<arg_value>2</arg_value>\n</tool_call>\n<tool_call>now\n</tool_call>",
        "",
        "weather {\"city\": \"Köln\", \"days\": 2}\nnow {}",
        "",
    );
    check(
        "minimax-m2",
        "<minimax:tool_call>\n<invoke name=\"weather\">\n<parameter name=\"city\">Köln</parameter>\n<parameter name=\"wind\">null</parameter>\n</invoke>\n<invoke name=\"now\">\n</invoke>\n</minimax:tool_call>",
        "",
        "weather {\"city\": \"Köln\", \"wind\": null}\nnow {}",
        "",
    );
    check(
        "seed-oss",
        "<seed:tool_call>\n<function=weather>\n<parameter=city>Köln</parameter>\n</function>\n</seed:tool_call>",
        "",
        "weather {\"city\": \"Köln\"}",
        "",
    );
}

#[test]
fn parameters_in_elements() {
    check(
        "minicpm5",
        "<function name=\"weather\"><param name=\"city\"><![CDATA[<a>\n</param>]]></param><param name=\"days\">2</param></function>\n<function name=\"now\"></function>",
        "",
        "weather {\"city\": \"<a>\\n</param>\", \"days\": 2}\nnow {}",
        "",
    );
    check("gigachat3.1", "<|function_call|>{\"name\": \"now\", \"arguments\": {}}", "", "now {}", "");
}

#[test]
fn llama3() {
    let check = |answer: &str, text: &str, calls: &str, error: &str| check("llama3", answer, text, calls, error);
    check("\n{\"name\": \"weather\", \"parameters\": {\"city\": \"Köln\"}}", "", "weather {\"city\": \"Köln\"}", "");
    check(
        "{\"name\": \"now\", \"parameters\": {}}; {\"name\": \"now\", \"parameters\": {\"a\": \"b; c\"}};",
        "",
        "now {}\nnow {\"a\": \"b; c\"}",
        "",
    );
    check("<|python_tag|>{\"type\": \"function\", \"name\": \"now\", \"parameters\": {}}", "", "now {}", "");
    check(
        "<|python_tag|>brave_search.call(query=\"a, \\\"b\\\"\")",
        "",
        "brave_search {\"query\": \"a, \\\"b\\\"\"}",
        "the model called brave_search, which is not among the tools",
    );
    check("<|python_tag|>print(1)\nx = {2}", "", "python {\"code\": \"print(1)\\nx = {2}\"}", "");
    // JSON that is an answer, no call.
    check("{\"name\": \"Bo\", \"age\": 3}", "{\"name\": \"Bo\", \"age\": 3}", "", "");
    check("{\"name\": \"Bo\", \"parameters\": {}}", "{\"name\": \"Bo\", \"parameters\": {}}", "", "");
    check("So: {\"name\": \"now\", \"parameters\": {}}", "So: {\"name\": \"now\", \"parameters\": {}}", "", "");
    check("{a} is a set", "{a} is a set", "", "");
    check("{\"name\": \"now\", \"par", "{\"name\": \"now\", \"par", "", "the answer ends inside of a call");
}

#[test]
fn lists_of_json() {
    check(
        "mistral",
        "[TOOL_CALLS][{\"name\": \"now\", \"arguments\": {}, \"id\": \"abcdefghi\"}, {\"name\": \"now\"}]",
        "",
        "now {}\nnow {}",
        "",
    );
    check("mistral", "[TOOL_CALLS] {\"name\": \"now\"}", "", "now {}", "");
    check(
        "mistral",
        "Yes [TOOL_CALLS]none",
        "Yes [TOOL_CALLS]none",
        "",
        "a call's JSON is wrong at \"o\": no value begins so",
    );
    check(
        "mistral-args",
        "[TOOL_CALLS]weather[ARGS]{\"city\": \"x\"}[TOOL_CALLS]now[ARGS]{}",
        "",
        "weather {\"city\": \"x\"}\nnow {}",
        "",
    );
    check("mistral-args", "[TOOL_CALLS]now[CALL_ID]abcdefghi[ARGS]{}</s>", "</s>", "now {}", "");
    check("granite", "<|tool_call|>[{\"name\": \"now\", \"arguments\": {}}]", "", "now {}", "");
    check("phi4-mini", "[{\"name\": \"now\", \"arguments\": {}}]", "", "now {}", "");
    check("phi4-mini", "{\"name\": \"Bo\"}", "{\"name\": \"Bo\"}", "", "");
    check("hunyuan", "<tool_calls>\n{\"name\": \"now\"}\n{\"name\": \"now\"}\n</tool_calls>", "", "now {}\nnow {}", "");
    check("granite", "<tool_call>[{\"name\": \"now\", \"arguments\": {}}]", "", "now {}", "");
    check("phi4-mini", "<|tool_call|>[{\"name\": \"now\", \"arguments\": {}}]<|/tool_call|>", "", "now {}", "");
    check("phi4-mini", "functools[{\"name\": \"now\", \"arguments\": {}}]", "", "now {}", "");
    check("functools", " functools[{\"name\": \"now\", \"arguments\": {}}] ", "", "now {}", "");
    check("nemotron", "<TOOLCALL>[{\"name\": \"now\", \"arguments\": {}}]</TOOLCALL>", "", "now {}", "");
    check("hunyuan", "<tool_calls>[{\"name\": \"now\", \"arguments\": {}}]</tool_calls>", "", "now {}", "");
    check(
        "apertus",
        "<|tools_prefix|>[{\"weather\": {\"city\": \"x\"}}, {\"now\": {}}]<|tools_suffix|>",
        "",
        "weather {\"city\": \"x\"}\nnow {}",
        "",
    );
    check(
        "internlm2",
        "I do.<|action_start|><|plugin|>\n{\"name\": \"now\", \"parameters\": {}}<|action_end|>",
        "I do.",
        "now {}",
        "",
    );
    check(
        "command-r",
        "Plan.\nAction: ```json\n[\n    {\n        \"tool_name\": \"now\",\n        \"parameters\": {}\n    }\n]```",
        "Plan.",
        "now {}",
        "",
    );
    check("command-r", "Action: none", "Action: none", "", "");
    check(
        "command-r7b",
        "<|START_ACTION|>[\n    {\"tool_call_id\": \"0\", \"tool_name\": \"now\", \"parameters\": {}}\n]<|END_ACTION|>",
        "",
        "now {}",
        "",
    );
    check("json-list", "[{\"name\": \"now\", \"arguments\": {}}]", "", "now {}", "");
    check("json-list", "[1, 2, 3]", "[1, 2, 3]", "", "");
}

#[test]
fn names_before_json() {
    check(
        "deepseek-r1",
        "Hm.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n{\"city\": \"x\"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "Hm.",
        "weather {\"city\": \"x\"}\nnow {}",
        "",
    );
    check(
        "deepseek-v3.1",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>{\"a\": 1}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "",
        "now {}\nnow {\"a\": 1}",
        "",
    );
    check(
        "kimi-k2",
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.now:0<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>",
        "",
        "now {}",
        "",
    );
    check("functionary", "<function=now>{\"a\": 1}</function>", "", "now {\"a\": 1}", "");
    check("glm-4", "weather\n{\"city\": \"x\"}", "", "weather {\"city\": \"x\"}", "");
    check("glm-4", "weather is fine\nyes", "weather is fine\nyes", "", "");
    check("glm-4", "Hello", "Hello", "", "");
}

#[test]
fn python() {
    check(
        "lfm2",
        "<|tool_call_start|>[weather(city='K\\u00f6ln', days=-2, wind=None, places=[\"a\", 'b'], options={\"x\": (1, .5, 2., 1_000)}), now()]<|tool_call_end|>Checking.",
        "Checking.",
        "weather {\"city\": \"Köln\", \"days\": -2, \"wind\": null, \"places\": [\"a\", \"b\"], \"options\": {\"x\": [1, 0.5, 2.0, 1000]}}\nnow {}",
        "",
    );
    check("lfm2", "<|tool_call_start|>[{\"name\": \"now\", \"arguments\": {}}]<|tool_call_end|>", "", "now {}", "");
    check("pythonic", "[weather(\"x\", 2), now()]", "", "weather {\"city\": \"x\", \"days\": 2}\nnow {}", "");
    check("pythonic", "[fly()]", "[fly()]", "", "");
    check("pythonic", "[1] is a footnote", "[1] is a footnote", "", "");
    check("pythonic", "<|python_start|>[now()]<|python_end|>", "", "now {}", "");
    check(
        "gemma3",
        "Sure.\n```tool_code\nprint(now())\nweather(city=\"\"\"a\n\"b\"\"\"\")\n```\n",
        "Sure.\n```tool_code\nprint(now())\nweather(city=\"\"\"a\n\"b\"\"\"\")\n```\n",
        "",
        "a call has \"\\\"\" where a comma or a closing parenthesis was expected",
    );
    check(
        "gemma3",
        "Sure.\n```tool_code\nprint(now())\nweather(city=\"\"\"a\n\"b\" \"\"\")\n```\n",
        "Sure.",
        "now {}\nweather {\"city\": \"a\\n\\\"b\\\" \"}",
        "",
    );
    check("gemma3", "```json\n{\"name\": \"now\", \"parameters\": {}}\n```", "", "now {}", "");
    check("gemma3", "```json\n{\"a\": 1}\n```", "```json\n{\"a\": 1}\n```", "", "");
    check("gemma3", "[now()]", "", "now {}", "");
    check("smollm3-python", "<code>now()</code>", "", "now {}", "");
    check(
        "smollm3-python",
        "<code>now(x=y)</code>",
        "<code>now(x=y)</code>",
        "",
        "a call has \"y\" where a value was expected",
    );
    check(
        "olmo3",
        "<function_calls>now()\nweather(city='x')</function_calls>",
        "",
        "now {}\nweather {\"city\": \"x\"}",
        "",
    );
    check(
        "minicpm3",
        "<|thought_end|>\n<|tool_call_start|>\n```python\nnow()\nnow(a=True)\n```\n<|tool_call_end|>",
        "<|thought_end|>",
        "now {}\nnow {\"a\": true}",
        "",
    );
    // What is wrong with an escape is said the same however much of it has come.
    check("pythonic", r#"[now(a="\ux\"")]"#, r#"[now(a="\ux\"")]"#, "", r"a call has \ux, which is no character");
}

#[test]
fn gemma4() {
    let check = |answer: &str, text: &str, calls: &str, error: &str| check("gemma4", answer, text, calls, error);
    check("<|tool_call>call:now{{\"a\": 1}}<tool_call|>", "", "now {\"a\": 1}", "");
    check(
        "<|tool_call>call:weather{city:<|\"|>K{ö}, \"ln\"<|\"|>,days:2,options:{x:<|\"|>y<|\"|>,z:[1,true]},places:[<|\"|>a<|\"|>],wind:None}<tool_call|><|tool_call>call:now{}<tool_call|>",
        "",
        "weather {\"city\": \"K{ö}, \\\"ln\\\"\", \"days\": 2, \"options\": {\"x\": \"y\", \"z\": [1, true]}, \"places\": [\"a\"], \"wind\": null}\nnow {}",
        "",
    );
    check(
        "<|tool_call>call:now{a:b}<tool_call|>",
        "<|tool_call>call:now{a:b}<tool_call|>",
        "",
        "a call has \"b\" where a value was expected",
    );
}

#[test]
fn harmony() {
    let check = |answer: &str, text: &str, thoughts: &str, calls: &str| {
        let found = read("harmony", &[answer], true);
        let written: Vec<_> = found.2.calls.iter().map(|call| format!("{} {}", call.name, call.arguments)).collect();
        assert_eq!(
            (found.0.as_str(), found.1.as_str(), written.join("\n").as_str()),
            (text, thoughts, calls),
            "{answer:?}"
        );
        let characters: Vec<_> = answer.char_indices().map(|(at, c)| &answer[at..at + c.len_utf8()]).collect();
        assert_eq!(read("harmony", &characters, true), found, "{answer:?}");
        if !found.2.calls.is_empty() && found.2.error.is_none() {
            evidence::shown("tool calls", "harmony", "parsed");
        }
    };
    check("<|channel|>final<|message|>Hi <you>.<|return|>", "Hi <you>.", "", "");
    check(
        "<|channel|>analysis<|message|>I call.<|end|><|start|>assistant<|channel|>commentary to=functions.now <|constrain|>json<|message|>{\"a\": 1}<|call|>",
        "",
        "I call.",
        "now {\"a\": 1}",
    );
    check(" to=functions.now<|channel|>commentary json<|message|>{}", "", "", "now {}");
    check(
        "<|channel|>commentary<|message|>First.<|end|><|start|>assistant<|channel|>commentary to=functions.now<|message|>{",
        "First.<|start|>assistant<|channel|>commentary to=functions.now<|message|>{",
        "",
        "",
    );
    check("plain text", "plain text", "", "");
}

#[test]
fn what_a_frame_writes_is_read_back() {
    let arguments =
        json!({"city": "Köln, \"x\"", "days": 2, "wind": null, "places": ["a", "b"], "options": {"x": {"y": true}}});
    let arguments = arguments.to_string();
    for convention in CONVENTIONS {
        let two = [("weather", arguments.as_str()), ("now", "{}")];
        let calls = if convention.frame.parallel { &two[..] } else { &two[..1] };
        let answer = convention.frame.write(calls);
        let (text, thoughts, outcome) = read(convention.name, &[&answer], true);
        assert_eq!((text.as_str(), thoughts.as_str(), outcome.error), ("", "", None), "{}: {answer}", convention.name);
        let found: Vec<(String, Value)> =
            outcome.calls.into_iter().map(|call| (call.name, serde_json::from_str(&call.arguments).unwrap())).collect();
        let expected: Vec<(String, Value)> = calls
            .iter()
            .map(|(name, arguments)| ((*name).to_owned(), serde_json::from_str(arguments).unwrap()))
            .collect();
        assert_eq!(found, expected, "{}: {answer}", convention.name);
    }
}

#[test]
fn conventions_are_told_apart() {
    for (index, convention) in CONVENTIONS.iter().enumerate() {
        assert!(CONVENTIONS[..index].iter().all(|other| other.name != convention.name), "{}", convention.name);
        assert!(!convention.about.is_empty() && !convention.triggers.is_empty(), "{}", convention.name);
        for (at, trigger) in convention.triggers.iter().enumerate() {
            let alike = |of: &bantam_text::tool_calls::Trigger| of.at_start == trigger.at_start;
            let others = convention.triggers.iter().enumerate().filter(|(other, of)| *other != at && alike(of));
            assert!(others.into_iter().all(|(_, other)| !other.text.starts_with(trigger.text)), "{}", convention.name);
        }
        let opening = convention.frame.opening();
        let shown = convention
            .triggers
            .iter()
            .any(|trigger| opening.starts_with(trigger.text) || trigger.text.starts_with(&opening));
        assert!(shown, "{}: {opening:?} begins with no trigger", convention.name);
    }
}

#[test]
fn identifiers_have_the_form_their_templates_want() {
    let ids = |convention: &str, answer: &str| -> Vec<String> {
        read(convention, &[answer], true).2.calls.into_iter().map(|call| call.id).collect()
    };
    let own = ids("hermes", "<tool_call>[{\"name\": \"now\"}, {\"name\": \"now\"}]</tool_call>");
    assert!(own.iter().all(|id| id.len() == 29 && id.starts_with("call_")) && own[0] != own[1], "{own:?}");
    let nine =
        ids("mistral", "[TOOL_CALLS][{\"name\": \"now\", \"id\": \"abcdefghi\"}, {\"name\": \"now\", \"id\": \"x\"}]");
    assert!(nine[0] == "abcdefghi" && nine[1].len() == 9, "{nine:?}");
    let kimi = "<|tool_calls_section_begin|><|tool_call_begin|>functions.now:3<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_call_begin|>now<|tool_call_argument_begin|>{}<|tool_call_end|>";
    assert_eq!(ids("kimi-k2", kimi), ["functions.now:3", "functions.now:1"]);
}

#[test]
fn calls_have_the_shape_of_the_chat_api() {
    let call = ToolCall { id: "call_1".into(), name: "now".into(), arguments: "{\"a\": 1}".into() };
    let json = json!({"id": "call_1", "type": "function", "function": {"name": "now", "arguments": "{\"a\": 1}"}});
    assert_eq!(serde_json::to_value(&call).unwrap(), json);
    assert_eq!(serde_json::from_value::<ToolCall>(json).unwrap(), call);
}

#[test]
fn descriptions_of_tools_are_read_or_refused_by_place() {
    let check = |value: Value, expected: Result<&[&str], &str>| {
        let found = Tools::from_json(value.clone()).map_err(|error| error.to_string());
        let found = found.as_ref().map(|tools| tools.iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>());
        assert_eq!(found.as_deref().map_err(|error| error.as_str()), expected, "{value}");
    };
    let plain = json!({"type": "function", "function": {"name": "a", "parameters": {"type": "object"}}});
    check(json!([plain]), Ok(&["a"]));
    check(
        json!({"tools": [plain, {"name": "b"}, {"type": "function", "name": "c", "parameters": null}]}),
        Ok(&["a", "b", "c"]),
    );
    check(plain.clone(), Ok(&["a"]));
    check(json!([]), Ok(&[]));
    check(json!("x"), Err("tools: the top: expected a list of tools, found the text \"x\""));
    check(json!({"tools": [plain, 7]}), Err("tools: tools[1]: expected an object, found a number"));
    check(json!([plain, plain]), Err("tools: [1]: there is another tool called \"a\""));
    check(
        json!([{"type": "function", "function": {}}]),
        Err("tools: [0].function.name: expected a text, found nothing"),
    );
    check(
        json!([{"type": "web", "function": {"name": "a"}}]),
        Err("tools: [0].type: expected \"function\", found the text \"web\""),
    );
    check(
        json!([{"name": "get weather"}]),
        Err(
            "tools: [0].name: expected a name of letters, digits and _ - . : / (256 bytes at most), found the text \"get weather\"",
        ),
    );
    for name in ["<|im_end|>x", " a", "a\n", ""] {
        assert!(Tools::from_json(json!([{"name": name}])).is_err(), "{name:?}");
    }
    check(
        json!([{"name": "a", "parameters": []}]),
        Err("tools: [0].parameters: expected a JSON schema, which is an object, found a list"),
    );
}

#[test]
fn a_convention_is_recognised_and_never_guessed() {
    let none = Map::new();
    let check = |template: &str, token: &str, expected: Option<&str>| {
        let signs = Signs { template, has_token: &|known| known == token, variables: &none };
        assert_eq!(recognise(&signs).map(|convention| convention.name), expected, "{template}");
    };
    check("{% for tool in tools %}{{ tool }}{% endfor %}", "", None);
    check("{{ tools }} <tool_call>{\"name\": …}", "", Some("hermes"));
    check("{{ tools }} <tool_call>…", "", None);
    check("{{ tools }}", "<|tool_call_start|>", Some("lfm2"));
    check("{{ tools }}", "<tool_call>", None);
}

#[test]
fn an_answer_that_was_cut_has_no_half_call() {
    let check = |convention: &str, answer: &str, text: &str, calls: &str, error: &str| {
        check_end(convention, (answer, false), text, calls, error);
    };
    // Nothing but the model's own end shows that Python is whole.
    let python = "<|python_tag|>print(open('a').re";
    check("llama3", python, python, "", "the answer was cut inside of a call");
    check_end("llama3", (python, true), "", "python {\"code\": \"print(open('a').re\"}", "");
    // What shows its own end is whole.
    check("hermes", "<tool_call>{\"name\": \"now\"}", "", "now {}", "");
    check("llama3", "{\"name\": \"now\", \"parameters\": {}}", "", "now {}", "");
    let half = "<tool_call>{\"name\": \"now\", \"argu";
    check("hermes", half, half, "", "the answer was cut inside of a call");
}

#[test]
fn calls_beside_one_that_goes_wrong_are_not_lost() {
    let cut = "the answer ends inside of a call";
    check(
        "llama3",
        "{\"name\": \"now\", \"parameters\": {}}; {\"name\": \"weather\", \"par",
        "; {\"name\": \"weather\", \"par",
        "now {}",
        cut,
    );
    check(
        "llama3",
        "{\"name\": \"now\", \"parameters\": {}}; {\"name\": \"fly\", \"parameters\": {}}",
        "",
        "now {}\nfly {}",
        "the model called fly, which is not among the tools",
    );
    check(
        "json-list",
        "[{\"name\": \"now\"}, {\"name\": \"fly\"}]",
        "",
        "now {}\nfly {}",
        "the model called fly, which is not among the tools",
    );
    // Without a frame, what goes wrong is said where a tool was named, and is else no call.
    let half = "[{\"name\": \"now\"}, {\"name\": \"wea";
    check("json-list", half, half, "", cut);
    check("json-list", "[{\"name\": \"Bo\"}, {\"na", "[{\"name\": \"Bo\"}, {\"na", "", "");
    check("pythonic", "[now(), weather(city=\"K", "[now(), weather(city=\"K", "", cut);
    check("pythonic", "[1, 2", "[1, 2", "", "");
    check("pythonic", "[now(), fly()]", "", "now {}\nfly {}", "the model called fly, which is not among the tools");
    let head = "<|channel|>commentary to=functions.now <|constr";
    check("harmony", head, head, "", cut);
    check("harmony", "<|channel|>fin", "<|channel|>fin", "", "");
}

#[test]
fn octal_escapes_are_those_of_python() {
    check("pythonic", r"[weather(city='\033[0m\0\18\777')]", "", r#"weather {"city": "\u001b[0m\u0000\u00018ǿ"}"#, "");
}
