"""Which tokens transformers marks as the assistant's, for templates with {% generation %} blocks.

Needs transformers, tokenizers and jinja2. Writes crates/bantam-train/tests/goldens/generation.json: a small tokenizer, and for
each template and chat the ids and the mask of `apply_chat_template(..., return_assistant_tokens_mask=True)`.
"""

import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

OUT = Path(__file__).parents[2] / "crates/bantam-train/tests/goldens/generation.json"

WORDS = "the weather in Bern is sunny today. What is the weather? user assistant system tool name arguments " * 3

TURNS = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' }}"
    "{% if message.role == 'assistant' %}{% generation %}{{ message.content }}{{ '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message.content + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
# The end of a turn is not the assistant's, calls are.
CALLS = (
    "{% if tools %}{{ '<|im_start|>system\\n' }}{% for tool in tools %}{{ tool | tojson }}{% endfor %}{{ '<|im_end|>' }}{% endif %}"
    "{%- for message in messages %}{{ '<|im_start|>' + message.role + '\\n' }}"
    "{%- if message.role == 'assistant' %}{% generation %}{{ message.content or '' }}"
    "{%- for call in message.tool_calls or [] %}{{ '<tool_call>' + call.function | tojson + '</tool_call>' }}{% endfor %}"
    "{%- endgeneration %}{% else %}{{ message.content }}{% endif %}{{ '<|im_end|>' }}{% endfor %}"
)
# Borders within tokens: a token that has a character of the block counts.
WITHIN = (
    "{% for message in messages %}{% if message.role == 'assistant' %}{{ ' the wea' }}{% generation %}"
    "{{ message.content }}{% endgeneration %}{{ 'n' }}{% else %}{{ message.content }}{% endif %}{% endfor %}"
)

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is the weather?"},
    {"role": "assistant", "content": "sunny in Bern"},
    {"role": "user", "content": "And 今日?"},
    {"role": "assistant", "content": "Grüezi, sunny."},
]
HALVES = [{"role": "user", "content": "What is"}, {"role": "assistant", "content": "ther sunny in Ber"}]
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}]
CALLING = [
    {"role": "user", "content": "the weather in Bern"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"type": "function", "function": {"name": "weather", "arguments": {"city": "Bern"}}}],
    },
    {"role": "tool", "content": "sunny"},
    {"role": "assistant", "content": "sunny today."},
]


def main():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([WORDS], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>")
    cases = []
    for name, template, messages, tools in [
        ("turns", TURNS, CHAT, None),
        ("calls", CALLS, CALLING, TOOLS),
        ("calls without tools", CALLS, CALLING, None),
        ("within tokens", WITHIN, HALVES, None),
    ]:
        found = fast.apply_chat_template(
            messages, tools=tools, chat_template=template, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
        )
        mask = found["assistant_masks"]
        assert any(mask) and not all(mask)
        row = {"messages": messages} | ({"tools": tools} if tools else {})
        cases.append({"name": name, "template": template, "row": row, "ids": found["input_ids"], "mask": mask})
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps({"tokenizer": json.loads(tokenizer.to_str()), "cases": cases}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
