#!/usr/bin/env python3
"""Measure `bantam bench --train` beside PyTorch, transformers and PEFT on the same shape, interleaved, and print ratios.

    train.py MODEL.gguf [--rank 16] [--examples 4] [--length 256] [--rounds 3] [--steps 1] [-t 2]
             [--variants bf16,bf16-checkpoint,f32] [--bantam target/release/bantam] [--json]

LoRA on all linears, AdamW, random tokens that are all learned, random weights of the shape that `bantam show` tells of the
model (Qwen2's and Llama's decoders). A peer is a process of its own that takes a step when it is told to, so that only one
side computes at a time. A round runs each side once; a figure is the median over rounds, a ratio the median of the rounds'
ratios, with its least and greatest. Peak memory is the most that each process ever held.
"""
from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

from peers import asked


def peak_memory() -> int:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def worker(variant: str, shape: dict, rank: int, examples: int, length: int, threads: int) -> None:
    import torch
    import transformers
    from peft import LoraConfig, get_peft_model

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    family = {"qwen2": "Qwen2", "llama": "Llama"}[shape.pop("family")]
    config = getattr(transformers, family + "Config")(**shape)
    precision = torch.float32 if variant.startswith("f32") else torch.bfloat16
    torch.set_default_dtype(precision)
    model = getattr(transformers, family + "ForCausalLM")(config)
    torch.set_default_dtype(torch.float32)
    model = get_peft_model(model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear"))
    model.train()
    if variant.endswith("checkpoint"):
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-4)
    tokens = torch.randint(0, config.vocab_size, (examples, length))
    for line in sys.stdin:
        begin = time.perf_counter()
        for _ in range(int(line)):
            model(input_ids=tokens, labels=tokens).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad()
        print(json.dumps([time.perf_counter() - begin, peak_memory()]), flush=True)


class Peer:
    def __init__(self, variant: str, shape: dict, arguments: argparse.Namespace):
        self.name = f"PyTorch {variant}"
        given = [variant, shape, arguments.rank, arguments.examples, arguments.length, arguments.threads]
        command = [sys.executable, __file__, "--worker", json.dumps(given)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.memory = 0

    def seconds(self, steps: int) -> float:
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        taken, self.memory = json.loads(self.process.stdout.readline())
        return taken / steps


def shape_of(path: str) -> dict:
    """The shape of a GGUF file in the words of a Hugging Face configuration."""
    from gguf import GGUFReader

    reader = GGUFReader(path)
    family = bytes(reader.fields["general.architecture"].parts[-1]).decode()

    def number(key: str):
        return reader.fields[f"{family}.{key}"].parts[-1][0].item()

    tensors = {tensor.name: tensor for tensor in reader.tensors}
    return {
        "family": family,
        "vocab_size": int(tensors["token_embd.weight"].shape[1]),
        "hidden_size": number("embedding_length"),
        "intermediate_size": number("feed_forward_length"),
        "num_hidden_layers": number("block_count"),
        "num_attention_heads": number("attention.head_count"),
        "num_key_value_heads": number("attention.head_count_kv"),
        "rms_norm_eps": number("attention.layer_norm_rms_epsilon"),
        "tie_word_embeddings": "output.weight" not in tensors,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", nargs="?")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--examples", type=int, default=4)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--variants", default="bf16,bf16-checkpoint")
    parser.add_argument("--recompute", default="auto,always", help="bantam's own variants")
    arguments = asked(parser, worker)
    shape = shape_of(arguments.model)
    peers = [Peer(variant, shape, arguments) for variant in arguments.variants.split(",")]
    tokens = arguments.examples * arguments.length
    for peer in peers:
        peer.seconds(1)

    def bantam(recompute: str) -> tuple[float, int]:
        command = [arguments.bantam, "bench", arguments.model, "--train", "--json", "--recompute", recompute]
        command += ["-r", str(arguments.steps), "-t", str(arguments.threads), "--rank", str(arguments.rank)]
        command += ["--examples", str(arguments.examples), "--length", str(arguments.length)]
        row = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)[0]
        return row["tokens_per_second"], row["peak_memory"] or 0

    ours = [f"bantam, recompute {when}" for when in arguments.recompute.split(",")]
    speeds: dict[str, list[float]] = {name: [] for name in ours + [peer.name for peer in peers]}
    memory: dict[str, int] = {}
    for _ in range(arguments.rounds):
        for name in ours:
            speed, held = bantam(name.split()[-1])
            speeds[name].append(speed)
            memory[name] = max(memory.get(name, 0), held)
        for peer in peers:
            speeds[peer.name].append(tokens / peer.seconds(arguments.steps))
            memory[peer.name] = peer.memory
    rows = []
    for name, found in speeds.items():
        row = {"name": name, "tokens_per_second": statistics.median(found), "peak_memory": memory[name]}
        for mine in ours:
            ratios = [a / b for a, b in zip(speeds[mine], found)]
            row[f"{mine} / it"] = [statistics.median(ratios), min(ratios), max(ratios)]
        rows.append(row)
    if arguments.json:
        print(json.dumps(rows, indent=1))
        return
    print(f"{arguments.model}: LoRA r{arguments.rank}, {arguments.examples} x {arguments.length}, "
          f"{arguments.threads} threads, {arguments.rounds} rounds")
    for row in rows:
        ratios = [f"{middle:.2f} ({low:.2f} to {high:.2f})" for middle, low, high in
                  (row[f"{mine} / it"] for mine in ours)]
        print(f"{row['name']:<26} {row['tokens_per_second']:8.1f} tokens/s {row['peak_memory'] / 2**30:6.2f} GiB  "
              f"ours over it: {', '.join(ratios)}")


if __name__ == "__main__":
    main()
