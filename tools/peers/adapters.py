#!/usr/bin/env python3
"""Exchange adapters with PEFT and llama.cpp beside small random models of several families, and compare logits.

    adapters.py [FAMILY…] [--bantam target/release/bantam] [--write]

For each family a model in f32 is made on the spot, a Hugging Face directory that `bantam convert` makes a GGUF file of too. For each
kind of adapter (LoRA, rank-stabilised LoRA, DoRA, LoRA beside a norm that is saved whole):

* PEFT makes one with random matrices; `bantam logits --adapter` and PEFT must agree.
* `bantam tune` learns one in a few steps; PEFT loads what it wrote without a warning, and must give the logits that Bantam gives. Its
  configuration has only keys that PEFT has known for long.
* `bantam merge --adapter-only` writes both as GGUF; llama.cpp and Bantam run that beside the GGUF model. What does not fit is refused by name.
* PyPI's gguf writes a random LoRA; llama.cpp and Bantam run it.
* `bantam merge` makes each part of the model, whose logits must be those with the adapter beside it.

Exit code 1 where a difference is beyond 1e-3 of the range of the logits, or where an adapter moves them too little to show
anything. `--write` writes docs/results/adapter-exchange.md.

Needs: torch, transformers, peft, gguf, llama-cpp-python, numpy; nothing from the network. Run from anywhere.
"""
from __future__ import annotations

import argparse
import ctypes
import importlib.metadata
import json
import math
import pathlib
import subprocess
import sys
import tempfile
import warnings

import gguf
import llama_cpp
import numpy as np
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/goldens"))
from tiny import run, write_tokenizer, write_weights  # noqa: E402

VOCABULARY = 64
# Of the range of the logits. Random models as small as these make much of every rounding; f32 on both sides stays far below.
ALLOWED = 1e-3
# What an adapter must move, in the same measure, to show anything.
MOVED = 0.1
SHAPE = dict(vocab_size=VOCABULARY, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=256, rms_norm_eps=1e-5, bos_token_id=0, eos_token_id=1, pad_token_id=1)
GEMMA = {**SHAPE, "head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 128}
FAMILIES = {
    "Llama": {**SHAPE, "tie_word_embeddings": False},
    "Qwen2": {**SHAPE, "tie_word_embeddings": True},
    "Phi3": {**SHAPE, "tie_word_embeddings": False, "original_max_position_embeddings": 256},
    "Gemma2": GEMMA,
    "Gemma3": {**GEMMA, "sliding_window_pattern": 2},
}
CONFIGURATIONS = {"Gemma3": "Gemma3TextConfig"}
# PEFT's settings beside rank and alpha, and the command's.
KINDS = {
    "LoRA": ({}, ["--method", "lora"]),
    "rsLoRA": ({"use_rslora": True}, ["--method", "rslora"]),
    "DoRA": ({"use_dora": True}, ["--method", "dora"]),
    "LoRA and a saved norm": ({"modules_to_save": ["model.norm"]}, ["--method", "lora", "--save-modules", "model.norm"]),
}
# The fields of LoraConfig in PEFT 0.10.0. PEFT up to 0.13 refuses a configuration with another key, later ones warn of it.
PEFT_0_10 = {"alpha_pattern", "auto_mapping", "base_model_name_or_path", "bias", "fan_in_fan_out", "inference_mode", "init_lora_weights",
             "layer_replication", "layers_pattern", "layers_to_transform", "loftq_config", "lora_alpha", "lora_dropout",
             "megatron_config", "megatron_core", "modules_to_save", "peft_type", "r", "rank_pattern", "revision", "target_modules",
             "task_type", "use_dora", "use_rslora"}
# By which word of the refusal GGUF's form has no place for it.
NOT_IN_GGUF = {"DoRA": "DoRA", "LoRA and a saved norm": "saved"}
# Modules that a checkpoint has fused are adapted as one: q and v of rank r each are one pair of rank 2r.
SLICES = "LoRA of q_proj and v_proj"
HEAD = """# Adapters exchanged with PEFT and llama.cpp

Written by `tools/peers/adapters.py` (peft {peft}, transformers {transformers}, torch {torch}, llama-cpp-python {llama_cpp}, gguf {gguf});
do not edit. The models have random weights in f32, two layers of width 64 and a vocabulary of 64; Phi-3's has its fused `qkv_proj` and
`gate_up_proj`. A cell is the largest difference of a logit over {tokens} tokens, of the range that the logits have; the script fails beyond
1e-3 of that. Every adapter moves logits by at least {moved:.0%} of the range (the first column says how far), so one that was
left out, scaled otherwise or put elsewhere would be seen.

* **PEFT's here**: an adapter that PEFT made, on every linear layer, with random matrices (rank 4, alpha 6; DoRA with other lengths than its
  rows have): `bantam logits DIR --adapter` against PEFT.
* **Ours in PEFT**: what `bantam tune` learned in twelve steps (rank 4, alpha 6), loaded by `PeftModel.from_pretrained` beside the directory, against
  `bantam logits`; once learned on the directory, once on the GGUF file that `bantam convert` made of it; the greater of the two. PEFT loads
  them without a warning, and their configurations have no key that PEFT 0.10 does not know; either fails the script.
* **In llama.cpp**: PEFT's and ours, written by `bantam merge --adapter-only`, beside that GGUF file in llama.cpp with keys and
  values in f32, against Bantam with the PEFT directory; the greater difference of the two. rsLoRA is
  written with an alpha that llama.cpp's alpha / r makes the same of.
* **GGUF here**: the same adapters, as directories and as those GGUF files, beside the GGUF model in Bantam, against the same; the greatest.
* **Merged**: `bantam merge` of both, without an adapter, against Bantam with the adapter beside; the greater of the two.

"""
FOOT = """
*{slices}* on Phi-3: `bantam tune --target q_proj,v_proj` learns slices of the fused projection, and what it writes is one adapter of twice the
rank on `qkv_proj`. *GGUF's own*: random matrices of rank 3, written with PyPI's gguf on every matrix of every layer, run by llama.cpp and by Bantam
beside the same GGUF model. *None*: the models themselves, without any adapter: what llama.cpp is off by anyway.{gelu}
"""
GELU = """ Gemma's GELU is a table of
16-bit floats in llama.cpp: transformers with its GELU rounded so differs from llama.cpp by {}."""


class Difference:
    def __init__(self, found: np.ndarray, expected: np.ndarray):
        self.range = float(expected.max() - expected.min())
        self.largest = float(np.abs(found.astype(np.float64) - expected).max()) if np.isfinite(found).all() else math.inf

    @property
    def share(self) -> float:
        return self.largest / self.range

    def __str__(self) -> str:
        return f"{self.largest:.1e} of {self.range:.1f}"


class Failed(Exception):
    pass


class Bantam:
    def __init__(self, command: str, threads: int):
        self.command, self.threads = command, str(threads)

    def run(self, *arguments) -> None:
        done = subprocess.run([self.command, *map(str, arguments), "-t", self.threads], capture_output=True, text=True)
        if done.returncode != 0:
            raise Failed(f"{' '.join(map(str, arguments))}: {done.stderr.strip()}")

    def logits(self, model: pathlib.Path, adapter: pathlib.Path | None = None, *more: str) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder) / "logits.npy"
            beside = ["--adapter", adapter] if adapter else []
            self.run("logits", model, "--ids", " ".join(map(str, TOKENS)), "-o", out, *beside, *more)
            return np.load(out)


TOKENS = [(7 * at * at + 3 * at + 5) % VOCABULARY for at in range(24)]


def llama_cpp_logits(path: pathlib.Path, adapter: pathlib.Path | None = None) -> np.ndarray:
    """`[tokens, vocabulary]` by llama.cpp, with keys and values in f32 and attention in its plain form."""
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
    if not model:
        raise Failed(f"llama.cpp cannot load {path.name}")
    options = llama_cpp.llama_context_default_params()
    options.n_ctx = options.n_batch = options.n_ubatch = 64
    options.type_k = options.type_v = llama_cpp.GGML_TYPE_F32
    options.flash_attn_type = 0
    options.n_threads = options.n_threads_batch = 1
    context = llama_cpp.llama_init_from_model(model, options)
    if adapter:
        loaded = llama_cpp.llama_adapter_lora_init(model, str(adapter).encode())
        if not loaded:
            raise Failed(f"llama.cpp cannot load {adapter.name}")
        if llama_cpp.llama_set_adapters_lora(context, (type(loaded) * 1)(loaded), 1, (ctypes.c_float * 1)(1.0)) != 0:
            raise Failed(f"llama.cpp cannot use {adapter.name}")
    batch = llama_cpp.llama_batch_init(len(TOKENS), 0, 1)
    for i, token in enumerate(TOKENS):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = token, i, 1, 0, True
    batch.n_tokens = len(TOKENS)
    if llama_cpp.llama_decode(context, batch) != 0:
        raise Failed("llama.cpp cannot decode")
    found = np.ctypeslib.as_array(llama_cpp.llama_get_logits(context), shape=(len(TOKENS), VOCABULARY)).copy()
    llama_cpp.llama_batch_free(batch)
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)
    return found


def make_model(family: str, directory: pathlib.Path) -> None:
    """Weights wide enough to matter, in a directory as the family's checkpoints are."""
    config = getattr(transformers, CONFIGURATIONS.get(family, family + "Config"))(**FAMILIES[family])
    model = getattr(transformers, family + "ForCausalLM")(config)
    for name, weight in model.named_parameters():
        values = torch.randn(weight.shape)
        if "norm" in name:
            values = 0.3 * values + (0.0 if family.startswith("Gemma") else 1.0)
        elif name.endswith("bias"):
            values = 0.3 * values
        elif "embed_tokens" in name:
            values = values * 0.4
        else:
            values = values * 1.5 / math.sqrt(weight.shape[-1])
        weight.data.copy_(values)
    model.save_pretrained(directory)
    write_tokenizer(directory, VOCABULARY)


def rounded_gelu(values: torch.Tensor) -> torch.Tensor:
    """As llama.cpp looks it up in a table of 16-bit floats."""
    return torch.nn.functional.gelu(values.half().float(), approximate="tanh").half().float()


def load(directory: pathlib.Path) -> torch.nn.Module:
    return transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager").eval()


def make_with_peft(base: pathlib.Path, settings: dict, out: pathlib.Path) -> np.ndarray:
    """Writes an adapter with random matrices; the logits with it."""
    linears = LoraConfig(r=4, lora_alpha=6, target_modules="all-linear", task_type="CAUSAL_LM", **settings)
    model = get_peft_model(load(base), linears).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if ".lora_A." in name or ".lora_B." in name:
                value.copy_(torch.randn_like(value) / math.sqrt(value.shape[-1] if ".lora_A." in name else 8 * value.shape[-1]))
            elif "lora_magnitude_vector" in name:
                value.mul_(0.85 + 0.3 * torch.rand_like(value))
            elif "modules_to_save" in name:
                value.add_(0.2 * torch.randn_like(value))
        logits = run(model, TOKENS).numpy()
    model.save_pretrained(out)
    return logits


def make_gguf(base: pathlib.Path, out: pathlib.Path) -> None:
    """A LoRA of rank 3 on every matrix of every layer, in llama.cpp's form."""
    reader, random = gguf.GGUFReader(base), np.random.default_rng(3)
    writer = gguf.GGUFWriter(out, bytes(reader.fields["general.architecture"].parts[-1]).decode())
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 5.0)
    for tensor in reader.tensors:
        if tensor.name.startswith("blk.") and len(tensor.shape) == 2:
            inputs, outputs = (int(n) for n in tensor.shape)
            writer.add_tensor(tensor.name + ".lora_a", (random.normal(size=(3, inputs)) / math.sqrt(inputs)).astype(np.float32))
            writer.add_tensor(tensor.name + ".lora_b", random.normal(0, 0.25, (outputs, 3)).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def examples(path: pathlib.Path) -> None:
    random = np.random.default_rng(7)
    lines = ["".join(chr(ord("a") + (start + step * at) % 26) for at in range(20))
             for start, step in random.integers(1, 26, (24, 2)).tolist()]
    path.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))


class Exchange:
    """One family's model in both forms, and what is compared beside it."""

    def __init__(self, family: str, folder: pathlib.Path, bantam: Bantam):
        self.family, self.folder, self.bantam = family, folder, bantam
        self.directory, self.gguf, self.data = folder / "model", folder / "model.gguf", folder / "data.jsonl"
        torch.manual_seed(1)
        make_model(family, self.directory)
        examples(self.data)
        bantam.run("convert", self.directory, "-o", self.gguf)
        self.plain = bantam.logits(self.directory)
        self.rows: list[dict] = []
        self.failures: list[str] = []
        self.rounded: Difference | None = None

    def row(self, kind: str, moved: list[np.ndarray], **cells) -> None:
        furthest = [Difference(self.plain, logits) for logits in moved]
        least = min(furthest, key=lambda difference: difference.share, default=None)
        self.rows.append({"family": self.family, "kind": kind, "moved": least, **cells})
        if least is not None and least.share < MOVED:
            self.failures.append(f"{self.family}, {kind}: the adapter moves nothing, {least}")
        for column, found in cells.items():
            if isinstance(found, Difference) and not found.share <= ALLOWED:
                self.failures.append(f"{self.family}, {kind}, {column}: {found}")
        print(self.family, kind, *(f"{name}: {cell}" for name, cell in self.rows[-1].items() if name not in ("family", "kind")),
              sep=" | ", flush=True)

    def peft(self, adapter: pathlib.Path) -> np.ndarray:
        if unknown := set(json.loads((adapter / "adapter_config.json").read_text())) - PEFT_0_10:
            self.failures.append(f"{self.family}, {adapter.name}: PEFT 0.10 does not know {sorted(unknown)}")
        base = load(self.directory)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            model = PeftModel.from_pretrained(base, adapter).eval()
        # Others are about how PEFT itself uses transformers and torch.
        own = [warning.message for warning in told if issubclass(warning.category, UserWarning)]
        self.failures += [f"{self.family}, {adapter.name}: PEFT warns: {message}" for message in own]
        return run(model, TOKENS).numpy()

    def tune(self, model: pathlib.Path, name: str, *options: str) -> pathlib.Path:
        out = self.folder / name
        self.bantam.run("tune", model, self.data, "-o", out, "--raw", "--rank", "4", "--alpha", "6", "--rate", "0.05",
                        "--epochs", "4", "--schedule", "constant", *options)
        return out

    def learn(self, name: str, *options: str) -> tuple[pathlib.Path, Difference, np.ndarray]:
        """What is learned on the directory, how PEFT differs with that and with what is learned on the GGUF file, and its logits."""
        ours, on_gguf = self.tune(self.directory, name, *options), self.tune(self.gguf, f"{name}-on-gguf", *options)
        learned = self.bantam.logits(self.directory, ours)
        differences = [Difference(self.peft(ours), learned), Difference(self.peft(on_gguf), self.bantam.logits(self.gguf, on_gguf))]
        return ours, max(differences, key=lambda difference: difference.share), learned

    def across(self, kind: str, adapters: dict[pathlib.Path, np.ndarray]) -> dict:
        """PEFT directories beside the GGUF model, their GGUF form there and in llama.cpp, and merged, against the directories beside the
        model's own."""
        cells: dict[str, list] = {"in llama.cpp": [], "GGUF here": [], "merged": []}
        for adapter, expected in adapters.items():
            file, merged = self.folder / f"{adapter.name}.gguf", self.folder / f"{adapter.name}.merged.gguf"
            cells["GGUF here"].append(Difference(self.bantam.logits(self.gguf, adapter, "--any-base"), expected))
            self.bantam.run("merge", self.directory, adapter, "-o", merged)
            cells["merged"].append(Difference(self.bantam.logits(merged), expected))
            if kind in NOT_IN_GGUF:
                cells["in llama.cpp"].append(self.refusal(adapter, file, NOT_IN_GGUF[kind]))
                continue
            self.bantam.run("merge", self.directory, adapter, "--adapter-only", "-o", file)
            cells["in llama.cpp"].append(Difference(llama_cpp_logits(self.gguf, file), expected))
            cells["GGUF here"].append(Difference(self.bantam.logits(self.gguf, file, "--any-base"), expected))
        return {column: max(found, key=lambda cell: getattr(cell, "share", 0), default="–") for column, found in cells.items()}

    def refusal(self, adapter: pathlib.Path, file: pathlib.Path, word: str) -> str:
        try:
            self.bantam.run("merge", self.directory, adapter, "--adapter-only", "-o", file)
        except Failed as refused:
            if word in str(refused).split(": ", 1)[1] and not file.exists():
                return "refused by name"
            self.failures.append(f"{self.family}: refused, but not by {word}: {refused}")
            return "refused"
        self.failures.append(f"{self.family}: {word} was written as GGUF")
        return "written"

    def run(self) -> None:
        here, model = self.plain, load(self.directory)
        there, peers = run(model, TOKENS).numpy(), llama_cpp_logits(self.gguf)
        if "Gemma" in self.family:
            for layer in model.model.layers:
                layer.mlp.act_fn.forward = rounded_gelu
            self.rounded = Difference(peers, run(model, TOKENS).numpy())
        self.row("none", [], **{"PEFT's here": Difference(here, there), "ours in PEFT": "–",
                                "in llama.cpp": Difference(peers, here),
                                "GGUF here": Difference(self.bantam.logits(self.gguf), here), "merged": "–"})
        for kind, (settings, options) in KINDS.items():
            name = kind.replace(" ", "-")
            theirs = self.folder / f"peft-{name}"
            expected = make_with_peft(self.directory, settings, theirs)
            found = self.bantam.logits(self.directory, theirs)
            ours, ours_in_peft, learned = self.learn(f"tuned-{name}", *options)
            self.row(kind, [expected, learned], **{"PEFT's here": Difference(found, expected), "ours in PEFT": ours_in_peft,
                                                   **self.across(kind, {theirs: found, ours: learned})})
        if self.family == "Phi3":
            ours, ours_in_peft, learned = self.learn("tuned-slices", "--method", "lora", "--target", "q_proj,v_proj")
            written = json.loads((ours / "adapter_config.json").read_text())
            ranks = {written["r"], *written.get("rank_pattern", {}).values()}
            if set(written["target_modules"]) != {"qkv_proj"} or 8 not in ranks:
                self.failures.append(f"{SLICES}: written as {written['target_modules']} of rank {ranks}")
            self.row(SLICES, [learned], **{"PEFT's here": "–", "ours in PEFT": ours_in_peft,
                                           **self.across(SLICES, {ours: learned})})
        file, merged = self.folder / "random.gguf", self.folder / "random.merged.gguf"
        make_gguf(self.gguf, file)
        here = self.bantam.logits(self.gguf, file)
        self.bantam.run("merge", self.gguf, file, "-o", merged)
        self.row("GGUF's own", [here], **{"PEFT's here": "–", "ours in PEFT": "–",
                                          "in llama.cpp": Difference(llama_cpp_logits(self.gguf, file), here), "GGUF here": "–",
                                          "merged": Difference(self.bantam.logits(merged), here)})


def table(rows: list[dict]) -> str:
    names = ["moved", "PEFT's here", "ours in PEFT", "in llama.cpp", "GGUF here", "merged"]
    text = f"| family | adapter | {' | '.join(names)} |\n|---|---|{'---:|' * len(names)}\n"
    for row in rows:
        moved = "–" if row["moved"] is None else f"{row['moved'].share:.0%}"
        text += f"| {row['family']} | {row['kind']} | {moved} | {' | '.join(str(row[name]) for name in names[1:])} |\n"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", metavar="FAMILY", help=", ".join(FAMILIES))
    parser.add_argument("--bantam", default=str(ROOT / "target/release/bantam"))
    parser.add_argument("-t", "--threads", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="write docs/results/adapter-exchange.md")
    asked = parser.parse_args()
    if unknown := set(asked.families) - set(FAMILIES):
        parser.error(f"no such family: {', '.join(sorted(unknown))}")
    if asked.write and asked.families:
        parser.error("--write needs all families")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(asked.threads)
    quiet = llama_cpp.llama_log_callback(lambda *_: None)
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()

    rows, failures, rounded = [], [], []
    for family in asked.families or FAMILIES:
        with tempfile.TemporaryDirectory() as folder:
            exchange = Exchange(family, pathlib.Path(folder), Bantam(asked.bantam, asked.threads))
            exchange.run()
            rows += exchange.rows
            failures += exchange.failures
            if exchange.rounded:
                rounded.append(f"{exchange.rounded} ({family})")
    versions = {name.replace("-python", "").replace("-", "_"): importlib.metadata.version(name)
                for name in ("peft", "transformers", "torch", "llama-cpp-python", "gguf")}
    gelu = GELU.format(", ".join(rounded)) if rounded else ""
    text = HEAD.format(tokens=len(TOKENS), moved=MOVED, **versions) + table(rows) + FOOT.format(slices=SLICES, gelu=gelu)
    print(text)
    if asked.write and not failures:
        (ROOT / "docs/results/adapter-exchange.md").write_text(text)
    if failures:
        raise SystemExit("\n".join(["do not agree:", *failures]))


if __name__ == "__main__":
    main()
