"""Directories with `vocab.json` and `merges.txt`, with texts and the ids that transformers' own tokenizers give.

    python tools/goldens/byte_level_directories.py

Writes crates/bantam-text/tests/data/byte_level_directories.json: the two files, and for each class of tokenizers and each
configuration the rows (text, ids with special tokens parsed).

Needs transformers (5.23 was used).
"""

import json
import pathlib
import tempfile

from transformers import CodeGenTokenizer, GPT2Tokenizer, Qwen2Tokenizer

OUT = pathlib.Path(__file__).resolve().parents[2] / "crates/bantam-text/tests/data/byte_level_directories.json"
MERGES = ["t h", "th e", "Ġ the", "h e", "l l", "he ll", "hell o", "Ġ w", "o r", "l d", "Ġw or", "Ġwor ld", "# #", "1 2", "Ġ Ġ", "ĠĠ ĠĠ",
          "Ċ Ċ", "Ã ©", "' s", "i n", "in g", "' ll"]
TEXTS = [
    "", "hello world", " the  the\tthe\n\n", "## #the", "1234 12 1212", "naïve café cafe\u0301 \u1e69\u0307", "it's WE'LL she'll",
    "<|endoftext|>the<|endoftext|>", "the <|im_end|> the", "        x", "日本 🎉 12<|im_end|>\n", "a\r\nb \r\n ", "²½ x_y __init__",
    "THE HELLO", "ing in' s", "\u0e01\u0e33 \u0915\u094d\u0937", "-12.5e3,the", "#version: the", "…—“the”",
]


def alphabet():
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(0x100 + at) for at in range(len(others))]


def token(content, special=True):
    return dict(content=content, lstrip=False, normalized=False, rstrip=False, single_word=False, special=special)


def main():
    tokens = alphabet() + [merge.replace(" ", "") for merge in MERGES] + ["<|endoftext|>"]
    vocab = {text: id for id, text in enumerate(tokens)}
    end, more = vocab["<|endoftext|>"], len(tokens)
    merges = "#version: 0.2\n" + "\n".join(MERGES) + "\n"
    decoder = {str(end): token("<|endoftext|>"), str(more): token("<|im_end|>"), str(more + 1): token("<tool>", special=False)}
    cases = []
    for kind, config in [
        (GPT2Tokenizer, {}),
        (GPT2Tokenizer, dict(tokenizer_class="GPT2Tokenizer", add_prefix_space=True)),
        (GPT2Tokenizer, dict(tokenizer_class="GPT2Tokenizer", bos_token="<|endoftext|>", add_bos_token=True)),
        (CodeGenTokenizer, dict(tokenizer_class="CodeGenTokenizer", added_tokens_decoder=decoder)),
        (Qwen2Tokenizer, dict(tokenizer_class="Qwen2Tokenizer", added_tokens_decoder=decoder, eos_token="<|im_end|>",
                              bos_token=None, unk_token=None, pad_token="<|endoftext|>")),
    ]:
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory)
            (path / "vocab.json").write_text(json.dumps(vocab))
            (path / "merges.txt").write_text(merges)
            (path / "tokenizer_config.json").write_text(json.dumps(config))
            tokenizer = kind.from_pretrained(directory)
            rows = [(text, tokenizer(text)["input_ids"]) for text in TEXTS]
        cases.append(dict(kind=kind.__name__, config=config, rows=rows))
    OUT.write_text(json.dumps(dict(vocab=vocab, merges=merges, cases=cases), separators=(",", ":")) + "\n")
    print(OUT.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
