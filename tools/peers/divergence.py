#!/usr/bin/env python3
"""How far quantized models are from the model they were made of, run here and by llama.cpp: mean divergence of the next token's
distribution (Kullback-Leibler, in nats, from the full model's), how often the likeliest token is the same, and perplexity.

    divergence.py FULL.gguf QUANTIZED.gguf… --text FILE [--length 256] [--pieces 8] [--special] [--bantam PATH]

The full model (F32) is run by llama.cpp, keys and values in f32 everywhere. The text is cut into pieces of so many tokens, each
run on its own; with --lines every line of the file is a piece. `bantam logits` does not round activations for BF16 weights, as
`bantam run` does, so rows of BF16 files say nothing about those.
"""
from __future__ import annotations

import argparse
import ctypes
import json
import pathlib
import subprocess
import tempfile

import llama_cpp
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]


class LlamaCpp:
    """A model in llama.cpp, with keys and values in f32."""

    def __init__(self, path: str, length: int, threads: int):
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
        if not self.model:
            raise SystemExit(f"llama.cpp cannot load {path}")
        options = llama_cpp.llama_context_default_params()
        options.n_ctx = options.n_batch = options.n_ubatch = max(length, 64)
        options.type_k = options.type_v = llama_cpp.GGML_TYPE_F32
        options.n_threads = options.n_threads_batch = threads
        self.context = llama_cpp.llama_init_from_model(self.model, options)
        self.vocabulary = llama_cpp.llama_model_get_vocab(self.model)

    def tokens(self, text: str, special: bool) -> list[int]:
        encoded = text.encode()
        room = (llama_cpp.llama_token * (len(encoded) + 8))()
        count = llama_cpp.llama_tokenize(self.vocabulary, encoded, len(encoded), room, len(room), True, special)
        return list(room[:count])

    def logits(self, ids: list[int]) -> np.ndarray:
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)
        batch = llama_cpp.llama_batch_init(len(ids), 0, 1)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = token, i, 1, 0, True
        batch.n_tokens = len(ids)
        if llama_cpp.llama_decode(self.context, batch) != 0:
            raise SystemExit("llama.cpp cannot decode")
        width = llama_cpp.llama_vocab_n_tokens(self.vocabulary)
        found = np.ctypeslib.as_array(llama_cpp.llama_get_logits(self.context), shape=(len(ids), width)).copy()
        llama_cpp.llama_batch_free(batch)
        return found


def bantam(command: str, path: str, ids: list[int], threads: int) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "logits.npy"
        ids_text = " ".join(map(str, ids))
        subprocess.run([command, "logits", path, "--ids", ids_text, "-o", out, "-t", str(threads)], check=True)
        return np.load(out)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


class Tally:
    """What is gathered of one way to run a model."""

    def __init__(self):
        self.divergence: list[float] = []
        self.same = self.count = 0
        self.losses: list[float] = []

    def take(self, full: np.ndarray, found: np.ndarray, ids: list[int]) -> None:
        reference, other = log_softmax(full), log_softmax(found)
        self.divergence += list((np.exp(reference) * (reference - other)).sum(axis=-1))
        self.same += int((reference.argmax(-1) == other.argmax(-1)).sum())
        self.count += len(ids)
        self.losses += [-other[i, ids[i + 1]] for i in range(len(ids) - 1)]

    def result(self) -> dict[str, float]:
        return {
            "divergence": float(np.mean(self.divergence)),
            "divergence_99": float(np.quantile(self.divergence, 0.99)),
            "same_likeliest": self.same / self.count,
            "perplexity": float(np.exp(np.mean(self.losses))),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("full")
    parser.add_argument("quantized", nargs="+")
    parser.add_argument("--text", type=pathlib.Path, required=True)
    parser.add_argument("--lines", action="store_true")
    parser.add_argument("--special", action="store_true", help="text that spells a special token becomes the token")
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--pieces", type=int, default=8)
    parser.add_argument("-t", "--threads", type=int, default=2)
    parser.add_argument("--bantam", default=str(ROOT / "target/release/bantam"))
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    quiet = llama_cpp.llama_log_callback(lambda *_: None)
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()

    full = LlamaCpp(asked.full, asked.length, asked.threads)
    text = asked.text.read_text()
    if asked.lines:
        pieces = [full.tokens(line, asked.special)[:asked.length] for line in text.splitlines()[:asked.pieces]]
    else:
        ids = full.tokens(text, asked.special)
        pieces = [ids[at:at + asked.length] for at in range(0, len(ids) - asked.length + 1, asked.length)][:asked.pieces]
    pieces = [ids for ids in pieces if len(ids) > 1]
    if not pieces:
        raise SystemExit(f"{asked.text} has no piece of {asked.length} tokens: --length takes fewer, --lines one piece a line")
    reference = [full.logits(ids) for ids in pieces]
    rows = []

    def report(path: str, by: str, logits) -> None:
        tally = Tally()
        for ids, expected in zip(pieces, reference):
            tally.take(expected, logits(ids), ids)
        rows.append({"file": pathlib.Path(path).name, "by": by, **tally.result()})
        if not asked.json:
            row = rows[-1]
            print(f"{row['file']:<28} {by:<10} divergence {row['divergence']:.3e} (99 of 100 below {row['divergence_99']:.2e})  "
                  f"same likeliest {100 * row['same_likeliest']:6.2f}%  perplexity {row['perplexity']:.4f}", flush=True)

    report(asked.full, "llama.cpp", full.logits)
    report(asked.full, "bantam", lambda ids: bantam(asked.bantam, asked.full, ids, asked.threads))
    for path in asked.quantized:
        peer = LlamaCpp(path, asked.length, asked.threads)
        report(path, "llama.cpp", peer.logits)
        report(path, "bantam", lambda ids, path=path: bantam(asked.bantam, path, ids, asked.threads))
    if asked.json:
        print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
