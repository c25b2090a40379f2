"""Small SentencePiece BPE models with texts and the ids and texts that PyPI `sentencepiece` gives.

    python sentencepiece_models.py OUT.jsonl             # BPE
    python sentencepiece_models.py unigram OUT.jsonl     # Unigram, and both kinds with replacements and white space folded
    python sentencepiece_models.py large TEXT COUNT OUT  # a Unigram model of TEXT with the usual replacements (nmt_nfkc)

The last writes OUT.model with OUT.jsonl for `encode_lines` (see `gguf_vocabularies.py`), the same as a vocabulary of GGUF
(OUT.vocabulary.json) and as a tokenizer.json with OUT.hf.jsonl. Needs sentencepiece; `large`: tokenizers, protobuf too.
"""

import base64
import io
import json
import random
import sys
import tempfile

import sentencepiece

WORDS = """the of and to in is that it was for on are as with his they at be this from have or by one had not but what all
were when we there can an your which their said if do will each about how up out them then she many some so these would other
straße été naïve über 日本 語 привет мир""".split()


def corpus():
    rng = random.Random(11)
    return [" ".join(rng.choice(WORDS) for _ in range(10)) + rng.choice([".", "!", "  two", "\tx"]) for _ in range(500)]


def texts(seed):
    rng = random.Random(seed)
    yield from ["", " ", "  ", "   a", "a  b", "<s>", "</s>", "<unk>", "<0x41>", "▁", "▁▁a", "a\nb", "🎉", "<sep>the<sep>", "  <sep> x", "the<|x|> of", "\u2581\u2581 "]
    for _ in range(40):
        parts = []
        for _ in range(rng.randint(1, 10)):
            kind = rng.random()
            if kind < 0.5:
                parts.append(rng.choice(WORDS))
            elif kind < 0.7:
                parts.append(" " * rng.randint(1, 5))
            elif kind < 0.8:
                parts.append(rng.choice(["<sep>", "<|x|>", "\n", "12345"]))
            else:
                point = rng.randint(1, 0x10FFFF - 0x800)
                parts.append(chr(point if point < 0xD800 else point + 0x800))
        yield "".join(parts)


# Replacements, code points in hexadecimal: of one character, of several, by nothing, by more, by a space.
RULES = [("E9", "65"), ("65 301", "65"), ("DF", "73 73"), ("200B", ""), ("A0", "20"), ("9", "20"), ("A", "20"), ("FF21", "41"),
         ("2167", "56 49 49 49"), ("C4", "41 20"), ("301", "301 301"), ("1F389", "3A 29"), ("41 42 43", "58")]


def train(corpus, vocab_size=420, **options):
    buffer = io.BytesIO()
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as rules:
        rules.write("".join(f"{source}\t{target}\n" for source, target in RULES))
        rules.flush()
        if options.pop("rules", False):
            options["normalization_rule_tsv"] = rules.name
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(corpus), model_writer=buffer, minloglevel=2, num_threads=1, vocab_size=vocab_size,
            hard_vocab_limit=options.get("model_type") == "bpe", **options)
    return buffer.getvalue()


def more_texts(seed):
    yield from texts(seed)
    yield from ["é e\u0301 ß", "\u00a0a\tb\n", "ＡＢＣ ABC AB", "Ⅷ Ä x", "🎉 \u200b", "\u200b", " \u00a0 ", "the\u00a0 of", "e\u0301\u0301", "Äx", "ÄÄ  Ä"]


def unigram(path):
    with open(path, "w", encoding="utf-8") as out:
        for seed, options in enumerate([
            dict(model_type="unigram", rules=True),
            dict(model_type="unigram", normalization_rule_name="identity", remove_extra_whitespaces=False, byte_fallback=True, user_defined_symbols=["<sep>", "ＡＢ"]),
            dict(model_type="unigram", rules=True, add_dummy_prefix=False, user_defined_symbols=["<sep>", "é", "of the"]),
            dict(model_type="unigram", rules=True, remove_extra_whitespaces=False, vocab_size=150),
            dict(model_type="bpe", vocab_size=250, rules=True, user_defined_symbols=["<sep>", "ß"]),
            dict(model_type="bpe", vocab_size=400, normalization_rule_name="identity", byte_fallback=True),
        ]):
            model_bytes = train(corpus(), **({"character_coverage": 0.999} | options))
            model = sentencepiece.SentencePieceProcessor(model_proto=model_bytes)
            rows = [[text, model.encode(text), model.decode(model.encode(text))] for text in more_texts(100 + seed)]
            record = {"options": str(options), "model": base64.b16encode(model_bytes).decode(), "rows": rows}
            out.write(json.dumps(record, ensure_ascii=True, separators=(",", ":")) + "\n")


def large(text, count, out):
    from sentencepiece import sentencepiece_model_pb2 as pb
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    import tokenizer_strings

    lines = [line for line in open(text, encoding="utf-8", errors="ignore").read().split("\n") if line.strip()]
    model_bytes = train(lines, vocab_size=8000, model_type="unigram", character_coverage=0.9995)
    with open(out + ".model", "wb") as file:
        file.write(model_bytes)
    model = sentencepiece.SentencePieceProcessor(model_proto=model_bytes)
    proto = pb.ModelProto.FromString(model_bytes)
    charsmap = proto.normalizer_spec.precompiled_charsmap
    fields = {
        "model": "t5", "pre": "default", "unknown_token_id": 0, "add_space_prefix": True, "remove_extra_whitespaces": True,
        "tokens": [piece.piece for piece in proto.pieces], "scores": [piece.score for piece in proto.pieces],
        "token_type": [piece.type for piece in proto.pieces], "precompiled_charsmap": list(charsmap),
    }
    with open(out + ".vocabulary.json", "w", encoding="utf-8") as file:
        json.dump(fields, file)
    tokenizer = Tokenizer(models.Unigram([(piece.piece, piece.score) for piece in proto.pieces], 0, False))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Precompiled(charsmap), normalizers.Strip(False, True), normalizers.Replace(Regex(" {2,}"), "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", "always")
    tokenizer.decoder = decoders.Metaspace("▁", "always")
    tokenizer.save(out + ".tokenizer.json")
    # Read back: scores as that library reads them.
    tokenizer = Tokenizer.from_file(out + ".tokenizer.json")
    rng = random.Random(tokenizer_strings.SEED)
    with open(out + ".jsonl", "w", encoding="utf-8") as plain, open(out + ".hf.jsonl", "w", encoding="utf-8") as hf:
        for _ in range(count):
            sample = tokenizer_strings.random_text(rng, [])
            plain.write(json.dumps([sample, model.encode(sample), None, None], separators=(",", ":")) + "\n")
            hf.write(json.dumps([sample, tokenizer.encode(sample).ids, None, None], separators=(",", ":")) + "\n")


def main():
    if sys.argv[1] == "unigram":
        return unigram(sys.argv[2])
    if sys.argv[1] == "large":
        return large(sys.argv[2], int(sys.argv[3]), sys.argv[4])
    with open(sys.argv[1], "w", encoding="utf-8") as out:
        for seed, options in enumerate([
            dict(byte_fallback=True, user_defined_symbols=["<sep>", "<|x|>"]),
            dict(byte_fallback=True, add_dummy_prefix=False, user_defined_symbols=["<sep>", "\u2581\u2581", "\u2581\u2581\u2581"]),
            dict(byte_fallback=False, vocab_size=300),
        ]):
            buffer = io.BytesIO()
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(corpus()), model_writer=buffer, model_type="bpe", character_coverage=0.999,
                normalization_rule_name="identity", remove_extra_whitespaces=False, minloglevel=2, num_threads=1, **(dict(vocab_size=420) | options))
            model = sentencepiece.SentencePieceProcessor(model_proto=buffer.getvalue())
            rows = [[text, model.encode(text), model.decode(model.encode(text))] for text in texts(seed)]
            record = {"options": str(options), "model": base64.b16encode(buffer.getvalue()).decode(), "rows": rows}
            out.write(json.dumps(record, ensure_ascii=True, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
