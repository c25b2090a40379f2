"""How PyPI `tokenizers` cuts random Unicode strings, given the patterns that models publish in their `tokenizer.json`.

    python pre_tokenizers.py COUNT OUT.jsonl [NAME…]     # a line: name, text, words in GPT-2's characters for bytes

The committed golden is `python pre_tokenizers.py 25 crates/bantam-text/tests/data/pre_tokenizers.jsonl`; for more strings,
`cargo run --release -p bantam-text --example split_lines < OUT.jsonl` compares a whole file. Needs tokenizers.
"""

import json
import random
import sys

from tokenizers import Regex, normalizers, pre_tokenizers as p

import tokenizer_strings

ENDINGS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
UPPER, LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
TAIL = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
LETTERS, REST = r"[^\r\n\p{L}\p{N}]?\p{L}+", r" ?[^\s\p{L}\p{N}]+[\r\n]*"
LLAMA3 = ENDINGS + "|" + LETTERS + r"|\p{N}{1,3}|" + REST + TAIL
QWEN2 = ENDINGS + "|" + LETTERS + r"|\p{N}|" + REST + TAIL
QWEN35 = ENDINGS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*" + TAIL


def cased(ending, digits):
    first = rf"[^\r\n\p{{L}}\p{{N}}]?[{UPPER}]*[{LOWER}]+{ending}"
    second = rf"[^\r\n\p{{L}}\p{{N}}]?[{UPPER}]+[{LOWER}]*{ending}"
    return f"{first}|{second}|{digits}" + r"| ?[^\s\p{L}\p{N}]+[\r\n/]*" + TAIL


O200K, TEKKEN = cased(ENDINGS + "?", r"\p{N}{1,3}"), cased("", r"\p{N}")
DEEPSEEK_V3 = (r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*""" + TAIL)
BAILING = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"
SEED = ENDINGS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+" + TAIL
EXAONE_MOE = ENDINGS + r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"


def byte(regex=False):
    return p.ByteLevel(add_prefix_space=False, use_regex=regex)


def splits(*patterns, last=None):
    return p.Sequence([p.Split(Regex(pattern), "isolated") for pattern in patterns] + [last or byte()])


KINDS = {
    "llama-bpe": splits(LLAMA3),
    "qwen2": splits(QWEN2),
    "deepseek-r1-qwen": splits(QWEN2),
    "stablelm2": splits(QWEN2),
    "dbrx": splits(LLAMA3),
    "gpt-2": byte(True),
    "mpt": byte(True),
    "phi-2": byte(True),
    "starcoder": p.Sequence([p.Digits(True), byte(True)]),
    "refact": p.Sequence([p.Digits(True), byte(True)]),
    "smollm": p.Sequence([p.Digits(True), byte(True)]),
    "command-r": p.Sequence([p.Digits(True), byte(True)]),
    "falcon": p.Sequence([p.Punctuation("contiguous"), byte(True), p.Digits(False), p.Split(Regex("[0-9][0-9][0-9]"), "isolated")]),
    "deepseek-coder": splits("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", last=p.Sequence([p.Digits(True), byte()])),
    "deepseek-v3": splits(r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", DEEPSEEK_V3),
    "tekken": splits(TEKKEN),
    "gpt-4o": splits(O200K),
    "qwen35": splits(QWEN35),
    "bailingmoe": splits(BAILING),
    "seed-coder": splits(SEED),
    "exaone-moe": splits(EXAONE_MOE),
    "minicpm5": splits(r"\p{N}{1,3}", ENDINGS + "|" + LETTERS + r"|\p{N}+|" + REST + TAIL),
    "bloom": splits(BLOOM),
    "poro-chat": splits(BLOOM),
    "gpt3-finnish": splits(BLOOM),
    "tiny_aya": splits(r"\d{1,3}(?=(?:\d{3})*\b)", O200K),
}
COMPOSED = {"qwen2", "deepseek-r1-qwen", "qwen35", "mpt"}


def main():
    count, out, names = int(sys.argv[1]), sys.argv[2], sys.argv[3:] or list(KINDS)
    with open(out, "w", encoding="utf-8") as file:
        for name in names:
            rng = random.Random(tokenizer_strings.SEED)
            for _ in range(count):
                text = tokenizer_strings.random_text(rng, [])
                normal = normalizers.NFC().normalize_str(text) if name in COMPOSED else text
                words = [word for word, _ in KINDS[name].pre_tokenize_str(normal)]
                file.write(json.dumps([name, text, words], ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
