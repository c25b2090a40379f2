"""What the scripts that make tiny random models share: running them, their placeholder tokenizer, their files."""
import json
import pathlib
import re

import numpy as np
import torch
from safetensors.torch import save_file

# Largest difference of a logit that tests allow, as a share of the logits' range.
TOLERANCE = 1e-4


def run(model: torch.nn.Module, tokens: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0]


def tokenizer_pieces(count: int) -> list[str]:
    pieces = ["<s>", "</s>", "Ġ", "Ċ"] + [chr(c) for c in range(ord("a"), ord("z") + 1)]
    pieces += [chr(c) for c in range(ord("A"), ord("Z") + 1)] + ["th", "he"]
    pieces += [str(digit) for digit in range(6)]
    return pieces[:count]


def write_tokenizer(directory: pathlib.Path, count: int) -> None:
    """A placeholder that opens: byte-level BPE over a part of ASCII."""
    pieces = tokenizer_pieces(count)
    special = [dict(id=i, content=pieces[i], single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
               for i in (0, 1)]
    byte_level = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=True)
    merges = [f"{piece[0]} {piece[1]}" for piece in ("th", "he") if piece in pieces]
    tokenizer = dict(version="1.0", truncation=None, padding=None, added_tokens=special, normalizer=None,
                     pre_tokenizer=byte_level, post_processor=None, decoder=byte_level,
                     model=dict(type="BPE", dropout=None, unk_token=None, continuing_subword_prefix=None,
                                end_of_word_suffix=None, fuse_unk=False, byte_fallback=False, ignore_merges=False,
                                vocab={piece: i for i, piece in enumerate(pieces)}, merges=merges))
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")) + "\n")


def write_weights(directory: pathlib.Path, tensors: dict[str, torch.Tensor], shards: int = 1) -> None:
    meta = {"format": "pt"}
    if shards == 1:
        save_file(tensors, directory / "model.safetensors", metadata=meta)
        return
    names = sorted(tensors)
    weight_map = {}
    for shard in range(shards):
        part = {name: tensors[name] for name in names[shard::shards]}
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        save_file(part, directory / file, metadata=meta)
        weight_map.update({name: file for name in part})
    total = sum(value.numel() * value.element_size() for value in tensors.values())
    index = dict(metadata=dict(total_size=total), weight_map=dict(sorted(weight_map.items())))
    (directory / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


def write_golden(directory: pathlib.Path, golden: dict) -> int:
    """Writes `golden.json`, lists of numbers on one line each; returns the folder's size in bytes."""
    lines = json.dumps(golden, indent=1, ensure_ascii=False)
    lines = re.sub(r"\[[-+.\de\s,]*\]", lambda found: " ".join(found[0].split()), lines)
    (directory / "golden.json").write_text(lines + "\n")
    files = [path for path in directory.rglob("*") if path.is_file()]
    for path in files:
        path.chmod(0o644)
    return sum(path.stat().st_size for path in files)


def llama_cpp_logits(path: pathlib.Path, tokens: list[int]) -> np.ndarray | None:
    """`[tokens, vocabulary]` of llama.cpp, where llama-cpp-python is installed. Its arithmetic is f16 in part."""
    try:
        import llama_cpp
    except ImportError:
        return None
    model = llama_cpp.Llama(str(path), n_ctx=128, logits_all=True, verbose=False, n_threads=1, type_k=0, type_v=0)
    model.eval(tokens)
    return model.scores[:len(tokens)].copy()
