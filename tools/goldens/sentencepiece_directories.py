"""Directories with a `tokenizer.model` and its companions, with texts and the ids that transformers' LlamaTokenizer gives.

    python tools/goldens/sentencepiece_directories.py

Reads the first model of crates/bantam-text/tests/data/sentencepiece.jsonl, writes sentencepiece_directories.json beside it.

Needs transformers 4.57 (the last with a LlamaTokenizer of its own beside the fast one), sentencepiece, protobuf. The ids are
those of the fast one, except that it gives added tokens the next ids free where the slow one keeps the ids that
`added_tokens_decoder` says; those are written here. With `legacy`, texts on which the two disagree are left out (the slow one
does not look at `single_word`, nor at the kind of a piece). Without, they differ where a text begins with a space or an added
token, and transformers 5 goes with the fast one.
"""

import json
import pathlib
import tempfile

from transformers import LlamaTokenizer, LlamaTokenizerFast

DATA = pathlib.Path(__file__).resolve().parents[2] / "crates/bantam-text/tests/data"
TEXTS = [
    "", "the", " the", "  the of", "the<|im_end|> of", "<|im_end|>the\n<|im_end|> of <|im_end|>", "<s>the</s> of", "of <tool>the",
    "the <tool> of", "<tool> <tool>", " <|im_end|> ", "the <strip>  of", "the  <strip>of", "x<word>y <word> z", "<|im_end|", "for</s",
    "naïve über 日本 🎉 12<|im_end|>", "<unk>the", "<pad>the <pad>",
]


def token(content, special=True, **flags):
    return dict(content=content, lstrip=False, normalized=False, rstrip=False, single_word=False, special=special) | flags


OWN = {"0": token("<unk>"), "1": token("<s>"), "2": token("</s>")}
NAMES = dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>")
MORE = [
    token("<|im_end|>"), token("<tool>", special=False), token("<strip>", lstrip=True, rstrip=True),
    token("<word>", special=False, single_word=True), token("<pad>"),
]


def decoder(first):
    return OWN | {str(first + at): one for at, one in enumerate(MORE)}


def main():
    model = bytes.fromhex(json.loads((DATA / "sentencepiece.jsonl").read_text().splitlines()[0])["model"])
    cases = []
    for config, companions in [
        ({}, {}),
        (NAMES | dict(legacy=True, add_bos_token=False, add_eos_token=True), {}),
        (NAMES | dict(legacy=False, eos_token="<|im_end|>", pad_token="<pad>", added_tokens_decoder=decoder(420)), {}),
        (NAMES | dict(legacy=True, eos_token="<|im_end|>", added_tokens_decoder=decoder(420)), {}),
        (NAMES | dict(legacy=False, add_eos_token=True, eos_token="<|im_end|>", added_tokens_decoder=decoder(415)), {}),
        (NAMES | dict(added_tokens_decoder=decoder(415)), {}),
        (NAMES | dict(legacy=False, add_prefix_space=False, added_tokens_decoder=decoder(425)), {}),
        ({}, {"special_tokens_map.json": dict(eos_token="</s>", bos_token=token("</s>"))}),
    ]:
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory)
            (path / "tokenizer.model").write_bytes(model)
            (path / "tokenizer_config.json").write_text(json.dumps(dict(tokenizer_class="LlamaTokenizer") | config))
            for name, value in companions.items():
                (path / name).write_text(json.dumps(value))
            slow, fast = LlamaTokenizer.from_pretrained(path), LlamaTokenizerFast.from_pretrained(path)
        stated = {one["content"]: int(at) for at, one in config.get("added_tokens_decoder", {}).items()}
        stated = {fast.convert_tokens_to_ids(content): at for content, at in stated.items()}
        rows, agree = [], 0
        for text in TEXTS:
            ids = fast(text).input_ids
            assert not any(at in stated.values() and at not in stated for at in ids), "a replaced piece in a text"
            ids = [stated.get(at, at) for at in ids]
            agree += ids == slow(text).input_ids
            if config.get("legacy", True) and ids != slow(text).input_ids:
                print(f"left out: {text!r} {ids} {slow(text).input_ids}")
                continue
            rows.append([text, ids])
        print(f"{config.get('legacy')}: the slow one agrees on {agree} of {len(TEXTS)}")
        ends = [slow.bos_token_id, slow.eos_token_id, slow.unk_token_id, slow.pad_token_id]
        cases.append(dict(config=config, companions=companions, ends=ends, rows=rows))
    (DATA / "sentencepiece_directories.json").write_text(json.dumps(cases, separators=(",", ":")) + "\n")


main()
