//! Templates that loop, grow or nest without end are stopped with an error, whatever they are made of.

use bantam_text::{ChatInput, ChatTemplate, TextError};

/// The source must be refused; how it is said is not checked here.
fn check(label: &str, source: &str) {
    let chat =
        ChatInput { messages: serde_json::json!([{"role": "user", "content": "hello"}]), ..ChatInput::default() };
    let found = ChatTemplate::new(source, "<s>", "</s>", "hostile").and_then(|template| template.render(&chat));
    match found {
        Err(error) => println!("{label}: {error}"),
        Ok(text) => panic!("{label}: rendered {} bytes", text.len()),
    }
}

#[test]
fn loops_are_stopped() {
    check("nested loops", &format!("{}x{}", "{% for i in range(99999) %}".repeat(5), "{% endfor %}".repeat(5)));
    check(
        "silent loops",
        &format!("{}{{% set x = i %}}{}", "{% for i in range(99999) %}".repeat(3), "{% endfor %}".repeat(3)),
    );
    check("macro calls itself", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}");
    check(
        "macro calls itself twice",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(40) }}",
    );
    check("recursive loop", "{% for x in [[1]] recursive %}{{ loop([x]) }}{% endfor %}");
    check("call block", "{% macro f() %}{% call f() %}{% endcall %}{% endmacro %}{{ f() }}");
    check(
        "caller",
        "{% macro f() %}{{ caller() }}{% call f() %}{{ caller() }}{% endcall %}{% endmacro %}{% call f() %}x{% endcall %}",
    );
    check("huge range", "{{ range(10**12)|list }}");
    check("range step", "{{ range(-9223372036854775807, 9223372036854775807, 1)|length }}");
    check("scans", "{% set s = 'a' * 4000000 %}{% for i in range(90000) %}{% if 'b' in s %}{% endif %}{% endfor %}");
    check("lengths", "{% set s = 'a' * 4000000 %}{% for i in range(90000) %}{% if s|length %}{% endif %}{% endfor %}");
    check(
        "compares",
        "{% set s = 'a' * 2000000 %}{% set t = 'a' * 2000000 %}{% for i in range(90000) %}{% if s == t %}{% endif %}{% endfor %}",
    );
    check("indices", "{% set s = 'é' * 1000000 %}{% for i in range(90000) %}{% if s[-1] %}{% endif %}{% endfor %}");
    check("list search", "{% set l = range(99999)|list %}{% for i in l %}{% if -1 in l %}{% endif %}{% endfor %}");
    check("many names", &"{% set a = b ~ c %}".repeat(50_000).replace("a =", "a = 'x' * 500 ~"));
}

#[test]
fn growth_is_stopped() {
    check("repeat", "{{ '-' * 10**10 }}");
    check("repeat a list", "{{ [0] * 10**10 }}");
    check("repeat, other side", "{{ 10**10 * '-' }}");
    check(
        "doubling by tilde",
        "{% set ns = namespace(x='xxxxxxxx') %}{% for i in range(64) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x|length }}",
    );
    check(
        "doubling by plus",
        "{% set ns = namespace(x='xxxxxxxx') %}{% for i in range(64) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x|length }}",
    );
    check(
        "doubling a list",
        "{% set ns = namespace(x=[1]) %}{% for i in range(64) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x|length }}",
    );
    check(
        "shared lists printed",
        "{% set ns = namespace(x=['ha']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
    );
    check(
        "shared lists as JSON",
        "{% set ns = namespace(x=['ha']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x|tojson }}",
    );
    check(
        "shared lists compared",
        "{% set ns = namespace(x=['ha'], y=['ha']) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}",
    );
    check(
        "values that hold values",
        "{% set ns = namespace(x=[]) %}{% for i in range(99999) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}",
    );
    check("replace", "{% set s = 'a' * 1000000 %}{{ s|replace('a', s) }}");
    check("replace method", "{% set s = 'a' * 1000000 %}{{ s.replace('', s) }}");
    check("join", "{% set s = 'a' * 1000000 %}{{ s.join(s) }}");
    check("join filter", "{% set s = 'a' * 1000000 %}{{ range(90000)|join(s) }}");
    check("format width", "{{ '%999999999d' % 1 }}");
    check("format precision", "{{ '%.999999999f' % 1 }}");
    check("format method", "{{ '{:>999999999}'.format(1) }}");
    check("format filter", "{{ '%999999999s'|format(1) }}");
    check("center", "{{ 'a'|center(10**10) }}");
    check("ljust", "{{ 'a'.ljust(10**10) }}");
    check("zfill", "{{ '1'.zfill(10**10) }}");
    check("tabs", "{{ ('\t' * 1000).expandtabs(10**8) }}");
    check("indent", "{{ ('a\n' * 100000)|indent(10**6) }}");
    check("indent width", "{{ 'a\nb'|indent(10**12) }}");
    check("JSON indent", "{{ [[[[1]]]]|tojson(indent=10**10) }}");
    check("batch", "{{ [1]|batch(10**10, 'x') }}");
    check("slice", "{{ [1]|slice(10**10, 'x') }}");
    check("output in a loop", "{% set s = 'a' * 100000 %}{% for i in range(99999) %}{{ s }}{% endfor %}");
    check("captured output", "{% for i in range(99999) %}{% set s %}{{ s }}{{ 'x' * 1000 }}{% endset %}{% endfor %}");
    check("power", "{{ 10 ** 10 ** 10 }}");
    check("strftime", "{{ strftime_now('%A' * 10**9) }}");
    check("split", "{% set s = 'a ' * 2000000 %}{% for i in range(99999) %}{% set x = s.split() %}{% endfor %}");
    check(
        "namespaces",
        "{% for i in range(99999) %}{% for j in range(99) %}{% set n = namespace(a='x' * 900) %}{% endfor %}{% endfor %}",
    );
    check(
        "macros",
        "{% for i in range(99999) %}{% for j in range(99) %}{% macro f() %}{% endmacro %}{% endfor %}{% endfor %}",
    );
    check("escape", "{% set s = '<' * 3000000 %}{{ s|e }}");
    check(
        "star arguments",
        "{% macro f() %}{% endmacro %}{% for i in range(99999) %}{{ f(*range(99999)) }}{% endfor %}",
    );
}

#[test]
fn nesting_is_stopped() {
    let nest = |open: &str, inside: &str, close: &str, count: usize| {
        format!("{{{{ {}{inside}{} }}}}", open.repeat(count), close.repeat(count))
    };
    check("brackets", &nest("(", "1", ")", 100_000));
    check("lists", &nest("[", "1", "]", 100_000));
    check("dictionaries", &nest("{1:", "1", "}", 100_000));
    check("calls", &nest("f(", "1", ")", 100_000));
    check("subscripts", &nest("a[", "1", "]", 100_000));
    check("conditions", &format!("{{{{ {}1 }}}}", "1 if 0 else ".repeat(50_000)));
    check("filters in filters", &nest("1|f(", "1", ")", 100_000));
    check("tests", &format!("{{{{ x {} }}}}", "is f(1 ".repeat(50_000)));
    check("blocks", &format!("{}{}", "{% if 1 %}".repeat(50_000), "{% endif %}".repeat(50_000)));
    check("targets", &format!("{{% set {}a{} = 1 %}}", "(".repeat(50_000), ")".repeat(50_000)));
    check("long templates", &"x".repeat(2_000_000));
    check("open comment", "{#");
    check("open raw", "{% raw %}");
    check("open tag", "{% if");
    check("only delimiters", &"{{".repeat(10_000));
}

/// Long chains are flat, so they cost time and not stack; some are honest and render.
#[test]
fn chains_need_no_stack() {
    let render = |source: &str| {
        let template = ChatTemplate::new(source, "", "", "chain")?;
        template.render(&ChatInput::default())
    };
    let check =
        |source: String, expected: &str| assert_eq!(render(&source).as_deref(), Ok(expected), "{}", &source[..60]);
    check(format!("{{{{ 1{} }}}}", " + 1".repeat(20_000)), "20001");
    check(format!("{{{{ 'a'{} }}}}", " ~ ''".repeat(20_000)), "a");
    check(format!("{{{{ {}1 }}}}", "not ".repeat(20_000)), "True");
    check(format!("{{{{ {}1 }}}}", "- ".repeat(20_000)), "1");
    check(format!("{{{{ 1{} }}}}", "|int".repeat(20_000)), "1");
    check(format!("{{{{ 0{} }}}}", " or 0".repeat(20_000)), "0");
    check(format!("{{{{ 1{} }}}}", " < 2 > 1".repeat(10_000)), "True");
    check(format!("{{% if 0 %}}{}{{% else %}}z{{% endif %}}", "{% elif 0 %}".repeat(20_000)), "z");
    let undefined = render(&format!("{{{{ a{} }}}}", ".b".repeat(100_000)));
    assert!(matches!(undefined, Err(TextError::TemplateRender { .. })));
}

/// A long chat is no attack: the limits grow with it.
#[test]
fn long_chats_render() {
    let source = "{% for m in messages %}<|{{ m.role }}|>{{ m.content.strip() | replace('x', 'y') }}{% if not loop.last %}\n{% endif %}{% endfor %}";
    let template = ChatTemplate::new(source, "", "", "long").unwrap();
    let content = "lorem ipsum x ".repeat(100);
    let messages: Vec<_> = (0..2_000).map(|_| serde_json::json!({"role": "user", "content": content})).collect();
    let chat = ChatInput { messages: messages.into(), ..ChatInput::default() };
    assert!(template.render(&chat).unwrap().len() > 2_000 * 1_300);
}
