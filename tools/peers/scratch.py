#!/usr/bin/env python3
"""Measure `bantam tune --from-scratch` beside PyTorch and transformers on the same shape, the same lines and the same batch.

    scratch.py SPEC.toml LINES.jsonl [--steps 30] [-t 2] [--bantam target/release/bantam]

SPEC's shape and training, but without dropout, average and given vectors, which transformers' Llama has not; LINES are chats, of
which the first steps x batch are learned once. Bantam learns the tokenizer, takes the steps and says how fast in its run.json;
then PyTorch takes them (float32, AdamW, clipping, a constant rate) with the tokens of that tokenizer, read by llama.cpp, padded
to the longest of a batch, which are sorted within eight batches, as is usual. Padding counts as tokens on neither side. PyTorch's
first three steps are left out. Where the two do not count the same tokens, the figures do not compare, and it fails. The runs
follow each other: on a machine that does other things as well, look at the order of the ratio and no more.

Needs: torch, transformers, llama-cpp-python, jinja2.
"""
from __future__ import annotations

import argparse
import json
import pathlib
import random
import re
import subprocess
import tempfile
import time
import tomllib

UNMEASURED = 3


def cut(arguments: argparse.Namespace, folder: pathlib.Path) -> tuple[dict, list[dict]]:
    """The spec and the lines that both sides train by, also as files."""
    text = pathlib.Path(arguments.spec).read_text()
    for key in ("dropout", "average", "embeddings", "epochs", "validate_every", "save_every"):
        text = re.sub(rf"(?m)^{key}\s*=.*$", "", text)
    text = re.sub(r"(?m)^\[training\].*$", "[training]\nepochs = 1\nsave_every = 1000000", text)
    spec = tomllib.loads(text)
    assert spec["training"]["epochs"] == 1, "SPEC has a [training] table"
    (folder / "spec.toml").write_text(text)
    with open(arguments.lines) as file:
        lines = [line for _, line in zip(range(spec["training"].get("batch", 64) * arguments.steps), file)]
    (folder / "lines.jsonl").write_text("".join(lines))
    return spec, [json.loads(line) for line in lines]


def bantam(arguments: argparse.Namespace, folder: pathlib.Path) -> dict:
    command = [arguments.bantam, "tune", "--from-scratch", str(folder / "spec.toml"), str(folder / "lines.jsonl"), "-o",
               str(folder / "model.gguf"), "-t", str(arguments.threads)]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return json.loads((folder / "model.gguf.training" / "run.json").read_text())


def tokenized(spec: dict, lines: list[dict], path: pathlib.Path) -> tuple[int, list[tuple[list[int], int]]]:
    """The vocabulary's size; of each line its tokens, and how many of them are the prompt's."""
    import jinja2
    from llama_cpp import Llama

    def refuse(problem: str):
        raise ValueError(problem)

    template = jinja2.Environment(trim_blocks=True, lstrip_blocks=True).from_string(spec["chat_template"])
    template.globals["raise_exception"] = refuse
    vocabulary = Llama(str(path), vocab_only=True, verbose=False)
    tokens = lambda text: vocabulary.tokenize(text.encode(), add_bos=False, special=True)
    examples = []
    for line in lines:
        messages = line["messages"]
        whole = tokens(template.render(messages=messages, add_generation_prompt=False))
        prompt = tokens(template.render(messages=messages[:-1], add_generation_prompt=True))
        assert whole[:len(prompt)] == prompt, "an answer stands behind its prompt"
        examples.append((whole, len(prompt)))
    return vocabulary.n_vocab(), examples


def pytorch(spec: dict, vocabulary: int, examples: list[tuple[list[int], int]], threads: int) -> dict:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    torch.set_num_threads(threads)
    training, width, heads = spec["training"], spec["width"], spec["heads"]
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=width, num_hidden_layers=spec["layers"], num_attention_heads=heads,
        num_key_value_heads=spec.get("kv_heads", heads), head_dim=spec.get("head_width", width // heads),
        intermediate_size=spec.get("feed_forward", -(-(width * 8 // 3) // 64) * 64), max_position_embeddings=spec["context"],
        tie_word_embeddings=spec.get("tied", True), rms_norm_eps=spec.get("norm_eps", 1e-5),
        rope_parameters={"rope_type": "default", "rope_theta": spec.get("rope_base", 10000.0)},
    )
    model = LlamaForCausalLM(config).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=training.get("rate", 1e-3), betas=(0.9, training.get("beta2", 0.98)),
                                  weight_decay=training.get("weight_decay", 0.1))
    batch, prompt_weight = training.get("batch", 64), training.get("prompt_weight", 0.0)
    random.Random(0).shuffle(examples)
    group = 8 * batch
    examples = [e for at in range(0, len(examples), group) for e in sorted(examples[at:at + group], key=lambda e: len(e[0]))]
    seconds = tokens = padded = 0
    for step, at in enumerate(range(0, len(examples), batch)):
        begin = time.perf_counter()
        rows = examples[at:at + batch]
        longest = max(len(ids) for ids, _ in rows)
        fill = lambda values, pad: values + [pad] * (longest - len(values))
        ids = torch.tensor([fill(ids, 0) for ids, _ in rows])
        mask = torch.tensor([fill([1] * len(ids), 0) for ids, _ in rows])
        weights = torch.tensor([fill([prompt_weight] * at + [1.0] * (len(ids) - at), 0.0) for ids, at in rows])[:, 1:]
        logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1]
        losses = torch.nn.functional.cross_entropy(logits.reshape(-1, vocabulary), ids[:, 1:].reshape(-1), reduction="none")
        loss = (losses * weights.reshape(-1)).sum() / weights.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), training.get("clip", 1.0))
        optimiser.step()
        optimiser.zero_grad()
        if step >= UNMEASURED:
            seconds += time.perf_counter() - begin
            tokens += sum(len(ids) for ids, _ in rows)
            padded += ids.numel()
    numbers = sum(parameter.numel() for parameter in model.parameters())
    return {"tokens_per_second": tokens / seconds, "with_padding": padded / seconds, "loss": loss.item(), "numbers": numbers}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("spec")
    parser.add_argument("lines")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("-t", "--threads", type=int, default=2)
    parser.add_argument("--bantam", default="target/release/bantam")
    arguments = parser.parse_args()
    assert arguments.steps > UNMEASURED, f"the first {UNMEASURED} steps are not measured"
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        spec, lines = cut(arguments, folder)
        own = bantam(arguments, folder)
        vocabulary, examples = tokenized(spec, lines, folder / "model.gguf")
        counted = sum(len(ids) for ids, _ in examples)
        assert counted == own["tokens"], f"{counted} tokens counted, {own['tokens']} by bantam"
        peer = pytorch(spec, vocabulary, examples, arguments.threads)
    print(f"{peer['numbers']} numbers, {own['steps']} steps, {counted} tokens")
    print(f"bantam   {own['tokens_per_second']:8.0f} tokens/s, loss {own['losses'][-1]:.3f}")
    print(f"PyTorch  {peer['tokens_per_second']:8.0f} tokens/s ({peer['with_padding']:.0f} with padding), loss {peer['loss']:.3f}")
    print(f"ratio    {own['tokens_per_second'] / peer['tokens_per_second']:.2f}")


if __name__ == "__main__":
    main()
