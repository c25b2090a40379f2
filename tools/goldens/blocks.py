#!/usr/bin/env python3
"""Goldens of the number formats, from PyPI's `gguf` (numpy reference) and, for the quality of formats with a search, from
ggml.

Writes crates/bantam-tensor/tests/goldens/:

* `decode-<type>.bin`    random blocks with finite scales
* `decode-<type>.f32`    what gguf.quants.dequantize makes of them, little-endian f32
* `encode.f32`           values to encode: 8 rows of 256, each row of another kind
* `encode-<type>.bin`    gguf.quants.quantize of them, for the types that gguf quantizes
* `decode-q1_0.*`, `decode-q2_0.*`: the same by ggml itself, as gguf knows their sizes at most (`--ggml`)
* `encode-errors.json`   root mean square error of ggml's own quantizers on those rows (`--ggml`, needs llama-cpp-python)

Needs: numpy, gguf. Run from anywhere: python tools/goldens/blocks.py [--ggml]
"""
import ctypes
import json
import pathlib
import sys

import gguf
import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as T

OUT = pathlib.Path(__file__).resolve().parents[2] / "crates/bantam-tensor/tests/goldens"
# Offsets of the halves in a block: they must be finite.
HALVES = {T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0],
          T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208], T.F16: [0],
          T.Q2_K: [80, 82], T.Q3_K: [108], T.IQ1_S: [0], T.IQ2_XXS: [0], T.IQ2_XS: [0], T.IQ2_S: [0],
          T.IQ3_XXS: [0], T.IQ3_S: [0], T.IQ4_NL: [0], T.IQ4_XS: [0], T.TQ1_0: [52], T.TQ2_0: [64]}
DECODED = [T.F16, T.BF16, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, T.Q4_K, T.Q5_K, T.Q6_K]
NUMBERS = {T.F64: "<f8", T.I8: "<i1", T.I16: "<i2", T.I32: "<i4", T.I64: "<i8"}
# Each of these draws from a generator of its own, so that adding a type changes no other type's golden.
LATER = [*NUMBERS, T.Q2_K, T.Q3_K, T.IQ1_S, T.IQ1_M, T.IQ2_XXS, T.IQ2_XS, T.IQ2_S, T.IQ3_XXS, T.IQ3_S, T.IQ4_NL,
         T.IQ4_XS, T.TQ1_0, T.TQ2_0, T.MXFP4, T.NVFP4]
ENCODED = [T.F16, T.BF16, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, T.TQ1_0, T.TQ2_0, T.MXFP4]
SEARCHED = [T.Q2_K, T.Q3_K, T.Q4_K, T.Q5_K, T.Q6_K, T.IQ4_NL, T.IQ4_XS]


def random_blocks(kind: T, rng: np.random.Generator) -> np.ndarray:
    block_len, block_bytes = GGML_QUANT_SIZES[kind]
    count = max(512 // block_len, 4)
    blocks = rng.integers(0, 256, size=(count, block_bytes), dtype=np.uint8)
    for offset in HALVES.get(kind, []):
        # Every finite half is fair: normal, subnormal, of either sign.
        bits = rng.integers(0, 0x7C00, size=count, dtype=np.uint16) | rng.integers(0, 2, size=count, dtype=np.uint16) << 15
        blocks[:, offset:offset + 2] = bits[:, None].view(np.uint8)
    if kind == T.BF16:
        blocks[:, 1] = blocks[:, 1] & 0xBF  # no infinities, no NaN
    if kind == T.IQ1_M:
        # The half lies in the highest four bits of four u16, the lowest first; the exponent must not be all ones.
        last = blocks[:, 55] >> 4
        blocks[:, 55] = np.where(last & 7 == 7, blocks[:, 55] & 0xBF, blocks[:, 55])
    if kind == T.F64:
        # Numbers that binary32 holds as normal and subnormal ones, and the two next to its end.
        numbers = rng.normal(0, 1, count) * 2.0 ** rng.integers(-150, 127, count)
        numbers[:4] = [float(np.finfo(np.float32).max), 3.4028235677973362e38, -2.0 ** -150, 1 + 2.0 ** -24]
        blocks = numbers.astype("<f8")[:, None].view(np.uint8)
    return blocks


def decode(blocks: np.ndarray, kind: T) -> np.ndarray:
    if kind in NUMBERS:
        return blocks.view(NUMBERS[kind]).astype(np.float32)
    return gguf.quants.dequantize(blocks, kind)


def values_to_encode(rng: np.random.Generator) -> np.ndarray:
    rows = [rng.normal(0, scale, 256) for scale in (1.0, 0.02, 30.0)]
    rows.append(rng.uniform(-1, 1, 256))
    rows.append(rng.normal(0, 0.02, 256) * (1 + 50 * (rng.random(256) < 0.01)))  # outliers
    rows.append(rng.normal(0.5, 0.1, 256))                                        # off centre
    rows.append(np.where(rng.random(256) < 0.8, 0, rng.normal(0, 1, 256)))        # mostly zero
    rows.append(rng.standard_t(3, 256) * 0.05)                                    # heavy tails
    return np.stack(rows).astype(np.float32)


def load_ggml() -> ctypes.CDLL:
    import llama_cpp
    return ctypes.CDLL(str(pathlib.Path(llama_cpp.__file__).parent / "lib/libggml-base.so"))


def ggml_dequantize(name: str, number: int, block_len: int, block_bytes: int) -> tuple[np.ndarray, np.ndarray]:
    """Random blocks whose first two bytes are a half, and what ggml makes of them."""
    rng = np.random.default_rng([20240607, number])
    count = 512 // block_len
    blocks = rng.integers(0, 256, size=(count, block_bytes), dtype=np.uint8)
    blocks[:, 0:2] = rng.normal(0, 1, count).astype(np.float16)[:, None].view(np.uint8)
    decoded = np.zeros(512, np.float32)
    function = getattr(load_ggml(), f"dequantize_row_{name}")
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    function.restype = None
    function(blocks.ctypes.data, decoded.ctypes.data, decoded.size)
    return blocks, decoded


def ggml_quantize(values: np.ndarray, kind: T) -> np.ndarray:
    ggml = load_ggml()
    rows, width = values.shape
    block_len, block_bytes = GGML_QUANT_SIZES[kind]
    out = np.zeros((rows, width // block_len * block_bytes), np.uint8)
    ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
    ggml.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64,
                                         ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]
    written = ggml.ggml_quantize_chunk(int(kind), values.ctypes.data, out.ctypes.data, 0, rows, width, None)
    assert written == out.nbytes
    return out


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(20240607)
    for kind in DECODED:
        blocks = random_blocks(kind, rng)
        if kind == T.F16:
            decoded = blocks.view(np.float16).astype(np.float32)
        else:
            decoded = gguf.quants.dequantize(blocks, kind)
        assert np.isfinite(decoded).all()
        blocks.tofile(OUT / f"decode-{kind.name.lower()}.bin")
        decoded.astype("<f4").tofile(OUT / f"decode-{kind.name.lower()}.f32")
    values = values_to_encode(rng)
    values.tofile(OUT / "encode.f32")
    for kind in ENCODED:
        encoded = gguf.quants.quantize(values, kind)
        np.ascontiguousarray(encoded).view(np.uint8).tofile(OUT / f"encode-{kind.name.lower()}.bin")
    for kind in LATER:
        blocks = random_blocks(kind, np.random.default_rng([20240607, int(kind)]))
        decoded = decode(blocks, kind)
        assert not np.isnan(decoded).any()
        blocks.tofile(OUT / f"decode-{kind.name.lower()}.bin")
        decoded.astype("<f4").tofile(OUT / f"decode-{kind.name.lower()}.f32")
    if "--ggml" in sys.argv:
        for name, number, block_len, block_bytes in (("q1_0", 41, 128, 18), ("q2_0", 42, 64, 18)):
            blocks, decoded = ggml_dequantize(name, number, block_len, block_bytes)
            blocks.tofile(OUT / f"decode-{name}.bin")
            decoded.astype("<f4").tofile(OUT / f"decode-{name}.f32")
        errors = {}
        for kind in SEARCHED:
            decoded = gguf.quants.dequantize(ggml_quantize(values, kind), kind)
            errors[kind.name] = [float(x) for x in np.sqrt(((decoded - values) ** 2).mean(axis=1))]
        (OUT / "encode-errors.json").write_text(json.dumps(errors, indent=1) + "\n")


main()
