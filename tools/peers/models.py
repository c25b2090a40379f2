#!/usr/bin/env python3
"""Make models of real shapes with random weights, to measure speed, memory and loading where the real ones are not at hand.

    models.py --out DIR [0.5B-q4_0 1B-q4_k_m …] [--vocabularies DIR] [--bantam target/release/bantam] [--seed 1]
    models.py --list

A name is a shape (0.5B: Qwen2.5-0.5B, 1B and 3B: Llama-3.2) and a type; without names all are made. What is there already is
left as it is. A file is written under another name and renamed when it is whole; the same names, seed and vocabularies give the
same bytes. PyPI's gguf writes BF16, F16, Q8_0 and Q4_0 (whose head is Q8_0: llama-quantize takes Q6_K where rows allow);
`bantam convert` makes the others from BF16, with llama-quantize's rules for mixtures.

Reading a vocabulary takes its share of a start, so it has the real size. --vocabularies (or $BANTAM_VOCABULARIES) names the
folder `models` of llama.cpp's sources, whose ggml-vocab-qwen2.gguf and ggml-vocab-llama-bpe.gguf are the real ones (PyPI's
source archive of llama-cpp-python has them under vendor/llama.cpp). Without it one is made up, of as many tokens and merges.

Needs numpy and gguf (PyPI).
"""
from __future__ import annotations

import argparse
import math
import os
import pathlib
import random
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterator
from typing import NamedTuple


class Shape(NamedTuple):
    name: str
    family: str
    vocabulary: str
    tokens: int
    merges: int
    # Tokens at the end that no merge makes.
    special: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    feed_forward: int
    context: int
    rope_base: float
    epsilon: float
    # The factor of Llama 3's scaling of rotary frequencies, 0 without.
    rope_factor: float
    biases: bool


SHAPES = {
    "0.5B": Shape("qwen2.5-0.5b", "qwen2", "qwen2", 151936, 151387, 293, 896, 24, 14, 2, 64, 4864, 32768, 1e6, 1e-6, 0, True),
    "1B": Shape("llama-3.2-1b", "llama", "llama-bpe", 128256, 280147, 256, 2048, 16, 32, 8, 64, 8192, 131072, 5e5, 1e-5, 32, False),
    "3B": Shape("llama-3.2-3b", "llama", "llama-bpe", 128256, 280147, 256, 3072, 28, 24, 8, 128, 8192, 131072, 5e5, 1e-5, 32, False),
}

# Bits a weight of the layers and of the head takes at most: where rows are multiples of 256, and where they are not.
TYPES = {
    "bf16": ((16, 16), (16, 16)),
    "f16": ((16, 16), (16, 16)),
    "q8_0": ((8.5, 8.5), (8.5, 8.5)),
    "q4_0": ((4.5, 8.5), (4.5, 8.5)),
    "q4_k_m": ((5.1, 6.6), (7, 8.5)),
    "q5_k": ((5.5, 6.6), (6, 8.5)),
    "q5_k_m": ((5.9, 6.6), (7.5, 8.5)),
    "q6_k": ((6.6, 6.6), (8.5, 8.5)),
    "iq4_xs": ((4.3, 6.6), (4.5, 8.5)),
}
WRITTEN = ("bf16", "f16", "q8_0", "q4_0")
NAMES = [f"{size}-{kind}" for size in SHAPES for kind in TYPES]


class Model(NamedTuple):
    """One of the names."""

    size: str
    kind: str

    @classmethod
    def named(cls, name: str) -> Model | None:
        size, _, kind = name.partition("-")
        found = cls(size.upper(), kind.lower())
        return found if found.size in SHAPES and found.kind in TYPES else None

    def file(self) -> str:
        return f"{SHAPES[self.size].name}-{self.kind}.gguf"

    def bytes(self) -> int:
        """At most, with the vocabulary."""
        shape = SHAPES[self.size]
        layers, head = TYPES[self.kind][0 if shape.width % 256 == 0 else 1]
        counts = {name: math.prod(dimensions) for name, dimensions, _ in tensors(shape)}
        embedding = counts.pop("token_embd.weight")
        return int((sum(counts.values()) * layers + embedding * head) / 8) + (16 << 20)


class Maker(NamedTuple):
    """What making them takes beside their names."""

    out: pathlib.Path
    bantam: str
    vocabularies: str | None
    seed: int


def tensors(shape: Shape) -> Iterator[tuple[str, tuple[int, ...], str]]:
    """Name, dimensions (rows first) and what fills it."""
    queries, keys = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    if shape.rope_factor:
        yield "rope_freqs.weight", (shape.head_width // 2,), "frequencies"
    yield "token_embd.weight", (shape.tokens, shape.width), "embedding"
    for layer in range(shape.layers):
        yield f"blk.{layer}.attn_norm.weight", (shape.width,), "norm"
        for part, rows in (("q", queries), ("k", keys), ("v", keys)):
            yield f"blk.{layer}.attn_{part}.weight", (rows, shape.width), "matrix"
            if shape.biases:
                yield f"blk.{layer}.attn_{part}.bias", (rows,), "bias"
        yield f"blk.{layer}.attn_output.weight", (shape.width, queries), "matrix"
        yield f"blk.{layer}.ffn_norm.weight", (shape.width,), "norm"
        for part in ("gate", "up"):
            yield f"blk.{layer}.ffn_{part}.weight", (shape.feed_forward, shape.width), "matrix"
        yield f"blk.{layer}.ffn_down.weight", (shape.width, shape.feed_forward), "matrix"
    yield "output_norm.weight", (shape.width,), "norm"


def frequency_divisors(shape: Shape) -> list[float]:
    """Llama 3.1's scaling: waves longer than the 8,192 positions it was first trained on are stretched by the factor, those
    shorter than a quarter of that not at all, and those between by something between."""
    divisors = []
    for i in range(shape.head_width // 2):
        turns = 8192 / (2 * math.pi * shape.rope_base ** (2 * i / shape.head_width))
        kept = min(max((turns - 1) / 3, 0), 1)
        divisors.append(1 / (kept + (1 - kept) / shape.rope_factor))
    return divisors


def made_up_vocabulary(shape: Shape) -> tuple[list[str], list[str]]:
    """Tokens and merges of a byte-level vocabulary: letters put together at random, as many as the real one has."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    tokens = [chr(byte if byte in printable else next(others)) for byte in range(256)]
    space = tokens[32]
    chosen, known = random.Random(1), set(tokens)
    parts = [space, *"etaoinshrdlucmfwypvbgkjqxz"]
    merges: dict[str, None] = {}
    while len(tokens) < shape.tokens - shape.special:
        # Short ones often, so that ordinary words come apart into few tokens.
        left = parts[int(len(parts) * chosen.random() ** 2)]
        right = parts[1 + int((len(parts) - 1) * chosen.random() ** 2)]
        if len(left + right) <= 12 and space not in right and left + right not in known:
            merges[f"{left} {right}"] = None
            known.add(left + right)
            parts.append(left + right)
            tokens.append(left + right)
    # Some real ones list every way to a token.
    ways = ((token[:at], token[at:]) for token in tokens for at in range(1, len(token)))
    while len(merges) < shape.merges and (way := next(ways, None)):
        if way[0] in known and way[1] in known:
            merges[" ".join(way)] = None
    tokens += [f"<|special_{i}|>" for i in range(shape.special)]
    return tokens, list(merges)


def add_vocabulary(writer, shape: Shape, folder: str | None) -> None:
    from gguf import GGUFReader, GGUFValueType

    if folder is not None:
        fields = GGUFReader(pathlib.Path(folder) / f"ggml-vocab-{shape.vocabulary}.gguf").fields
        for key in filter(lambda key: key.startswith("tokenizer."), fields):
            kind, *inner = fields[key].types
            writer.add_key_value(key, fields[key].contents(), kind, inner[0] if kind == GGUFValueType.ARRAY else None)
        return
    tokens, merges = made_up_vocabulary(shape)
    first = shape.tokens - shape.special
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(shape.vocabulary)
    writer.add_token_list(tokens)
    writer.add_token_types([1] * first + [3] * shape.special)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(first)
    writer.add_eos_token_id(first + 1)


def write(path: pathlib.Path, shape: Shape, kind: str, maker: Maker) -> None:
    """A file of one of the types that PyPI's gguf encodes."""
    import gguf
    import numpy as np

    types = gguf.GGMLQuantizationType
    writer = gguf.GGUFWriter(path, shape.family)
    writer.add_name(f"{shape.name}, random weights")
    writer.add_file_type({"bf16": 32, "f16": 1, "q8_0": 7, "q4_0": 2}[kind])
    writer.add_quantization_version(2)
    writer.add_vocab_size(shape.tokens)
    writer.add_block_count(shape.layers)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_width)
    writer.add_value_length(shape.head_width)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.epsilon)
    add_vocabulary(writer, shape, maker.vocabularies)

    def stored(filling: str):
        if filling in ("matrix", "embedding"):
            return types.Q8_0 if (kind, filling) == ("q4_0", "embedding") else types[kind.upper()]
        return types.F32

    for name, dimensions, filling in tensors(shape):
        of = stored(filling)
        block, block_bytes = gguf.GGML_QUANT_SIZES[of]
        row_bytes = dimensions[-1] // block * block_bytes
        size = math.prod(dimensions[:-1]) * row_bytes
        # The package takes the shape in bytes where it does not know the type by the array's own.
        raw = (*dimensions[:-1], row_bytes)
        writer.add_tensor_info(name, raw, np.dtype(np.uint8), size, raw_dtype=of)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, dimensions, filling in tensors(shape):
        draw = np.random.Generator(np.random.Philox(key=[maker.seed, zlib.crc32(name.encode())]))
        # Of a size that keeps activations of every layer near one.
        scale = {"matrix": dimensions[-1] ** -0.5, "embedding": 0.02, "bias": 0.1, "norm": 0.1}.get(filling)
        if filling == "frequencies":
            writer.write_tensor_data(np.array(frequency_divisors(shape), np.float32))
            continue
        encoded = []
        rows, width = math.prod(dimensions[:-1]), dimensions[-1]
        for start in range(0, rows, 4096):
            values = draw.standard_normal((min(4096, rows - start), width), np.float32) * np.float32(scale)
            encoded.append(gguf.quants.quantize(values + np.float32(filling == "norm"), stored(filling)).view(np.uint8))
        writer.write_tensor_data(np.concatenate(encoded))
    writer.close()


def make(model: Model, maker: Maker, source: pathlib.Path | None) -> None:
    """One file; `source` is its shape in BF16, for what bantam encodes."""
    target = maker.out / model.file()
    unfinished = maker.out / f".unfinished-{model.file()}"
    try:
        if source is None:
            write(unfinished, SHAPES[model.size], model.kind, maker)
        else:
            command = [maker.bantam, "convert", source, "-o", unfinished, "--type", model.kind, "--force", "--json"]
            result = subprocess.run(command, capture_output=True, text=True)
            if result.returncode != 0:
                sys.exit(f"bantam convert: {result.stderr.strip()}")
        os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)
    print(f"{target}: {target.stat().st_size / 1e6:,.0f} MB", file=sys.stderr, flush=True)


def ensure(models: list[Model], maker: Maker) -> list[pathlib.Path]:
    """Makes what is missing; all their paths. Refuses before it begins where the disk has not enough room."""
    maker.out.mkdir(parents=True, exist_ok=True)
    missing = [model for model in dict.fromkeys(models) if not (maker.out / model.file()).exists()]
    by_size = {size: [model for model in missing if model.size == size] for size in SHAPES}
    kept = sum(model.bytes() for model in missing)
    # One shape's source at a time, where it is not itself asked for.
    without_source = [size for size, some in by_size.items() if any(model.kind not in WRITTEN for model in some)
                      and Model(size, "bf16") not in some and not (maker.out / Model(size, "bf16").file()).exists()]
    needed = kept + max((Model(size, "bf16").bytes() for size in without_source), default=0)
    free = shutil.disk_usage(maker.out).free
    if missing:
        print(f"to make: {len(missing)} files of {kept / 1e9:.1f} GB at most, {needed / 1e9:.1f} GB while they are made; "
              f"{free / 1e9:.1f} GB free in {maker.out}", file=sys.stderr, flush=True)
    if needed + (256 << 20) > free:
        sys.exit("not enough room on this disk")
    for size, some in by_size.items():
        for model in (model for model in some if model.kind in WRITTEN):
            make(model, maker, None)
        encoded = [model for model in some if model.kind not in WRITTEN]
        source, passing = maker.out / Model(size, "bf16").file(), None
        try:
            if encoded and not source.exists():
                source = passing = maker.out / f".unfinished-source-{source.name}"
                write(passing, SHAPES[size], "bf16", maker)
            for model in encoded:
                make(model, maker, source)
        finally:
            if passing:
                passing.unlink(missing_ok=True)
    return [maker.out / model.file() for model in models]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `compare.py --make` takes too."""
    parser.add_argument("--bantam", default="target/release/bantam")
    parser.add_argument("--vocabularies", default=os.environ.get("BANTAM_VOCABULARIES"), metavar="DIR")
    parser.add_argument("--seed", type=int, default=1)


def maker(arguments: argparse.Namespace, out: pathlib.Path) -> Maker:
    return Maker(out, arguments.bantam, arguments.vocabularies, arguments.seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="such as 0.5B-q4_0; all of them where none is named")
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--list", action="store_true")
    add_arguments(parser)
    arguments = parser.parse_args()
    if arguments.list:
        for name in NAMES:
            model = Model.named(name)
            print(f"{name:12s} {model.file():26s} {model.bytes() / 1e6:6,.0f} MB at most")
        return
    if arguments.out is None:
        parser.error("--out DIR is needed")
    models = [Model.named(name) for name in arguments.names or NAMES]
    if None in models:
        parser.error(f"no such model: {arguments.names[models.index(None)]} (--list names them)")
    ensure(models, maker(arguments, arguments.out))


if __name__ == "__main__":
    main()
