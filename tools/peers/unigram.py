#!/usr/bin/env python3
"""Unigram three ways: one vocabulary through SentencePiece, PyPI `tokenizers` and llama.cpp, and Bantam's ids beside each.

    cargo build --release -p bantam && cargo build --release -p bantam-text --example encode_lines
    unigram.py OUT [--count 20000] [--text FILE] [--bantam target/release/bantam] [--encode-lines …/examples/encode_lines]

Trains a SentencePiece model (Unigram, nmt_nfkc) on FILE, makes the `tokenizer.json` that transformers makes of such a model (replacements,
words cut at white space, each with a mark) beside a tiny model's weights in OUT/directory, and has `bantam convert` write OUT/model.gguf.
Then random Unicode strings go through sentencepiece (the model), tokenizers (tokenizer.json), llama.cpp (model.gguf) and through Bantam in
each of the three forms. It says on how many strings each pair agrees.

Needs: sentencepiece, protobuf, tokenizers, gguf, safetensors, torch, llama-cpp-python; nothing from the network.
"""
import argparse
import collections
import itertools
import json
import pathlib
import random
import shutil
import subprocess
import sys

import numpy as np
import sentencepiece
from llama_cpp import Llama
from safetensors.numpy import save_file
from safetensors.torch import load_file
from sentencepiece import sentencepiece_model_pb2 as pb
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/goldens"))
import gguf_vocabularies  # noqa: E402
import tokenizer_strings  # noqa: E402

GOLDEN = ROOT / "crates/bantam-testkit/goldens/tiny-qwen2-a"


def trained(text: pathlib.Path, out: pathlib.Path, size: int) -> pb.ModelProto:
    sentencepiece.SentencePieceTrainer.train(input=str(text), model_prefix=str(out / "unigram"), vocab_size=size, model_type="unigram",
                                             normalization_rule_name="nmt_nfkc", pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
                                             num_threads=1, minloglevel=2)
    model = pb.ModelProto()
    model.ParseFromString((out / "unigram.model").read_bytes())
    return model


def as_json(model: pb.ModelProto) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram([(piece.piece, piece.score) for piece in model.pieces], unk_id=2, byte_fallback=False))
    tokenizer.normalizer = normalizers.Precompiled(model.normalizer_spec.precompiled_charsmap)
    mark = pre_tokenizers.Metaspace("▁", "always")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), mark])
    tokenizer.decoder = decoders.Metaspace("▁", "always")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"])
    return tokenizer


def directory(out: pathlib.Path, tokenizer: Tokenizer, rows: int) -> pathlib.Path:
    """A tiny model with so many rows of embedding."""
    place = out / "directory"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    config = json.loads((GOLDEN / "config.json").read_text())
    config["vocab_size"] = rows
    (place / "config.json").write_text(json.dumps(config))
    tensors = {name: value.float().numpy() for name, value in load_file(GOLDEN / "model.safetensors").items()}
    tensors["model.embed_tokens.weight"] = np.zeros((rows, config["hidden_size"]), dtype=np.float32)
    save_file(tensors, place / "model.safetensors")
    tokenizer.save(str(place / "tokenizer.json"))
    return place


def ours(encode_lines: str, form: pathlib.Path, rows: pathlib.Path) -> str:
    """What Bantam's comparison of a whole file says: how many lines there are, and how many of them differ."""
    with open(rows, encoding="utf-8") as file:
        return subprocess.run([encode_lines, str(form)], stdin=file, capture_output=True, text=True, check=True).stdout.strip().splitlines()[-1]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=4000)
    parser.add_argument("--text", type=pathlib.Path, default=ROOT.parent / "shared/data/text/tinyshakespeare.txt")
    parser.add_argument("--bantam", default=str(ROOT / "target/release/bantam"))
    parser.add_argument("--encode-lines", default=str(ROOT / "target/release/examples/encode_lines"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    model = trained(options.text, options.out, options.size)
    tokenizer = as_json(model)
    place = directory(options.out, tokenizer, len(model.pieces) + 5)
    gguf = options.out / "model.gguf"
    subprocess.run([options.bantam, "convert", str(place), "-o", str(gguf), "--force"], check=True)
    rng = random.Random(tokenizer_strings.SEED)
    texts = [tokenizer_strings.random_text(rng, []) for _ in range(options.count)]
    processor, peer = sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString()), Llama(str(gguf), vocab_only=True, verbose=False)
    ids = {
        "sentencepiece": [processor.encode(text) for text in texts],
        "tokenizers": [tokenizer.encode(text, add_special_tokens=False).ids for text in texts],
        "llama.cpp": [peer.tokenize(text.encode(), add_bos=False, special=False) for text in texts],
    }
    for name, lines in ids.items():
        with open(options.out / f"{name}.jsonl", "w", encoding="utf-8") as file:
            for text, line in zip(texts, lines):
                file.write(json.dumps([text, line, None, None], ensure_ascii=True) + "\n")
    (options.out / "gguf.vocabulary.json").write_text(json.dumps(gguf_vocabularies.read(gguf)))
    agree = collections.Counter()
    for one, other in itertools.combinations(ids, 2):
        agree[one, other] = sum(a == b for a, b in zip(ids[one], ids[other]))
        print(f"{one} and {other}: the same ids for {agree[one, other]} of {len(texts)}")
    for form, name in itertools.product(("unigram.model", "directory/tokenizer.json", "gguf.vocabulary.json"), ids):
        print(f"Bantam from {form}, {name}: {ours(options.encode_lines, options.out / form, options.out / f'{name}.jsonl')}")


if __name__ == "__main__":
    main()
