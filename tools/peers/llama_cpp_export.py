#!/usr/bin/env python3
"""Exchange every tiny model with llama.cpp and transformers, and write docs/results/llama-cpp-exchange.md.

    llama_cpp_export.py [NAME…] [--bantam target/debug/bantam] [--llama-cpp DIR] [--write]

For each tiny model under crates/bantam-testkit/goldens: `bantam convert` writes its GGUF form, which llama.cpp loads and runs; from
that, `bantam convert --to hf` writes a directory again, which transformers loads and runs; both must give the logits (of encoders
the hidden states) that transformers gave from the original. With `--llama-cpp DIR` (a folder with llama.cpp's
convert_hf_to_gguf.py and what it imports), llama.cpp's own conversion of the same model is run by `bantam logits` too.

Needs: torch, transformers, llama-cpp-python, numpy; nothing from the network. Run from anywhere.
"""
import argparse
import importlib.metadata
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/goldens"))
from tiny import llama_cpp_logits, run  # noqa: E402
from tiny_encoders import llama_cpp_states  # noqa: E402

GOLDENS = ROOT / "crates/bantam-testkit/goldens"
# llama.cpp computes in f16 in part, and on models as small and as widely drawn as these a rounding weighs much.
LLAMA_CPP = 2e-2
# f32 on both sides.
EXACT = 1e-4
# Settings that llama.cpp's converter writes no key for, with what its reader takes in their place. Such a model is run by llama.cpp
# from the same file, which must depart from transformers as Bantam does; and converted again with the setting so, where all agree.
NO_KEY = {"tiny-gemma-a": ("rope_theta", 10000.0), "tiny-gemma2-a": ("rope_theta", 10000.0),
          "tiny-stablelm-b": ("rope_theta", 10000.0), "tiny-stablelm-a": ("rope_theta", 10000.0)}
# Models of which its converter writes less than the directory says, and what.
LOST = {"tiny-gemma3-c": "its converter writes neither layer types nor the scaling of one kind of layers"}
# Its converter knows tokenizers by the hash of what they make of a text; these are of no known model.
OWN_CONVERSION = """
import sys, runpy
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/gguf-py"]
import conversion.base as base
base.TextModel.get_vocab_base_pre = lambda self, tokenizer: "gpt-2"
written = base.ModelBase.write
def write(self):
    # Whatever kind of tokenizer the family's own models have.
    self.set_vocab = self._set_vocab_gpt2
    written(self)
base.ModelBase.write = write
folder = sys.argv.pop(1)
sys.argv[0] = folder + "/convert_hf_to_gguf.py"
runpy.run_path(sys.argv[0], run_name="__main__")
"""
HEAD = """# Models exchanged with llama.cpp and transformers

Written by `tools/peers/llama_cpp_export.py` from the tiny random models under `crates/bantam-testkit/goldens/` (llama-cpp-python
{llama_cpp}, transformers {transformers}); do not edit. Differences are the largest of a logit (of encoders: the root mean square of a
hidden state) as a share of the range of transformers' own.

* **Export**: `bantam convert DIR -o model.gguf --type f16`, loaded and run by llama.cpp, which computes in f16 in part: up to 2e-2 is
  agreement on models as small and as widely drawn as these. (Their weights are exact in f16; with bf16 ones llama.cpp rounds what it
  multiplies them with to bf16 too, and is off by up to 3e-2 for that alone.) Where llama.cpp departs from transformers for reasons that no file can mend
  ([the list](llama-cpp-departures.md)), only the rows before that are compared: how many, the table says.
* **Back**: `bantam convert model.gguf -o DIR --to hf` from the file with every tensor in its own type, loaded by transformers' `AutoModel…` and run in f32: at most 1e-4.
* **Import**: llama.cpp's own `convert_hf_to_gguf.py` on the same directory, run by `bantam logits` in f32: at most 1e-4 (files in its
  form cannot say all; where they differ, it is said). Gemma 1, Gemma 2 and StableLM models have a `rope_theta` of 10000, for which its converter
  writes no key; Phi-2's converter writes four times the width for the feed-forward network's, as real Phi-2 has it. A dash: not run.

| model | export, rows | export | back | import |
|---|---:|---:|---:|---|
"""


def share(value: float) -> str:
    return f"{value:.1e}"


def apart(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / (expected.max() - expected.min()))


def mean_apart(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.sqrt(((found - expected) ** 2).mean()) / (expected.max() - expected.min()))


def loaded(directory: pathlib.Path, encoder: bool) -> torch.nn.Module:
    kind = transformers.AutoModel if encoder else transformers.AutoModelForCausalLM
    options = dict(dtype=torch.float32, attn_implementation="eager")
    return kind.from_pretrained(directory, **options).eval()


def states(model: torch.nn.Module, tokens: list[int]) -> np.ndarray:
    with torch.no_grad():
        return model(torch.tensor([tokens])).last_hidden_state[0].numpy()


def logits(model: torch.nn.Module, tokens: list[int]) -> np.ndarray:
    return run(model, tokens).numpy()


def command(bantam: str, *arguments: object) -> str | None:
    """What the command says went wrong, if anything did."""
    done = subprocess.run([bantam, *map(str, arguments)], capture_output=True, text=True)
    return None if done.returncode == 0 else done.stderr.strip().removeprefix("error: ").split(": ", 1)[-1]


def name_skipped(name: str, options: argparse.Namespace) -> bool:
    return bool(options.imports) and name not in options.imports


def imported(folder: pathlib.Path, source: pathlib.Path, golden: dict, options: argparse.Namespace, rows: int) -> str:
    if not options.llama_cpp or name_skipped(golden["name"], options):
        return "–"
    target = folder / "own.gguf"
    # What the tiny ones have is no family's own kind of tokenizer.
    (source / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    done = subprocess.run([sys.executable, "-c", OWN_CONVERSION, options.llama_cpp, str(source), "--outfile", str(target), "--outtype",
                           "f32"], capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1].replace(str(folder), "")[:100]
        return f"its converter stops: `{said}`"
    worst = 0.0
    for sequence in golden["sequences"]:
        out, tokens = folder / "own.npy", sequence["tokens"]
        wrong = command(options.bantam, "logits", target, "--context", len(tokens), "--ids", " ".join(map(str, tokens)), "-o", out)
        if wrong:
            try:
                llama_cpp_logits(target, tokens)
            except ValueError:
                return f"refused, by llama.cpp too: {wrong}"
            return f"refused: {wrong}"
        first = sequence["first_row"]
        found, expected = np.load(out)[first:rows], np.load(GOLDENS / golden["name"] / sequence["logits"])
        if len(found):
            worst = max(worst, apart(found, expected[:len(found)]))
        out.unlink()
    if worst < EXACT:
        return share(worst)
    if golden["name"] in LOST:
        # llama.cpp makes of the file what Bantam makes of it.
        tokens, out = golden["sequences"][0]["tokens"], folder / "own.npy"
        wrong = command(options.bantam, "logits", target, "--context", len(tokens), "--ids", " ".join(map(str, tokens)), "-o", out)
        assert not wrong, wrong
        ours, theirs = np.load(out), llama_cpp_logits(target, tokens)
        assert apart(ours, theirs) < LLAMA_CPP, f"{golden['name']}: from llama.cpp {apart(ours, theirs)}"
        return f"{share(worst)}, in llama.cpp too: {LOST[golden['name']]}"
    return no_key(folder, source, golden, options) if golden["name"] in NO_KEY else f"{share(worst)}, not explained yet"


def no_key(folder: pathlib.Path, source: pathlib.Path, golden: dict, options: argparse.Namespace) -> str:
    """What all make of its converter's file, and of one of the same model with the setting that the file's readers take."""
    key, value = NO_KEY[golden["name"]]
    tokens = golden["sequences"][0]["tokens"]
    own, out = folder / "own.gguf", folder / "own.npy"
    differences = []
    for again in (False, True):
        if again:
            config = json.loads((source / "config.json").read_text()) | {key: value}
            (source / "config.json").write_text(json.dumps(config))
            convert = [sys.executable, "-c", OWN_CONVERSION, options.llama_cpp, str(source), "--outfile", str(own), "--outtype", "f32"]
            subprocess.run(convert, capture_output=True, check=True)
        wrong = command(options.bantam, "logits", own, "--context", len(tokens), "--ids", " ".join(map(str, tokens)), "-o", out)
        assert not wrong, wrong
        reference, ours, theirs = logits(loaded(source, False), tokens), np.load(out), llama_cpp_logits(own, tokens)
        out.unlink()
        assert apart(ours, theirs) < LLAMA_CPP, f"{golden['name']}: from llama.cpp {apart(ours, theirs)}"
        differences.append((apart(ours, reference), apart(theirs, reference)))
    (ours, theirs), (same, _) = differences
    assert abs(ours - theirs) < LLAMA_CPP and same < EXACT, f"{golden['name']}: {differences}"
    return f"{share(same)} with its `{key}` of {value:.0f}; the converter loses others (then {share(ours)}, in llama.cpp too)"


def exchange(name: str, options: argparse.Namespace) -> str:
    golden = json.loads((GOLDENS / name / "golden.json").read_text()) | {"name": name}
    encoder = golden.get("kind") == "encoder"
    recorded = golden.get("llama.cpp") if isinstance(golden.get("llama.cpp"), dict) else {}
    sequence = golden["sequences"][0]
    tokens, first = sequence["tokens"], sequence["first_row"]
    expected = np.load(GOLDENS / name / sequence["logits"])
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        # llama.cpp takes the name of some families in a model's name for a promise about its tokens.
        source, gguf, back = folder / "model", folder / "model.gguf", folder / "back"
        shutil.copytree(GOLDENS / name, source, ignore=shutil.ignore_patterns("*.gguf", "*.npy", "golden.json", "*.v5.json"))
        wrong = command(options.bantam, "convert", source, "-o", gguf)
        if wrong:
            assert "GGUF has no way to say" in wrong, f"{name}: {wrong}"
            own = imported(folder, source, golden, options, len(tokens))
            return f"| `{name}` | – | refused: {wrong.split(': ', 1)[-1].split(';')[0]} | – | {own} |"
        half = folder / "half.gguf"
        wrong = command(options.bantam, "convert", source, "-o", half, "--type", "f16")
        assert not wrong, f"{name}: {wrong}"
        rows = len(tokens) if encoder else recorded.get("rows", len(tokens))
        if "no_form" in recorded:
            exported = f"refused by llama.cpp, which {recorded['no_form']}"
            rows = 0
        elif encoder:
            difference = mean_apart(llama_cpp_states(half, tokens), expected)
            assert difference < LLAMA_CPP, f"{name}: {difference}"
            exported = share(difference)
        elif rows == 0:
            found = llama_cpp_logits(half, tokens)
            exported = f"loads; departs ({share(apart(found[first:], expected))})"
        else:
            # Rows before the recorded ones are transformers' own, computed here.
            known = expected if rows > first else logits(loaded(source, False), tokens)
            since = first if rows > first else 0
            found = llama_cpp_logits(half, tokens)
            difference = apart(found[since:rows], known[:rows - since])
            assert difference < LLAMA_CPP, f"{name}: {difference}"
            exported = share(difference)
        wrong = command(options.bantam, "convert", gguf, "-o", back, "--to", "hf")
        assert not wrong, f"{name}: {wrong}"
        model = loaded(back, encoder)
        worst = 0.0
        for each in golden["sequences"]:
            found = (states if encoder else logits)(model, each["tokens"])[each["first_row"]:]
            worst = max(worst, apart(found, np.load(GOLDENS / name / each["logits"])))
        assert worst < EXACT, f"{name}: back {worst}"
        own = "–" if encoder else imported(folder, source, golden, options, rows or len(tokens))
        counted = "–" if rows == 0 else "all" if rows == len(tokens) else str(rows)
        return f"| `{name}` | {counted} | {exported} | {share(worst)} | {own} |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--bantam", default=str(ROOT / "target/debug/bantam"))
    parser.add_argument("--llama-cpp", metavar="DIR")
    parser.add_argument("--imports", metavar="NAME,…", type=lambda names: names.split(","), help="only these of --llama-cpp")
    parser.add_argument("--write", action="store_true", help="write docs/results/llama-cpp-exchange.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    names = options.names or sorted(path.parent.name for path in GOLDENS.glob("*/golden.json"))
    lines, failed = [], []
    for name in names:
        try:
            lines.append(exchange(name, options))
            print(lines[-1], flush=True)
        except Exception as error:  # the others are still worth knowing about
            failed.append(name)
            print(f"FAILED {name}: {type(error).__name__}: {error}", flush=True)
    if options.write and not failed:
        versions = dict(llama_cpp=importlib.metadata.version("llama-cpp-python"), transformers=transformers.__version__)
        text = HEAD.format(**versions) + "\n".join(lines) + "\n"
        (ROOT / "docs/results/llama-cpp-exchange.md").write_text(text)
    assert not failed, failed


if __name__ == "__main__":
    main()
