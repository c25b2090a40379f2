"""Chat templates and single expressions as Python's Jinja2 renders them, set up as transformers sets it up.

    python chat_templates.py templates TEMPLATE_DIR OUT.json
    python chat_templates.py calls TEMPLATE_DIR OUT.json
    python chat_templates.py snippets OUT.json

`templates` renders every chat with every template. `calls` writes what an assistant's message with calls for tools looks like
in each of them: the text that a model is taught to answer with.
"""

import datetime
import json
import os
import re
import sys

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

NOW = datetime.datetime(2024, 7, 26, 15, 4, 5)


class Generation(Extension):
    """`{% generation %}` renders as its body."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda form: NOW.strftime(form)
    return env


def render(source, **variables):
    try:
        return environment().from_string(source).render(**variables)
    except Exception as error:  # noqa: BLE001 - any failure is the golden "fails"
        return {"error": f"{type(error).__name__}: {error}"[:200]}


WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather in a \"city\" – now.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "The city, e.g. Köln"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
                "days": {"type": ["integer", "null"], "minimum": 1},
                "options": {"type": "object", "properties": {"wind": {"type": "boolean"}}, "required": ["wind"]},
                "places": {"type": "array", "items": {"type": "string"}},
            },
            "required": ["city"],
        },
        "return": {"type": "object", "properties": {"t": {"type": "number"}}},
    },
}
ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds two numbers.",
        "parameters": {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}, "required": ["a", "b"]},
    },
}


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text} | more


def system(text):
    return {"role": "system", "content": text}


def call(name, arguments, number="abcdef123"):
    return {"id": number, "type": "function", "function": {"name": name, "arguments": arguments}}


def tool(text, number="abcdef123", name="get_weather"):
    return {"role": "tool", "content": text, "tool_call_id": number, "name": name}


CHATS = {
    "empty": dict(messages=[]),
    "plain": dict(messages=[user("Hello, world!")]),
    "padded": dict(messages=[user("  spaces \n around\n\n")]),
    "system": dict(messages=[system("You are terse.\n"), user("Hi 'there' \"you\" <b>&amp;")]),
    "turns": dict(messages=[user("One"), assistant("Two."), user("Three"), assistant(" Four "), user("Fünf 🎉")]),
    "system turns": dict(messages=[system("Be kind."), user("a"), assistant("b"), user("c")]),
    "ends with answer": dict(messages=[user("a"), assistant("b")], add_generation_prompt=False),
    "two users": dict(messages=[user("a"), user("b")]),
    "starts with answer": dict(messages=[assistant("b"), user("a")]),
    "thoughts": dict(messages=[user("a"), assistant("<think>\nhm\n</think>\n\nb"), user("c"), assistant("<think>x</think>d")]),
    "reasoning": dict(messages=[user("a"), assistant("b", reasoning_content="because"), user("c")]),
    "think on": dict(messages=[user("a")], enable_thinking=True),
    "think off": dict(messages=[user("a")], enable_thinking=False),
    "think off, system": dict(messages=[system("S /no_think"), user("a")], enable_thinking=False),
    "effort": dict(messages=[user("a")], reasoning_effort="high", thinking=True),
    "unknown role": dict(messages=[{"role": "narrator", "content": "x"}]),
    "null content": dict(messages=[user("a"), {"role": "assistant", "content": None}, user("b")]),
    "parts": dict(messages=[{"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]}]),
    "tools": dict(messages=[user("Weather in Köln?")], tools=[WEATHER]),
    "tools, system": dict(messages=[system("S"), user("Weather?")], tools=[WEATHER, ADD]),
    "tool call": dict(
        messages=[
            user("Weather in Köln?"),
            {"role": "assistant", "content": "", "tool_calls": [call("get_weather", {"city": "Köln", "days": 2, "options": {"wind": True}})]},
            tool('{"t": 21.5}'),
            assistant("21.5 degrees."),
            user("And 1+2?"),
        ],
        tools=[WEATHER, ADD],
    ),
    "tool call, no content": dict(
        messages=[user("x"), {"role": "assistant", "tool_calls": [call("add", {"a": 1, "b": 2.5})]}, tool("3.5", name="add")],
        tools=[ADD],
    ),
    "two tool calls": dict(
        messages=[
            user("x"),
            {"role": "assistant", "content": "Wait.", "tool_calls": [call("add", {"a": 1, "b": 2}, "aaaaaaaaa"), call("add", {"a": 3, "b": None}, "bbbbbbbbb")]},
            tool("3", "aaaaaaaaa", "add"),
            tool("<|im_end|> 7", "bbbbbbbbb", "add"),
        ],
        tools=[ADD],
    ),
    "tool call as text": dict(
        messages=[user("x"), {"role": "assistant", "content": None, "tool_calls": [call("add", '{"a": 1}')]}, tool("1", name="add")],
        tools=[ADD],
    ),
    "tool without call": dict(messages=[user("x"), tool("1")], tools=[ADD]),
    "three calls, then an answer": dict(
        messages=[
            system("S"),
            user("x"),
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    call("add", {"a": 1, "b": 2}, "aaaaaaaaa"),
                    call("get_weather", {"city": "a \"b\"\n<c>", "days": None, "options": {"wind": False}, "places": ["x", "y"]}, "bbbbbbbbb"),
                    call("add", {}, "ccccccccc"),
                ],
            },
            tool("3", "aaaaaaaaa", "add"),
            tool('{"t": 21.5, "places": []}', "bbbbbbbbb"),
            tool("", "ccccccccc", "add"),
            assistant("Done.\n"),
            user("More"),
        ],
        tools=[WEATHER, ADD],
    ),
    "thoughts before a call": dict(
        messages=[
            user("x"),
            {"role": "assistant", "content": "", "reasoning_content": "I must add.", "tool_calls": [call("add", {"a": 1, "b": 2})]},
            tool("3", name="add"),
        ],
        tools=[ADD],
        enable_thinking=True,
    ),
    "tools, think off": dict(messages=[user("a")], tools=[ADD], enable_thinking=False),
    "call, no generation prompt": dict(
        messages=[user("x"), {"role": "assistant", "content": "", "tool_calls": [call("add", {"a": 1, "b": 2})]}],
        tools=[ADD],
        add_generation_prompt=False,
    ),
    "turns, no generation prompt": dict(messages=[system("S"), user("a"), assistant("b"), user("c")], add_generation_prompt=False),
    "developer": dict(messages=[{"role": "developer", "content": "D"}, user("a")]),
    "late system": dict(messages=[user("a"), system("S"), user("b")]),
    "parts, tools": dict(
        messages=[
            {"role": "system", "content": [{"type": "text", "text": "S"}]},
            {"role": "user", "content": [{"type": "text", "text": "one"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "two"}]},
            {"role": "user", "content": [{"type": "text", "text": "three"}, {"type": "image"}]},
        ],
        tools=[ADD],
    ),
    "tool result in parts": dict(
        messages=[
            user("x"),
            {"role": "assistant", "content": "", "tool_calls": [call("add", {"a": 1, "b": 2})]},
            {"role": "tool", "tool_call_id": "abcdef123", "content": [{"type": "text", "text": "3"}]},
        ],
        tools=[ADD],
    ),
    "bare function": dict(messages=[user("x")], tools=[ADD["function"] | {"parameters": {"type": "object", "properties": {}}}]),
    "documents": dict(
        messages=[user("Who?")],
        documents=[{"doc_id": "1", "title": "T", "text": "Bo did.", "contents": "Bo did."}, {"doc_id": 2, "title": "U", "text": "", "contents": ""}],
    ),
    "kwargs": dict(
        messages=[system("S"), user("a")],
        tools=[ADD],
        date_string="1 Jan 2025",
        tools_in_user_message=False,
        builtin_tools=["brave_search", "code_interpreter"],
        keep_past_thinking=True,
        controls={"citations": True, "length": "short"},
        model_identity="I am.",
        reasoning_effort="low",
        add_vision_id=True,
    ),
    "python tools": dict(messages=[user("a")], python_tools=["def f(a: int): ..."], xml_tools=[ADD], custom_tools=[ADD]),
}


def templates(folder, out):
    goldens = []
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), encoding="utf-8", newline="") as file:
            source = file.read()
        for label, chat in CHATS.items():
            chat = {"add_generation_prompt": True, "tools": None, "documents": None} | chat
            text = render(source, bos_token="<s>", eos_token="</s>", **chat)
            goldens.append({"template": name, "chat": label, "text": text})
    chats = {label: {"add_generation_prompt": True} | chat for label, chat in CHATS.items()}
    with open(out, "w", encoding="utf-8") as file:
        json.dump({"chats": chats, "goldens": goldens}, file, ensure_ascii=False, indent=0)
        file.write("\n")


# What stands behind the answer proper: the end of the turn.
TURN_ENDS = re.compile(r"(?:\s*(?:<\|?/?(?:im_end|eot_id|eom_id|end|end_of_text|end▁of▁sentence|call|return|eot|END_OF_TURN_TOKEN|im_assistant|endofturn|assistant_end|observation|tool_response|turn)\|?>|</s>|<｜end▁of▁sentence｜>|<turn\|>|\[e~\[|<\|end_of_turn\|>|<seed:eos>|<end_of_sentence>|</assistant>|<\|role_end\|>|<sep>|<SPECIAL_12>|<｜Assistant｜>|<\|START_OF_TURN_TOKEN\|>|<\|CHATBOT_TOKEN\|>|<\|(?:START|END)_THINKING\|>|<\|message_sep\|>))+\s*$")


def calls(folder, out):
    one = [call("get_weather", {"city": "Köln", "days": 2, "options": {"wind": True}})]
    text = [call("get_weather", {"city": "a \"b\"\nc, d", "places": ["x", "y"]})]
    two = [call("add", {"a": 1, "b": 2.5}, "aaaaaaaaa"), call("get_weather", {"city": "Köln"}, "bbbbbbbbb")]
    goldens = []
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), encoding="utf-8", newline="") as file:
            source = file.read()
        for content in ("", None, "Wait."):
            for made in (one, text, two):
                for encoded in (False, True):
                    written = [c | {"function": {"name": c["function"]["name"], "arguments": json.dumps(c["function"]["arguments"], ensure_ascii=False)}} if encoded else c for c in made]
                    setting = dict(bos_token="<s>", eos_token="</s>", tools=[WEATHER, ADD], documents=None)
                    asked = [user("What?")]
                    before = render(source, messages=asked, add_generation_prompt=True, **setting)
                    after = render(source, messages=asked + [{"role": "assistant", "content": content, "tool_calls": written}], add_generation_prompt=False, **setting)
                    if isinstance(before, dict) or isinstance(after, dict):
                        continue
                    # Two different marks may begin alike.
                    shared = re.sub(r"<[^<>\n]*$", "", os.path.commonprefix([before, after]))
                    answer = TURN_ENDS.sub("", after[len(shared) :]).rsplit("</think>", 1)[-1]
                    # Templates that have no word for nothing.
                    if content is None and "None" in answer:
                        continue
                    # Templates that know nothing of calls leave them out.
                    if "get_weather" not in answer:
                        continue
                    # Some leave text beside calls out, some take it for thoughts.
                    said = content if content and (answer.strip().startswith(content) or answer.strip().endswith(content)) else ""
                    expected = [[c["function"]["name"], c["function"]["arguments"]] for c in made]
                    golden = {"template": name, "answer": answer, "text": said, "calls": expected}
                    if golden not in goldens:
                        goldens.append(golden)
    with open(out, "w", encoding="utf-8") as file:
        json.dump({"tools": [WEATHER, ADD], "goldens": goldens}, file, ensure_ascii=False, indent=0)
        file.write("\n")


VARIABLES = {
    "s": "Hello, World",
    "t": "  padded\ttext \n",
    "u": "straße ÉCOLE 🎉",
    "e": "",
    "i": 7,
    "n": -3,
    "f": 2.5,
    "z": 0,
    "yes": True,
    "no": False,
    "nil": None,
    "l": [3, 1, 2],
    "w": ["b", "A", "c", "a"],
    "m": {"b": 1, "a": [1, {"x": None}], "items": "shadow", "c": "q\"'\n\u2028é"},
    "users": [{"name": "Bo", "age": 30, "tags": ["x"]}, {"name": "al", "age": 25}, {"name": "Cy", "age": 30, "tags": []}],
    "deep": {"a": {"b": {"c": [10, 20, 30]}}},
    "lines": "a\n\nb\r\nc\u2028d\n",
}

SNIPPETS = r"""
{{ s }}|{{ i }}|{{ f }}|{{ yes }}|{{ nil }}|{{ missing }}|{{ l }}|{{ m }}|{{ (1,) }}|{{ (1, 'a') }}|{{ [] }}|{{ {} }}
{{ 1.0 }} {{ 1e16 }} {{ 1e-5 }} {{ 0.1 + 0.2 }} {{ 1e22 }} {{ 123456789.123 }} {{ 1/3 }} {{ 10/2 }} {{ -0.0 }} {{ 1e300*1e10 }}
{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 // -2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ 2 ** 3 ** 2 }} {{ -2 ** 2 }}
{{ 1 + 2 * 3 - 4 }} {{ (1 + 2) * 3 }} {{ 'a' * 3 }} {{ 3 * 'ab' }} {{ [1] * 2 }} {{ [1] + [2] }} {{ (1,) + (2,) }} {{ 'a' ~ 1 ~ nil ~ missing }} {{ 1 + true }}
{{ 'a' + 1 }}
{{ 1 / 0 }}
{{ 1 < 2 < 3 }} {{ 1 < 2 > 3 }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }} {{ 1 == 1.0 }} {{ true == 1 }} {{ 'a' == 'a' }} {{ nil == none }} {{ missing == missing2 }} {{ 1 != 2 }}
{{ 1 < 'a' }}
{{ 1 in l }} {{ 9 not in l }} {{ 'ell' in s }} {{ 'a' in m }} {{ 'x' in missing }} {{ nil in [none] }}
{{ 1 in 'abc' }}
{{ not yes }} {{ not not i }} {{ yes and 0 }} {{ e or 'd' }} {{ no or nil }} {{ i and s }} {{ yes and no or 'x' }} {{ not no and yes }}
{{ 'y' if yes else 'n' }} {{ 'y' if no }} {{ 1 if no else 2 if no else 3 }}
{{ s[0] }} {{ s[-1] }} {{ s[99] }}| {{ s[1:4] }} {{ s[::-1] }} {{ s[-5:] }} {{ s[:-2] }} {{ u[1:7] }} {{ l[1:] }} {{ l[::-1] }} {{ l[-1] }} {{ s[::2] }} {{ s[10:2:-3] }} {{ (1,2,3)[1:] }} {{ l[5:] }}
{{ m.a }} {{ m['b'] }} {{ m['items'] }} {{ m.nope }}| {{ m['nope'] }}| {{ deep.a.b.c[1] }} {{ deep['a']['b'].c.2 }} {{ m.get('b') }} {{ m.get('q', 5) }} {{ m.get('q') }}
{{ missing.x }}
{{ missing.x.y }}
{{ m.nope.x }}
{{ missing['x'] }}
{{ nil.x }}| {{ s.nope }}|
{{ missing() }}
{{ s() }}
{% for k, v in m.items() %}{{ k }}={{ v }};{% endfor %}
{% for k in deep.a %}{{ k }}{% endfor %}{% for k in deep.a.keys() %}{{ k }}{% endfor %}{% for v in deep.a.values() %}{{ v }}{% endfor %}
{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.previtem }}{{ loop.nextitem }},{% endfor %}
{% for x in [] %}a{% else %}none{% endfor %}{% for x in missing %}a{% else %}none{% endfor %}
{% for x in l if x > 1 %}{{ loop.index }}:{{ x }}/{{ loop.length }} {% else %}no{% endfor %}
{% for x in range(10) %}{% if x == 3 %}{% continue %}{% endif %}{% if x == 6 %}{% break %}{% endif %}{{ x }}{% endfor %}
{% for c in 'añ🎉' %}[{{ c }}]{% endfor %}
{% for a, (b, c) in [(1, (2, 3)), (4, (5, 6))] %}{{ a }}{{ b }}{{ c }};{% endfor %}
{% for x in l %}{% for y in l %}{{ loop.index }}{% endfor %}{{ loop.index }} {% endfor %}
{% for x in l %}{{ loop.cycle('a', 'b') }}{{ loop.changed(x > 1) }} {% endfor %}
{% for n in [{'v': 1, 'c': [{'v': 2, 'c': []}]}, {'v': 3, 'c': []}] recursive %}{{ loop.depth }}{{ n.v }}({{ loop(n.c) }}){% endfor %}
{% set x = 1 %}{% for i in range(3) %}{{ x }}{% set x = i + 10 %}{{ x }} {% endfor %}{{ x }}
{% if yes %}{% set q = 5 %}{% endif %}{{ q }}
{% set ns = namespace(a=1, b='x') %}{% for i in range(3) %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}{{ ns.b }}{{ ns.c }}
{% set ns = namespace({'k': 1}, j=2) %}{{ ns.k }}{{ ns.j }}
{% set x.y = 1 %}
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set t2 = 1, 2 %}{{ t2 }}
{% set a, b = [1] %}
{% set cap %}  in {{ i }}
{% endset %}[{{ cap }}]{% set up | upper %}abc{% endset %}{{ up }}
{% macro f(a, b=2, c=a) %}<{{ a }},{{ b }},{{ c }}>{% endmacro %}{{ f(1) }}{{ f(1, c=3) }}{{ f(b=5, a=4) }}{{ f() }}{{ f.name }}
{% macro f() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, x=3) }}
{% macro outer(x) %}{% if x > 0 %}{{ x }}{{ outer(x - 1) }}{% endif %}{% endmacro %}{{ outer(4) }}
{% macro w(a) %}[{{ caller(a) }}]{% endmacro %}{% set z2 = 'Z' %}{% call(q) w(5) %}{{ q }}{{ z2 }}{% endcall %}
{% macro g() %}{{ later }}{% endmacro %}{% set later = 'L' %}{{ g() }}
{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a }}
{% filter upper %}abc {{ s }}{% endfilter %}
{% raw %}{{ not }} {% if %}{% endraw %}x
{% generation %}gen {{ i }}{% endgeneration %}|
{# comment #}a{#- c -#} b {#+ d +#} e
a {%- if yes -%}  b  {%- endif -%} c {{- ' d ' -}} e
a   {%+ if yes +%}   b {%+ endif %} c
{{ 'a' 'b' }}{{ "q\"\n\t\x41\u00e9\\" }}{{ 'it\'s' }}{{ 'a\qb' }}
{{ 0x1F }} {{ 0b101 }} {{ 0o17 }} {{ 1_000 }} {{ 1.5e3 }}
{{ s|upper }} {{ s|lower }} {{ 'aBC dEF-gHI (jK'|title }} {{ 'hELLO'|capitalize }} {{ t|trim }}| {{ 'xxaxx'|trim('x') }} {{ u|upper }} {{ u|lower }} {{ u|title }}
{{ s|length }} {{ l|length }} {{ m|length }} {{ missing|length }} {{ u|count }}
{{ i|length }}
{{ l|first }} {{ l|last }} {{ []|first }}| {{ 'abc'|first }} {{ 'abc'|last }} {{ l|list }} {{ 'ab'|list }} {{ m|list }}
{{ l|join }} {{ l|join(', ') }} {{ users|join('-', attribute='name') }} {{ [1, none, 'x', true]|join('|') }} {{ 'abc'|join('.') }}
{{ missing|default('d') }} {{ e|default('d') }}| {{ e|default('d', true) }} {{ nil|default('d') }} {{ nil|d('x', boolean=true) }} {{ no|default(1, true) }}
{{ l|sort }} {{ w|sort }} {{ w|sort(case_sensitive=true) }} {{ l|sort(reverse=true) }} {{ users|sort(attribute='age')|map(attribute='name')|list }} {{ users|sort(attribute='name', reverse=true)|map(attribute='name')|join(',') }}
{{ m|dictsort|first }} {{ {'b': 2, 'A': 1, 'c': 0}|dictsort }} {{ {'b': 2, 'A': 1}|dictsort(true) }} {{ {'b': 2, 'A': 1}|dictsort(by='value') }} {{ {'b': 2, 'A': 1}|dictsort(reverse=true) }}
{{ l|reverse|list }} {{ 'abc'|reverse }} {{ l|sum }} {{ users|sum(attribute='age') }} {{ l|min }} {{ l|max }} {{ w|min }} {{ users|max(attribute='age') }}
{{ w|unique|list }} {{ [1, 1, 2, 1]|unique|list }} {{ users|unique(attribute='age')|map(attribute='name')|list }}
{{ nil|map('upper')|list }} {{ nil|selectattr('a')|list }} {{ 0|select|list }} {{ no|reject('odd')|list }} {{ missing|map(attribute='a')|list }}
{{ users|map(attribute='name')|list }} {{ users|map(attribute='tags', default='-')|list }} {{ w|map('upper')|list }} {{ ['1', '2']|map('int')|sum }} {{ w|map('replace', 'a', 'x')|list }}
{{ l|select('gt', 1)|list }} {{ l|reject('odd')|list }} {{ [0, 1, '', 'a', none]|select|list }} {{ users|selectattr('age', 'equalto', 30)|map(attribute='name')|list }} {{ users|rejectattr('tags')|map(attribute='name')|list }} {{ users|selectattr('tags', 'defined')|list|length }} {{ users|selectattr('name', 'in', ['Bo'])|list }}
{{ users|groupby('age')|map('first')|list }} {% for age, group in users|groupby('age') %}{{ age }}:{{ group|map(attribute='name')|join('+') }};{% endfor %}
{{ l|batch(2)|list }} {{ l|batch(2, 0)|list }} {{ range(7)|slice(3)|list }} {{ range(7)|slice(3, 'f')|list }}
{{ '42'|int }} {{ '4.7'|int }} {{ 'x'|int }} {{ 'x'|int(9) }} {{ 'ff'|int(base=16) }} {{ '0x1F'|int(0, 16) }} {{ 3.9|int }} {{ nil|int }} {{ '1.5'|float }} {{ 'q'|float }} {{ 3|float }} {{ yes|int }}
{{ n|abs }} {{ (-2.5)|abs }} {{ 2.5|round }} {{ 3.5|round }} {{ 42.55|round(1) }} {{ 42.55|round(1, 'floor') }} {{ 42.51|round(1, 'ceil') }} {{ 42|round }} {{ 1234.5|round(-2) }}
{{ s|replace('o', '0') }} {{ s|replace('l', 'L', 1) }} {{ 'aaa'|replace('', '-') }} {{ 5|replace(5, 6) }}
{{ lines|indent }}| {{ lines|indent(2, true) }}| {{ lines|indent(2, blank=true) }}| {{ 'a\nb'|indent('>>') }}
{{ 'a b c'|wordcount }} {{ 'hello world foo'|truncate(11) }} {{ 'hello world foo bar'|truncate(11) }} {{ 'hello world foo bar'|truncate(11, true) }} {{ 'hello world'|truncate(5, true, '~', 0) }} {{ 'ab'|center(7) }}|
{{ '<a href="x">\'&'|e }} {{ '<'|escape }} {{ '<'|safe }} {{ 'a b/ü?&='|urlencode }} {{ '%s-%05d-%.2f'|format('x', 42, 1.005) }}
{{ "a<b>"|safe + "c<d>" }} {{ "c<d>" + "a<b>"|safe }} {{ "<"|e + "<"|safe }} {{ '<'|e|e }} {{ '<'|e|forceescape }} {{ ('<'|safe) ~ '<' }} {{ ('<'|safe) * 2 + '<' }} {{ 5|safe + '<' }}
{{ '<%s>'|safe % '<' }} {{ '<%s %d>'|safe % ('&', 3) }} {{ '%s' % ('<'|e) }} {{ '%s%s'|safe|format('<', '<'|safe) }} {{ '%(a)s'|safe % {'a': '"'} }} {{ '%s'|safe % ['<'] }} {{ '{} {x} {:>3}'.format('<', 1) if no else ('{} {:>3}{}'|safe).format('<', '&', '<'|safe) }}
{{ ('a<'|safe).replace('a', '<') }} {{ ('a<'|safe)|replace('a', '<') + '<' }} {{ ('<'|safe).join(['<', '&'|safe]) }} {{ ('<,<'|safe).split(',')[0] + '<' }} {{ ['<'|safe, '<']|join('<') }} {{ ('a-b'|safe).partition('-') }} {{ (' <'|safe)|trim + '<' }} {{ ('a<'|safe)|upper + '<' }} {{ ('a<'|safe)[1] + '<' }} {{ ('a<'|safe)[1:] + '<' }} {{ ('a<'|safe)|title + '<' }} {{ ('a<'|safe)|reverse + '<' }}
{{ ['<'|safe] }} {{ '<'|safe is escaped }} {{ '<' is escaped }} {{ '<'|safe == '<' }} {{ {'<'|safe: 1}['<'] }} {{ ('<'|safe)|tojson }} {{ ('<'|safe)|string + '<' }} {{ ('<'|safe)|length }} {{ ('a\n<'|safe)|indent(2) + '<' }} {{ ('<'|safe)|default('x') + '<' }} {{ ('<<<< <<<< <<<<'|safe)|truncate(6, true, '<', 0) }} {{ ('a<'|safe)|center(5) + '<' }}| {{ ('<'|safe)|list|first + '<' }}
{{ '<p class="a">Hi,  <b>you</b><!-- > x --> &amp; \n me&#39;s &lt;x&gt;</p> <open &euro; &#8364; &#x20ac; & &unknown; &ampx &euro &#39x &#x; &copy &notit; &amp'|striptags }} {{ ('a <i>b</i>'|safe)|striptags + '<' }} {{ '<!-- a'|striptags }} {{ 5|striptags }}
{{ {'class': 'a "b"', 'id': 3, 'none': none, 'u': undefined, 'x<': '<'|safe}|xmlattr }}| {{ {'a': 1}|xmlattr(false) }} {{ {}|xmlattr }}|
{{ {'a b': 1}|xmlattr }}
{{ 'The quick brown fox jumps over the well-known lazy dog -- or not--who knows? e-mail co-op x-y-z-w aa-bb-cc'|wordwrap(10) }}|{{ 'Donaudampfschifffahrtsgesellschaft is long-winded-and-more'|wordwrap(8) }}|{{ 'Donaudampfschifffahrtsgesellschaft is long'|wordwrap(8, false) }}|{{ 'a-b well-known things'|wordwrap(6, true, '~', false) }}
{{ 'one  two   three\n\n  four\tfive  \nsix'|wordwrap(5) }}|{{ 'über-straße ñandú 1-2-3 don\'t--stop'|wordwrap(7, wrapstring='/') }}|{{ ''|wordwrap }}|{{ 'ab cdefgh-ij'|wordwrap(4) }}|{{ '----- ---x a---- b'|wordwrap(3) }}|{{ 'abc   defghijk'|wordwrap(4) }}
{{ 'a'|wordwrap(0) }}
{% set c = cycler('a', 2) %}{{ c.next() }}{{ c.current }}{{ c.next() }}{{ c.next() }}{{ c.reset() }}{{ c.current }}{% for x in l %}{{ c.next() }}{% endfor %} {{ c is callable }} {{ c == c }}
{% set j = joiner() %}{% for x in l %}{{ j() }}{{ x }}{% endfor %}{% set k = joiner(sep='|') %}{{ k() }}{{ k() }}{{ k is callable }}
{{ cycler() }}
{{ users|map(attribute='name')|tojson }}
{{ users|selectattr('age')|tojson }}
{{ [1]|select|length }}
{{ 'yes' if l|select('gt', 99) else 'no' }} {{ l|map('string')|list|tojson }} {{ l|select('gt', 1)|first }} {{ l|reject('odd') is sequence }}
{% autoescape false %}{{ '<' }}{% endautoescape %}
{{ m|tojson }} {{ s|tojson }} {{ u|tojson }} {{ [1, 2.0, true, none, 'a"b\\\n\t\x7f/']|tojson }} {{ {}|tojson }} {{ []|tojson }} {{ {'a': {}}|tojson(indent=2) }}
{{ m|tojson(indent=4) }}
{{ users|tojson(indent=2) }}
{{ m|tojson(sort_keys=true) }} {{ l|tojson(separators=(',', ':')) }} {{ m|tojson(separators=[',', ':'], indent=1) }} {{ {1: 2, none: 3, true: 4}|tojson }} {{ 'é🎉'|tojson(ensure_ascii=true) }} {{ 1e20|tojson }} {{ 0.1|tojson }}
{{ missing|tojson }}
{{ s.upper() }} {{ s.lower() }} {{ u.title() }} {{ u.upper() }} {{ 'hELLO wORLD'.capitalize() }} {{ "they're bill's".title() }} {{ 'aB'.swapcase() }}
{{ t.strip() }}| {{ t.lstrip() }}| {{ t.rstrip() }}| {{ 'xyaxy'.strip('xy') }} {{ 'xxa'.lstrip('x') }} {{ 'axx'.rstrip('x') }} {{ '\x1f a \x85'.strip() }}
{{ 'a,b,,c'.split(',') }} {{ ' a  b c '.split() }} {{ ' a  b  c '.split(none, 1) }} {{ 'a,b,c'.split(',', 1) }} {{ 'a,b,c'.rsplit(',', 1) }} {{ ' a  b  c '.rsplit(none, 1) }} {{ ''.split() }} {{ ''.split(',') }} {{ 'a</think>b</think>c'.split('</think>')[-1] }}
{{ lines.splitlines() }} {{ lines.splitlines(true) }} {{ 'a-b-c'.partition('-') }} {{ 'a-b-c'.rpartition('-') }} {{ 'abc'.partition('-') }} {{ 'abc'.rpartition('-') }}
{{ s.startswith('Hell') }} {{ s.endswith(('x', 'ld')) }} {{ s.startswith('x') }} {{ s.find('o') }} {{ s.rfind('o') }} {{ s.find('zz') }} {{ u.find('🎉') }} {{ s.count('l') }} {{ s.index('W') }} {{ s.replace('l', '') }} {{ s.replace('l', 'L', 2) }}
{{ s.index('zz') }}
{{ ', '.join(['a', 'b']) }} {{ ''.join(w) }} {{ '-'.join('abc') }} {{ 'x'.join(m) }}
{{ ','.join([1]) }}
{{ 'abc'.isalpha() }} {{ '12'.isdigit() }} {{ 'a1'.isalnum() }} {{ ' '.isspace() }} {{ ''.isspace() }} {{ 'ab'.islower() }} {{ 'AB1'.isupper() }} {{ 'é'.isascii() }} {{ '12'.isnumeric() }} {{ '12'.isdecimal() }}
{{ 'ab'.center(6, '*') }} {{ 'ab'.center(5) }}| {{ 'abc'.center(6, '*') }} {{ 'ab'.ljust(4, '.') }} {{ 'ab'.rjust(4) }} {{ '-42'.zfill(6) }} {{ 'a\tb'.expandtabs(4) }} {{ 'prefix_x'.removeprefix('prefix_') }} {{ 'x.py'.removesuffix('.py') }}
{{ '%s and %r %d%%' % ('a', 'b', 3) }} {{ '%5d|%-5d|%05d|%+d|%x|%X|%o' % (42, 42, 42, 42, 255, 255, 8) }} {{ '%.3f %10.2f %e %g' % (3.14159, 2.5, 12345.678, 0.0001) }} {{ '%(a)s' % {'a': 1} }} {{ '%s' % l }} {{ '%5s|%-5s|%.2s' % ('a', 'b', 'cde') }}
{{ '%d' % 'x' }}
{{ '%s %s' % ('a',) }}
{{ '{} {}'.format('a', 1) }} {{ '{0}{1}{0}'.format('a', 'b') }} {{ '{x}'.format(x=5) }} {{ '{:>5}|{:<5}|{:^5}|{:05d}|{:.2f}|{:,}|{:*^7}|{:x}'.format('a', 'b', 'c', 42, 3.14159, 1234567, 'm', 255) }} {{ '{{}}'.format() }} {{ '{!r}'.format('a') }} {{ '{:.1%}'.format(0.256) }}
{{ i is odd }} {{ i is even }} {{ i is divisibleby 7 }} {{ i is divisibleby(2) }} {{ s is string }} {{ i is number }} {{ f is float }} {{ i is integer }} {{ yes is integer }} {{ yes is number }} {{ yes is boolean }} {{ m is mapping }} {{ l is sequence }} {{ s is sequence }} {{ m is sequence }} {{ s is iterable }} {{ i is iterable }} {{ nil is none }} {{ missing is defined }} {{ missing is undefined }} {{ s is defined }} {{ yes is true }} {{ no is false }} {{ 1 is true }} {{ s is lower }} {{ 'abc' is lower }} {{ 'ABC' is upper }} {{ i is eq 7 }} {{ i is gt 3 }} {{ i is in [7] }} {{ i is not none }} {{ i is sameas 7 }} {{ range is callable }} {{ missing is none }} {{ missing is string }} {{ missing is iterable }}
{{ i is == 7 }}
{{ 'a' if missing is defined else 'b' }} {{ 'a' if s is defined and s else 'b' }} {{ s is defined and i is not none or no }} {{ (s is string) }} {{ not missing is defined }}
{{ range(5)|list }} {{ range(2, 8, 3)|list }} {{ range(5, 0, -2)|list }} {{ range(0)|list }} {{ range(3)|length }} {{ range(3)[1] }}
{{ range(100001)|list }}
{{ dict(a=1, b=2) }} {{ dict([('x', 1)]) }} {{ dict({'y': 2}, z=3) }}
{{ {'a': 1, 'b': {'c': [1]}} }} {{ {'a': 1, 'a': 2} }} {{ {1: 'x'}[1] }} {{ {'a': 1}|length }} {{ {(1, 2): 3} }}
{{ ['it\'s', "say \"x\"", 'both \' "', 'new\nline', 'tab\t', 'é', '\u200b', '\\'] }}
{{ l.append(4) }}
{{ m.update({'x': 1}) }}
{{ raise_exception('no ' ~ s) }}
{{ strftime_now('%d %b %Y') }} {{ strftime_now('%Y-%m-%d %H:%M:%S %A %a %B %j %p %I %y %%') }} {{ strftime_now('%-d/%-m') }}
{{ nope() if no else 'fine' }}
{{ s|nope }}
{{ s is nope }}
{% if %}x{% endif %}
{% nope %}
{{ 1 +
{% for x in l %}
{{ (1 }}
{{ 'open }}
{{ -l }} 
{{ -i }} {{ +i }} {{ --i }} {{ -i|abs }} {{ -f }} {{ -yes }}
{{ l|map('nope')|list }}
{{ loop }}
{{ m.c }}{{ m['c']|length }}{{ m.a[1].x }}{{ m.a.1.x }}
{{ users[0].name }}{{ users[-1]['name'] }}{{ (users|first).name }}{{ users|map(attribute='name')|first }}
{{ 'abc'[1] in 'b' }} {{ i // 2 * 2 }} {{ i % 2 == 1 }} {{ 'a' ~ 'b' * 2 }} {{ 1 ~ 2 + 3 }} {{ 'x' ~ 1 + 2 }}
{{ e }}{{ z or 'zero' }}{{ 0.0 or 'zf' }}{{ [] or 'el' }}{{ {} or 'ed' }}{{ () or 'et' }}
{{ ['a', 'b'].index('b') }} {{ [1, 1].count(1) }} {{ (1, 2).index(2) }} {{ {'a': 1}.copy() }}
{{ s.__class__ }} {{ ''.__class__.__mro__ }}
{% set l2 = l + [9] %}{{ l2 }}{{ l }}{% set l2 = l2[:-1] %}{{ l2 }}
{%- for m2 in users %}
  {%- if not loop.first %}, {% endif -%}
  {{ m2.name }}
{%- endfor %}
    {% if yes %}
  indented
    {% endif %}
tail
{% if no %}a{% elif i == 7 %}b{% elif yes %}c{% else %}d{% endif %}{% if no %}a{% else %}{% if no %}x{% else %}y{% endif %}{% endif %}
""".strip("\n")


def snippets(out):
    sources = []
    for line in SNIPPETS.split("\n"):
        # Lines that begin with white space, or follow an unfinished one, go on with the snippet before.
        if sources and (line.startswith((" ", "{%- endfor", "tail", "{% endset %}[")) or sources[-1].endswith("{% set cap %}  in {{ i }}")):
            sources[-1] += "\n" + line
        else:
            sources.append(line)
    sources += ["a\n", "a\n\n", "\n\na", "{% if yes %}\n\nx\n{% endif %}\n\n", "x {# c #}\n y", "a\r\nb{% if yes %}\r\nc{% endif %}", "  {{ i }}\n  {% set q = 1 %}  \n z", "{{ i }}\n{{ i }}\n", "{% raw %}\n a\n  {% endraw %}\n b", "{%- raw -%}  a  {%- endraw -%}  b", "  {# c #}  {# d #}\n e", "{% if yes %}  {% if yes %}\n x{% endif %}{% endif %}"]
    goldens = [{"source": source, "text": render(source, **VARIABLES)} for source in sources]
    with open(out, "w", encoding="utf-8") as file:
        json.dump({"variables": VARIABLES, "goldens": goldens}, file, ensure_ascii=False, indent=0)
        file.write("\n")


if sys.argv[1] == "templates":
    templates(sys.argv[2], sys.argv[3])
elif sys.argv[1] == "calls":
    calls(sys.argv[2], sys.argv[3])
else:
    snippets(sys.argv[2])
