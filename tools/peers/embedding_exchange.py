#!/usr/bin/env python3
"""An embedding model's vectors from its directory, from its GGUF form, by llama.cpp and by transformers; one table.

    embedding_exchange.py DIR [--bantam target/release/bantam] [--texts FILE] [--write]

`bantam convert DIR -o model.gguf` writes the GGUF form, `bantam embed` makes the vectors from both, llama.cpp from the GGUF,
transformers (mean or first row, scaled to length 1, as the directory's modules say) from the directory. Texts are the lines of FILE, or
those below. `--write` puts the table into docs/results/embedding-exchange.md.

Needs: torch, transformers, llama-cpp-python, numpy; nothing from the network.
"""
import argparse
import importlib.metadata
import json
import pathlib
import subprocess
import tempfile

import numpy as np
import torch
import transformers
from llama_cpp import LLAMA_POOLING_TYPE_CLS, LLAMA_POOLING_TYPE_MEAN, Llama

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEXTS = [
    "The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium.", "Naïve café, Straße, ÀÉÎ.", "你好，世界。",
    "こんにちは、カタカナ。", "مرحبا بالعالم", "Привет, мир!", "In 1999, 12345678 people paid $3.50 (or 2,000,000?) on 2024-02-29.",
    "def f(x):\n    return x**2 + 1  # comment", "https://example.org/a_b?c=d&e=%20f#g", "🦜 emoji ☃️ ½ ² ™", "a", "THE QUICK BROWN FOX",
    "I'm sure they'll've gone; WE'RE not, he'd said.", "supercalifragilisticexpialidocious antidisestablishmentarianism",
    " ".join(["A language model on one's own machine answers without a network."] * 15),
]
HEAD = """# An embedding model exchanged with llama.cpp and transformers

Written by `tools/peers/embedding_exchange.py` from {name} (real weights; llama-cpp-python {llama_cpp}, transformers {transformers}) and
{count} texts in several scripts; do not edit. Vectors have length 1; differences are the largest of one number, cosines the least.

| one | other | largest difference | least cosine | texts with the same tokens |
|---|---|---:|---:|---:|
"""


def embedded(bantam: str, model: pathlib.Path, texts: list[str]) -> np.ndarray:
    made = [subprocess.run([bantam, "embed", str(model), text, "--json"], capture_output=True, text=True, check=True) for text in texts]
    return np.array([json.loads(one.stdout)["embedding"] for one in made], dtype=np.float64)


def by_transformers(directory: pathlib.Path, texts: list[str]) -> tuple[np.ndarray, list[list[int]], bool]:
    pooling = json.loads((directory / "1_Pooling/config.json").read_text())
    first = bool(pooling.get("pooling_mode_cls_token"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    model = transformers.AutoModel.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager").eval()
    vectors, ids = [], []
    for text in texts:
        tokens = tokenizer(text)["input_ids"]
        with torch.no_grad():
            states = model(torch.tensor([tokens])).last_hidden_state[0].double()
        vector = states[0] if first else states.mean(0)
        vectors.append((vector / vector.norm()).numpy())
        ids.append(tokens)
    return np.array(vectors), ids, first


def by_llama_cpp(path: pathlib.Path, texts: list[str], first: bool) -> tuple[np.ndarray, list[list[int]]]:
    pooling = LLAMA_POOLING_TYPE_CLS if first else LLAMA_POOLING_TYPE_MEAN
    model = Llama(str(path), embedding=True, pooling_type=pooling, n_ctx=512, n_batch=512, n_ubatch=512, n_threads=1, verbose=False)
    vectors = [model.create_embedding(text)["data"][0]["embedding"] for text in texts]
    vectors = np.array(vectors, dtype=np.float64)
    ids = [model.tokenize(text.encode(), add_bos=True, special=False) for text in texts]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), ids


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--bantam", default=str(ROOT / "target/release/bantam"))
    parser.add_argument("--texts", type=pathlib.Path)
    parser.add_argument("--name")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    texts = options.texts.read_text().splitlines() if options.texts else TEXTS
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.gguf"
        subprocess.run([options.bantam, "convert", str(options.directory), "-o", str(path)], check=True)
        from_directory, from_gguf = embedded(options.bantam, options.directory, texts), embedded(options.bantam, path, texts)
        theirs, their_ids, first = by_transformers(options.directory, texts)
        peer, peer_ids = by_llama_cpp(path, texts, first)
    made = [("`bantam embed DIR`", "`bantam embed model.gguf`", from_directory, from_gguf, None),
            ("`bantam embed DIR`", "transformers", from_directory, theirs, None),
            ("`bantam embed model.gguf`", "llama.cpp, same file", from_gguf, peer, None),
            ("transformers", "llama.cpp, Bantam's file", theirs, peer, (their_ids, peer_ids))]
    page = HEAD.format(name=options.name or options.directory.name, llama_cpp=importlib.metadata.version("llama-cpp-python"),
                       transformers=transformers.__version__, count=len(texts))
    for one, other, a, b, ids in made:
        cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        same = "" if ids is None else f"{sum(x == y for x, y in zip(*ids))} of {len(texts)}"
        page += f"| {one} | {other} | {np.abs(a - b).max():.1e} | {cosines.min():.7f} | {same} |\n"
        print(one, other, np.abs(a - b).max(), cosines.min(), same)
    if options.write:
        (ROOT / "docs/results/embedding-exchange.md").write_text(page)


if __name__ == "__main__":
    main()
