#!/usr/bin/env python3
"""What trained models think of fixed tokens: the mean loss of the next token, by transformers in f64, on the very weights that
the files hold (gguf's own decoding).

    perplexity.py [--stories-f32 stories260K-f32.gguf]

Needs torch, transformers and gguf. Tokens are drawn from the models themselves, seeded, so that they are of the kind that the
models were trained on. Writes crates/bantam-runtime/tests/it/perplexity.json: for each model sequences of ids, and by file the
mean over all tokens but the first of each.
"""
import argparse
import json
import pathlib

import torch
from transformers import AutoModelForCausalLM

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = ROOT / "crates/bantam-runtime/tests/it/perplexity.json"
# The file, the first token of every sequence, how many there are and how long.
MODELS = [
    ("stories", ROOT / "assets/stories260K-q8_0.gguf", 1, 10, 256),
    ("assistant", ROOT / "crates/bantam/assets/assistant.gguf", 1, 10, 200),
]


def load(path: pathlib.Path) -> torch.nn.Module:
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    return model.eval()


def drawn(model: torch.nn.Module, begin: int, sequences: int, length: int) -> torch.Tensor:
    first = torch.full((sequences, 1), begin)
    # No end of a text ends a sequence, so that all are as long.
    return model.generate(first, attention_mask=torch.ones_like(first), do_sample=True, top_k=0, top_p=1.0, temperature=1.0,
                          max_length=length, min_length=length, eos_token_id=None, pad_token_id=0)


def mean_loss(model: torch.nn.Module, ids: torch.Tensor) -> float:
    logits = model.double()(ids).logits[:, :-1]
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stories-f32", type=pathlib.Path)
    asked = parser.parse_args()
    torch.manual_seed(5)
    out = {}
    with torch.no_grad():
        for name, path, first, sequences, length in MODELS:
            model = load(path)
            ids = drawn(model, first, sequences, length)
            losses = {path.name: mean_loss(model, ids)}
            if name == "stories" and asked.stories_f32:
                losses[asked.stories_f32.name] = mean_loss(load(asked.stories_f32), ids)
            out[name] = {"losses": losses, "sequences": ids.tolist()}
            print(name, losses)
    lines = json.dumps(out).replace(', [', ',\n[').replace('}, "', '},\n"')
    TARGET.write_text(lines + "\n")


if __name__ == "__main__":
    main()
