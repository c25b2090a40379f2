"""Small SentencePiece BPE models with texts and the ids and texts that PyPI `sentencepiece` gives.

    python sentencepiece_models.py OUT.jsonl
"""

import base64
import io
import json
import random
import sys

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


def main():
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


main()
