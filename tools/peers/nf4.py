#!/usr/bin/env python3
"""Learn QLoRA over NF4 with double quantization here and with transformers, PEFT and bitsandbytes, and compare the losses.

    nf4.py [--bantam target/release/bantam] [--steps 50] [--write]

Random models of two families in f32 and bfloat16, LoRA and rank-stabilised LoRA on all linears. Over there bitsandbytes quantizes each
linear of the layers (nf4, double quantization) and dequantizes it to f32, and PEFT puts its adapters beside that: its own products
of 4-bit weights on a CPU round activations to bfloat16. Here it is `bantam tune --quantize nf4 --f32`. Both begin with the same
matrices, take the same examples in the same order, and AdamW with a constant rate, clipped at 1. The model with its own weights
in the place of the 4-bit ones says how much NF4 changes, so that a side which left it out would be seen.

Exit code 1 where a loss of any step is further apart than 1e-3, or than a tenth of what NF4 changes, or than 1e-4 where the scales'
8-bit codes are the nearest ones over there, too.
`--write` writes docs/results/nf4.md.

Needs: torch, transformers, peft, bitsandbytes; nothing from the network. Run from anywhere.
"""
from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import pathlib
import subprocess
import sys
import tempfile

import bitsandbytes.functional as bnb
import numpy as np
import torch
import transformers
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/goldens"))
from tiny import write_tokenizer  # noqa: E402

ALLOWED = 1e-3
VOCABULARY, RANK, ALPHA, RATE, BATCH = 64, 8, 16, 1e-3, 4
# Rows of whole blocks of 64, as real models have them: others bitsandbytes dequantizes otherwise on a CPU than it quantized them.
SHAPE = dict(vocab_size=VOCABULARY, hidden_size=192, intermediate_size=320, num_hidden_layers=3, num_attention_heads=6,
             num_key_value_heads=1, head_dim=32, max_position_embeddings=256, rms_norm_eps=1e-5, bos_token_id=0, eos_token_id=1,
             pad_token_id=1)
FAMILIES = {"Llama": {**SHAPE, "tie_word_embeddings": False}, "Qwen2": {**SHAPE, "tie_word_embeddings": True}}
KINDS = {"LoRA": ({}, "lora"), "rsLoRA": ({"use_rslora": True}, "rslora")}
HEAD = """# QLoRA over NF4 beside bitsandbytes

Written by `tools/peers/nf4.py` (bitsandbytes {bitsandbytes}, peft {peft}, transformers {transformers}, torch {torch}, on the CPU); do not edit.
Models with random weights, three layers of width 192, a vocabulary of 64; {kinds} of rank {rank} and alpha {alpha} on all linears of the layers, AdamW
at {rate}, {batch} examples a step, {steps} steps. There bitsandbytes quantizes the linears (nf4,
double quantization) and dequantizes them to f32, and PEFT adapts that; here it is `bantam tune --quantize nf4 --f32`. Both begin with the same
matrices and take the same examples in the same order.

*Apart* is the largest difference of a step's loss over all steps. What differs is the 8-bit code of one or two scales in a thousand: bitsandbytes'
search on a CPU takes the next to the nearest code there, ours the nearest. *Nearest codes* is the same difference where those scales have the nearest
code over there, too. *Without NF4* is how far PyTorch's losses are from those of the same run on the model's own weights: what a side that
did not quantize would be off by. The script fails where a loss is {allowed} apart, or a tenth of the last column, or with the nearest codes {near}.

| family | weights | adapter | loss, first to last step | apart | nearest codes | without NF4 |
|---|---|---|--:|--:|--:|--:|
"""


def make_model(family: str, dtype: torch.dtype, directory: pathlib.Path) -> None:
    torch.manual_seed(1)
    model = getattr(transformers, family + "ForCausalLM")(getattr(transformers, family + "Config")(**FAMILIES[family]))
    for name, weight in model.named_parameters():
        values = torch.randn(weight.shape)
        if "norm" in name:
            values = 1 + 0.3 * values
        elif name.endswith("bias"):
            values = 0.3 * values
        else:
            values = values * 1.2 / math.sqrt(weight.shape[-1])
        weight.data.copy_(values)
    model.to(dtype).save_pretrained(directory)
    write_tokenizer(directory, VOCABULARY)


def examples(count: int) -> list[str]:
    """Alphabets with steps of their own, which is something to learn."""
    random = np.random.default_rng(7)
    return ["".join(chr(ord("a") + (start + step * at) % 26) for at in range(length))
            for start, step, length in zip(*(random.integers(low, high, count).tolist() for low, high in ((0, 26), (1, 26), (12, 40))))]


def quantized(weight: torch.Tensor) -> torch.Tensor:
    codes, state = bnb.quantize_4bit(weight, blocksize=64, compress_statistics=True, quant_type="nf4")
    return bnb.dequantize_4bit(codes, state)


def quantized_nearest(weight: torch.Tensor) -> torch.Tensor:
    """The same with the nearest 8-bit code for each block's scale, which bitsandbytes' search on a CPU misses now and then."""
    codes, state = bnb.quantize_4bit(weight, blocksize=64, compress_statistics=True, quant_type="nf4")
    scales = bnb.quantize_4bit(weight, blocksize=64, compress_statistics=False, quant_type="nf4")[1].absmax - state.offset
    shares = scales.double() / state.state2.absmax.double().repeat_interleave(state.state2.blocksize)[:len(scales)]
    state.absmax = (shares[:, None] - state.state2.code.double()).abs().argmin(1).to(torch.uint8)
    return bnb.dequantize_4bit(codes, state)


class Run:
    def __init__(self, command: str, steps: int, folder: pathlib.Path):
        self.command, self.steps, self.folder = command, steps, folder
        self.model, self.data = folder / "model", folder / "data.jsonl"
        self.texts = examples(steps * BATCH)
        self.data.write_text("".join(json.dumps({"text": text}) + "\n" for text in self.texts))

    def bantam(self, *arguments) -> str:
        done = subprocess.run([self.command, *map(str, arguments)], capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"bantam {' '.join(map(str, arguments))}: {done.stderr.strip()}")
        return done.stdout

    def tune(self, name: str, method: str, data: pathlib.Path, rate: float) -> pathlib.Path:
        out = self.folder / name
        self.bantam("tune", self.model, data, "-o", out, "--raw", "--in-order", "--method", method, "--rank", RANK, "--alpha", ALPHA,
                    "--rate", rate, "--schedule", "constant", "--warmup", 0, "--epochs", 1, "--batch", BATCH, "--clip", 1,
                    "--quantize", "nf4", "--f32", "--seed", 3)
        return out

    def begin(self, method: str) -> dict[str, torch.Tensor]:
        """The matrices that `bantam tune` begins with: a step at next to no rate leaves them, and B is nothing."""
        few = self.folder / "few.jsonl"
        few.write_text("".join(self.data.read_text().splitlines(keepends=True)[:BATCH]))
        tensors = load_file(self.tune(f"begin-{method}", method, few, 1e-30) / "adapter_model.safetensors")
        return {name: torch.zeros_like(value) if ".lora_B." in name else value for name, value in tensors.items()}

    def peers(self, settings: dict, begin: dict[str, torch.Tensor], frozen) -> np.ndarray:
        """Losses of each step by transformers and PEFT, with frozen weights as `frozen` makes them."""
        base = transformers.AutoModelForCausalLM.from_pretrained(self.model, dtype=torch.float32, attn_implementation="eager")
        linears = [module for name, module in base.named_modules() if name.endswith("_proj")]
        for linear in linears:
            linear.weight.data = frozen(linear.weight.data)
        targets = sorted({name.split(".")[-3] for name in begin})
        model = get_peft_model(base, LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=targets, task_type="CAUSAL_LM", **settings))
        model.train()
        trained = {name.replace(".default", ""): value for name, value in model.named_parameters() if value.requires_grad}
        assert trained.keys() == begin.keys(), trained.keys() ^ begin.keys()
        with torch.no_grad():
            for name, value in trained.items():
                value.copy_(begin[name])
        optimiser = torch.optim.AdamW(trained.values(), lr=RATE, weight_decay=0.0)
        losses = []
        for step in range(self.steps):
            rows = [self.tokens(text) for text in self.texts[step * BATCH:(step + 1) * BATCH]]
            learned = sum(len(row) - 1 for row in rows)
            total = 0.0
            for row in rows:
                logits = model(input_ids=torch.tensor([row])).logits[0, :-1].float()
                loss = torch.nn.functional.cross_entropy(logits, torch.tensor(row[1:]), reduction="sum") / learned
                loss.backward()
                total += loss.item()
            torch.nn.utils.clip_grad_norm_(trained.values(), 1.0)
            optimiser.step()
            optimiser.zero_grad()
            losses.append(total)
        return np.array(losses)

    def tokens(self, text: str) -> list[int]:
        """What `bantam tune --raw` learns of a text: all of it. The placeholder tokenizer has no token for its end."""
        return self.tokenizer.encode(text, add_special_tokens=False)

    def compare(self, family: str, dtype: torch.dtype) -> tuple[list[str], list[str]]:
        make_model(family, dtype, self.model)
        self.tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(self.model / "tokenizer.json"))
        rows, failures = [], []
        for kind, (settings, method) in KINDS.items():
            begin = self.begin(method)
            run = json.loads((self.tune(method, method, self.data, RATE) / "run.json").read_text())
            ours = np.array(run["losses"])
            assert run["tokens"] == sum(len(self.tokens(text)) for text in self.texts), run["tokens"]
            theirs, nearest, plain = (self.peers(settings, begin, frozen) for frozen in (quantized, quantized_nearest, lambda weight: weight))
            apart, alike, moved = (float(np.abs(one - other).max()) for one, other in ((ours, theirs), (ours, nearest), (plain, theirs)))
            name = str(dtype).removeprefix("torch.")
            rows.append(f"| {family} | {name} | {kind} | {theirs[0]:.4f} to {theirs[-1]:.4f} | {apart:.1e} | {alike:.1e} | {moved:.1e} |")
            print(rows[-1], flush=True)
            if not (apart <= min(ALLOWED, moved / 10) and alike <= ALLOWED / 10):
                failures.append(f"{family}, {name}, {kind}: {apart:.2e} apart, {alike:.2e} with the nearest codes")
        return rows, failures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bantam", default=str(ROOT / "target/release/bantam"))
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--write", action="store_true", help="write docs/results/nf4.md")
    asked = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    rows, failures = [], []
    for family in FAMILIES:
        for dtype in (torch.float32, torch.bfloat16):
            with tempfile.TemporaryDirectory() as folder:
                found = Run(asked.bantam, asked.steps, pathlib.Path(folder)).compare(family, dtype)
            rows += found[0]
            failures += found[1]
    versions = {name: importlib.metadata.version(name) for name in ("bitsandbytes", "peft", "transformers", "torch")}
    head = HEAD.format(kinds=" and ".join(KINDS), rank=RANK, alpha=ALPHA, rate=RATE, batch=BATCH, steps=asked.steps, allowed=ALLOWED, near=ALLOWED / 10, **versions)
    if asked.write and not failures:
        (ROOT / "docs/results/nf4.md").write_text(head + "\n".join(rows) + "\n")
    if failures:
        raise SystemExit("\n".join(["do not agree:", *failures]))


if __name__ == "__main__":
    main()
