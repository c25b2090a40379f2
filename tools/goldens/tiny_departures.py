#!/usr/bin/env python3
"""Writes docs/results/llama-cpp-departures.md from what the tiny models' goldens record of llama.cpp.

Needs nothing but the goldens. Run from anywhere: python tools/goldens/tiny_departures.py
"""
import importlib.metadata
import json
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
TESTKIT = ROOT / "crates/bantam-testkit"
HEAD = """# Where llama.cpp departs from transformers

Bantam follows transformers and the checkpoint's own settings. llama.cpp reads the same models' GGUF form a little otherwise in some
families; whoever compares the two should know where. Written by `tools/goldens/tiny_departures.py` from the tiny random models under
`crates/bantam-testkit/` (llama-cpp-python {version}); do not edit.

Each model was run by transformers in f32 and, from its GGUF form, by llama.cpp, over a sequence of 48 tokens. Differences are the
largest of a logit (of encoders: the root mean square of a hidden state) as a share of the range of transformers' logits. llama.cpp
computes in f16 in part, so a few 10⁻³ is agreement. Where it departs, transformers was made to do the same, by changing only what
the reason says: that this then agrees in every row shows that the reason is the whole of it, and that the GGUF form is right.

## Departures

| model | what llama.cpp does | rows before that agree | there within | after by | transformers made to do so agrees within |
|---|---|---:|---:|---:|---:|
"""
MIDDLE = """
## Agreement

| model | what is special | within |
|---|---|---:|
"""
TAIL = """
## What llama.cpp does not take from a GGUF file

A file in its form alone cannot tell these; what llama.cpp does in their place is in brackets. Keys that could hold some of them exist.
Written into the tiny models' files, those marked * changed nothing.

| setting | llama.cpp | key |
|---|---|---|
| `query_pre_attn_scalar` of Gemma 2 and 3 | the head's width; in the 27B models the width over the heads | `attention.scale` * |
| `no_rope_layers` of SmolLM3 | every fourth | none |
| `norm_topk_prob` of Qwen3-MoE | true | `expert_weights_norm` * |
| `mlp_only_layers`, `decoder_sparse_step` of Qwen3-MoE | experts everywhere | no names for the other layers' tensors |
| windows of Mistral, Qwen2, Phi-3 | none | `attention.sliding_window` * (also with `attention.sliding_window_pattern`) |
| `short_mscale`, `long_mscale`, `router_jitter_noise` of Phi-3.5-MoE | made from the context's lengths; no such router | `rope.scaling.attn_factor` holds what is made |

Which layers of Gemma 2 and 3 are local: its converter writes nothing (every first of two, the first five of six), but
`attention.sliding_window_pattern`, a period or an array with one value a layer, is read and followed; `tiny-gemma3-c` has it.
`rope.freq_base` may be missing where it is 10000 (Phi-2, Gemma 1 and 2).

## Also found

* A context of less than 256 is made 256, so llama.cpp takes longrope's long factors of a model whose original context is shorter
  than that for any sequence. Real models have 4096.
* transformers takes the long factors when the sequence is longer than the original context, for all of its positions. Token by
  token it turns the keys kept from before by the short ones and does not turn them again. The goldens are of whole sequences.
* transformers 5.23 takes Phi-3.5-MoE's short factors whatever the length (with `long_mscale` where it is long); the checkpoint's
  own code and transformers 4.x take the long ones. `tiny-phimoe-long` is made with the long ones.
* transformers 5.23 does not open Phi-3 files whose scaling is of type `su`, longrope's older name.
* Where `general.name` holds `phi-3` or `phi3`, llama.cpp wants the tokens `<|endoftext|>`, `<s>` and so on in the vocabulary and refuses
  the file otherwise.
"""


def share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1e}"


def main() -> None:
    departures, agreements = [], []
    for path in sorted((*TESTKIT.glob("goldens/*/golden.json"), *TESTKIT.glob("goldens-next/*/golden.json")),
                       key=lambda path: path.parent.name):
        golden = json.loads(path.read_text())
        found, name, about = golden.get("llama.cpp"), path.parent.name, golden["about"]
        if not isinstance(found, dict):
            if found:
                agreements.append(f"| `{name}` | {about} | {found.split()[0]} |")
        elif "no_form" in found:
            departures.append(f"| `{name}` | {found['no_form']} | – | – | no GGUF form | – |")
        elif "rest_departs_by" in found:
            departures.append(f"| `{name}` | {found['why']} | {found['rows'] or '–'} | {share(found.get('agrees_within'))} | "
                              f"{share(found['rest_departs_by'])} | {share(found['made_to_do_the_same_agrees_within'])} |")
        else:
            agreements.append(f"| `{name}` | {about} | {share(found['agrees_within'])} |")
            if "why" in found:
                departures.append(f"| `{name}` | {found['why']} | all | {share(found['agrees_within'])} | – | "
                                  f"{share(found['made_to_do_the_same_agrees_within'])} |")
    out = ROOT / "docs/results/llama-cpp-departures.md"
    out.parent.mkdir(exist_ok=True)
    head = HEAD.format(version=importlib.metadata.version("llama_cpp_python"))
    out.write_text(head + "\n".join(departures) + "\n" + MIDDLE + "\n".join(agreements) + "\n" + TAIL)


main()
