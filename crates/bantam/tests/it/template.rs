//! `bantam template`.

use crate::support::{Folder, check, fails, prints};

const CHAT: &str = r#"[{"role": "user", "content": "Hi"}]"#;

#[test]
fn bare_templates_are_rendered() {
    let folder = Folder::new("template");
    let plain = folder.file(
        "plain.jinja",
        "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endfor %}\
         {% if add_generation_prompt %}<assistant>{% endif %}",
    );
    let chat = folder.file("chat.json", CHAT);
    let plain = plain.as_str();
    check(&["template", plain, &chat], "", &prints("<user>Hi<assistant>"));
    check(&["template", plain, "-"], CHAT, &prints("<user>Hi<assistant>"));
    check(&["template", plain, "-", "--bos", "<s>", "--eos", "</s>"], CHAT, &prints("<s><user>Hi</s><assistant>"));
    check(&["template", plain, "-", "--no-generation-prompt"], CHAT, &prints("<user>Hi"));
    check(&["template", plain, "-"], "[]", &prints("<assistant>"));
    check(&["template", plain, "-"], r#"{"messages": []}"#, &prints("<assistant>"));
    check(&["template", plain, "-"], "{}", &fails(1, &["messages"]));
    check(&["template", plain, "-"], "[", &fails(1, &["stdin is no JSON"]));
    check(&["template", plain, "no-such.json"], "", &fails(1, &["no-such.json"]));
    check(&["template", plain, "-", "--think"], CHAT, &fails(1, &["think"]));
}

#[test]
fn variables_tools_and_dates_reach_the_template() {
    let folder = Folder::new("variables");
    let check_source = |source: &str, arguments: &[&str], expected: &str| {
        let path = folder.file("one.jinja", source);
        check(&[&["template", &path, "-"], arguments].concat(), CHAT, &prints(expected));
    };
    let tools = folder.file("tools.json", r#"[{"type": "function", "function": {"name": "f"}}]"#);
    check_source("{{ tools[0].function.name }}", &["--tools", &tools], "f");
    check_source("{{ tools is none }}", &[], "True");
    // Tools and calls get the shape that `run` gives them.
    let bare = folder.file("bare.json", r#"{"tools": [{"name": "f"}]}"#);
    check_source("{{ tools[0].function.name }}{{ tools[0].type }}", &["--tools", &bare], "ffunction");
    let wrong = folder.file("wrong.json", r#"[{"name": "a b"}]"#);
    let path = folder.file("one.jinja", "");
    check(&["template", &path, "-", "--tools", &wrong], CHAT, &fails(1, &["[0].name: expected a name"]));
    let calls = r#"[{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{\"x\": 1}"}}]}]"#;
    for source in [
        "{{ messages[0].tool_calls[0].function.arguments.x }}",
        "{{ messages[0].tool_calls[0].function.arguments|length }}",
    ] {
        let path = folder.file("one.jinja", source);
        check(&["template", &path, "-"], calls, &prints("1"));
    }
    check_source("{{ a }}{{ b[1] }}", &["--set", "a=1", "--set", "b=[2, \"x\"]"], "1x");
    check_source("{{ strftime_now('%d %b %Y') }}", &["--date", "2024-07-26"], "26 Jul 2024");
    check_source(
        "{% if enable_thinking is defined and not enable_thinking %}no{% else %}yes{% endif %}",
        &["--no-think"],
        "no",
    );
    check_source(
        "{% if enable_thinking is defined and not enable_thinking %}no{% else %}yes{% endif %}",
        &["--think"],
        "yes",
    );
}

#[test]
fn templates_that_loop_or_grow_are_stopped() {
    let folder = Folder::new("hostile");
    for source in [
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{{ '-' * 10**10 }}",
        "{% set ns = namespace(s='x') %}{% for a in range(100) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ messages[0].content.nothing.at_all }}",
        "{% for %}",
        "{{ raise_exception('not today') }}",
    ] {
        let path = folder.file("hostile.jinja", source);
        check(&["template", &path, "-"], CHAT, &fails(1, &["template"]));
    }
}
