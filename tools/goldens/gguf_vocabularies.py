"""Random Unicode strings through a GGUF vocabulary, as PyPI `tokenizers` or `sentencepiece` has it.

    python gguf_vocabularies.py VOCABULARY.gguf COUNT OUT

writes OUT.vocabulary.json (the vocabulary as the file has it), OUT.tokenizer.json (the same for `tokenizers`, where its kind
is one of that library's) and OUT.jsonl (text, ids as text, ids with special tokens parsed, null). Then

    cargo run --release -p bantam-text --example encode_lines OUT.vocabulary.json < OUT.jsonl
    cargo run --release -p bantam-text --example encode_lines OUT.tokenizer.json < OUT.jsonl

compare all of them. Needs gguf, tokenizers, sentencepiece, protobuf.
"""

import json
import random
import sys

from gguf import GGUFReader
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

import tokenizer_strings

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
CASED = open(__file__.replace("goldens/gguf_vocabularies.py", "../crates/bantam-text/src/tokenizer/patterns.rs")).read()


def read(path):
    wanted = "tokenizer.ggml."
    fields = {key.removeprefix(wanted): field.contents() for key, field in GGUFReader(path).fields.items() if key.startswith(wanted)}
    return fields


def deepseek_letters():
    """The range list of the published pattern, as the table of pre-tokenizers has it too."""
    lines = CASED.split("const CASED")[1].split("concat!(")[1].split("\n);")[0]
    parts = [line.strip().removeprefix('r"').removeprefix('"').removesuffix('",').removesuffix('"') for line in lines.split("\n") if line.strip()]
    return "".join(parts)


def splits(*patterns):
    return [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]


def pre_tokenizer(name):
    p = pre_tokenizers
    plain = p.ByteLevel(add_prefix_space=False, use_regex=False)
    gpt2 = p.ByteLevel(add_prefix_space=False, use_regex=True)
    return {
        "gpt-2": gpt2,
        "mpt": gpt2,
        "starcoder": p.Sequence([p.Digits(True), gpt2]),
        "refact": p.Sequence([p.Digits(True), gpt2]),
        "deepseek-coder": p.Sequence([*splits("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+"), p.Digits(True), plain]),
        "falcon": p.Sequence([p.Punctuation("contiguous"), gpt2, p.Digits(False), *splits("[0-9][0-9][0-9]")]),
        "deepseek-llm": p.Sequence([*splits("[\r\n]", deepseek_letters(), "\\s?[!-/:-~！-／：-～‘-‟　-。]+", "\\s+$", "[一-龥ࠀ-一가-퟿]+"), p.Digits(True), plain]),
    }[name]


def own_spelling(token):
    """WordPiece: GGUF marks what begins a word, the model what does not."""
    if token.startswith("\u2581"):
        return token[1:]
    return token if token.startswith("[") and token.endswith("]") else "##" + token


def for_tokenizers(fields):
    tokens, types = fields["tokens"], fields["token_type"]
    if fields["model"] == "bert":
        vocab = {own_spelling(token): id for id, token in enumerate(tokens)}
        tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
    else:
        vocab = {token: id for id, token in enumerate(tokens)}
        merges = [tuple(merge.split(" ", 1)) if not merge.startswith(" ") else (" ", merge[2:]) for merge in fields["merges"]]
        merges = [pair for pair in merges if all(part in vocab for part in pair) and "".join(pair) in vocab]
        tokenizer = Tokenizer(models.BPE(vocab, merges))
        tokenizer.pre_tokenizer = pre_tokenizer(fields["pre"])
        if fields["pre"] == "mpt":
            tokenizer.normalizer = normalizers.NFC()
        tokenizer.decoder = decoders.ByteLevel()
    for token, kind in zip(tokens, types):
        if kind in (CONTROL, UNKNOWN):
            tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True)])
        elif kind == USER_DEFINED:
            tokenizer.add_tokens([AddedToken(token, normalized=False)])
    return tokenizer


def for_sentencepiece(fields):
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2 as pb

    model = pb.ModelProto()
    for id, (token, score, kind) in enumerate(zip(fields["tokens"], fields["scores"], fields["token_type"])):
        if id == fields["unknown_token_id"]:
            kind = UNKNOWN
        elif kind == UNKNOWN:  # rows that fill a matrix up
            kind = UNUSED
        model.pieces.add(piece=token, score=score, type=kind)
    model.trainer_spec.model_type = 2
    model.trainer_spec.byte_fallback = True
    model.trainer_spec.unk_id = fields["unknown_token_id"]
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = True
    model.normalizer_spec.remove_extra_whitespaces = False
    return sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())


def main():
    path, count, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    fields = read(path)
    with open(out + ".vocabulary.json", "w", encoding="utf-8") as file:
        json.dump(fields, file, ensure_ascii=True)
    with open(out + ".jsonl", "w", encoding="utf-8") as file:
        def write(row):
            file.write(json.dumps(row, ensure_ascii=True, separators=(",", ":")) + "\n")
        if fields["model"] == "llama":
            processor, rng = for_sentencepiece(fields), random.Random(tokenizer_strings.SEED)
            for _ in range(count):
                text = tokenizer_strings.random_text(rng, [])
                write([text, processor.encode(text), None, None])
            return
        tokenizer = for_tokenizers(fields)
        tokenizer.save(out + ".tokenizer.json")
        for text, plain, parsed, _ in tokenizer_strings.rows(tokenizer, count, tokenizer_strings.SEED):
            write([text, plain, parsed, None])


if __name__ == "__main__":
    main()
