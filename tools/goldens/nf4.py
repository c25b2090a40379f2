#!/usr/bin/env python3
"""NF4 with double quantization as bitsandbytes makes it, for bantam-tensor's test: codes, and the numbers they stand for.

Writes crates/bantam-tensor/tests/goldens/nf4.bin: the codes of each case, then its dequantized numbers in f32. The numbers
encoded are made by the test, too: `at` gives `(a + b + c) / 3`, each a share of 10007 between -1 and 1.

Needs: torch, numpy, bitsandbytes.
"""
import pathlib

import bitsandbytes.functional as bnb
import numpy as np
import torch

OUT = pathlib.Path(__file__).resolve().parents[2] / "crates/bantam-tensor/tests/goldens/nf4.bin"
# Blocks that end with rows; blocks that do not, more than 256 of them, the last one short; a single short one.
CASES = [(6, 128), (171, 100), (1, 24)]


def at(n: np.ndarray) -> np.ndarray:
    part = lambda by: (n * by % 10007) / 10007 * 2 - 1
    return ((part(7919) + part(104729) + part(1299709)) / 3 * (1 + n // 1000 % 5)).astype(np.float32)


def main() -> None:
    with OUT.open("wb") as out:
        for rows, width in CASES:
            numbers = torch.from_numpy(at(np.arange(rows * width, dtype=np.int64)))
            codes, state = bnb.quantize_4bit(numbers, blocksize=64, compress_statistics=True, quant_type="nf4")
            absmax = bnb.dequantize_blockwise(state.absmax, state.state2) + state.offset
            flat = codes.flatten()
            nibbles = torch.stack([flat >> 4, flat & 15], -1).flatten()[: rows * width].long()
            values = state.code[nibbles] * absmax.repeat_interleave(64)[: rows * width]
            assert torch.allclose(values, bnb.dequantize_4bit(codes, state).float().flatten(), rtol=1e-6)
            out.write(flat.numpy().tobytes() + values.float().numpy().tobytes())
            print(rows, width, float((values - numbers).abs().max()))


if __name__ == "__main__":
    main()
