"""Merges that PyPI `tokenizers` learns from small texts, byte-level BPE.

    python bpe_training.py OUT.json                      # the committed golden: crates/bantam-text/tests/data/bpe_training.json
    python bpe_training.py learn TEXT.txt SIZE OUT.json  # tokens and merges learnt from the lines of a text, pre-tokenizer gpt-2

`cargo run --release -p bantam-text --example learn_bpe TEXT.txt SIZE OUT.json` compares a whole text. Needs tokenizers.
"""

import json
import random
import sys

from tokenizers import Tokenizer, models, trainers

import pre_tokenizers
import tokenizer_strings


def learn(texts, kind, size, least, specials):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.KINDS[kind]
    alphabet = pre_tokenizers.p.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, min_frequency=least, special_tokens=specials, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    merges = [" ".join(merge) if isinstance(merge, list) else merge for merge in model["merges"]]
    return {"tokens": tokens, "merges": merges}


def prose(chance, count):
    """Words of made-up languages: few syllables, so that many pairs occur equally often."""
    syllables = ["ka", "lo", "mi", "sen", "tra", "u", "ße", "ñi", "ва", "но", "日", "ab", "ba", "aa", "a", "xyz", "zz", "é"]
    words = ["".join(chance.choices(syllables, k=chance.randint(1, 4))) for _ in range(60)]
    weights = [1 / (rank + 1) for rank in range(len(words))]
    return [" ".join(chance.choices(words, weights, k=12)) + chance.choice([".", "!", "\n", " 2024,", "…"]) for _ in range(count)]


def main():
    if sys.argv[1] == "learn":
        texts = open(sys.argv[2], encoding="utf-8", newline="").read().splitlines()
        json.dump(learn(texts, "gpt-2", int(sys.argv[3]), 0, []), open(sys.argv[4], "w"), ensure_ascii=False)
        return
    chance, cases = random.Random(tokenizer_strings.SEED), []
    for kind, size, least, specials in [
        ("gpt-2", 256, 0, []),
        ("gpt-2", 420, 0, ["<|endoftext|>"]),
        ("gpt-2", 700, 2, ["<s>", "</s>", "<pad>"]),
        ("llama-bpe", 500, 0, []),
        ("smollm", 400, 3, ["<|im_start|>", "<|im_end|>"]),
        ("gpt-2", 4000, 0, []),
    ]:
        texts = prose(chance, 24) + ["aaaa aaaaaaa aaa", "abababab babab", ""]
        cases.append({"pre": kind, "size": size, "least": least, "specials": specials, "texts": texts, **learn(texts, kind, size, least, specials)})
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        file.write("[\n" + ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases) + "\n]\n")


main()
