//! Chat templates, parsed and rendered over a small chat.

use bantam_testkit::mutate::Region;
use bantam_text::{ChatInput, ChatTemplate};
use serde_json::json;

use super::Target;

pub(super) const TARGET: Target = Target {
    name: "template",
    about: "a chat template, parsed and rendered",
    seeds: || SEEDS.iter().map(|seed| seed.as_bytes().to_vec()).collect(),
    text: false,
    region: |bytes| Region { range: 0..bytes.len(), percent: 100 },
    take,
};

const SEEDS: &[&str] = &[
    "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>\\n' + message['content'] | trim + eos_token }}\
     {% if loop.last and add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}{% endfor %}",
    "{%- set ns = namespace(found=false, text='') -%}{%- macro show(x, n=2) -%}{{ x * n }}{%- endmacro -%}\
     {%- for m in messages if m.role != 'system' -%}{%- set ns.text = ns.text ~ show(m.content) -%}{%- endfor -%}\
     {{ ns.text | upper | replace('A', 'b') }}{{ messages | tojson(indent=2) }}{{ '%05d' | format(7) }}{{ [1, 2, 3][::-1] | join(', ') }}",
];

fn take(bytes: &[u8]) -> bool {
    let Ok(source) = std::str::from_utf8(bytes) else { return false };
    let Ok(template) = ChatTemplate::new(source, "<s>", "</s>", "fuzz") else { return false };
    let messages = json!([
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "a < b & \"c\""},
        {"role": "assistant", "content": "Yes.", "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1.5}}}]},
    ]);
    let input = ChatInput { messages, add_generation_prompt: true, ..ChatInput::default() };
    template.render(&input).is_ok()
}
