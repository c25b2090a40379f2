"""Random Unicode strings and the ids that PyPI `tokenizers` gives them.

    python tokenizer_strings.py strings TOKENIZER.json COUNT OUT.jsonl   # [text, ids as text, ids with special tokens parsed]
    python tokenizer_strings.py variants OUT.json                        # small BPE tokenizers of many kinds, with strings
    python tokenizer_strings.py words OUT.json                           # the same of WordPiece, Unigram and their pipelines

`cargo run --release -p bantam-text --example encode_lines TOKENIZER.json < OUT.jsonl` compares a whole file.
"""

import json
import random
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SEED = 20240611
WORDS = """the of and to in is that it was for on are as with his they at be this from have or by one had not but what all
were when we there can an your which their said if do will each about how up out them then she many some so these would other
into has more her two like him see time could no make than first been its who now people my made over did down only way find use
may water long little very after words called just where most know don't it's I'm you're we'll they've he'd WE'LL Don'T""".split()
ALPHABETS = [
    range(0x20, 0x7F), range(0x00, 0x20), range(0xA0, 0x180), range(0x370, 0x400), range(0x400, 0x500), range(0x590, 0x600),
    range(0x600, 0x700), range(0x900, 0x980), range(0xE00, 0xE80), range(0x1780, 0x17FF), range(0x2000, 0x2070),
    range(0x2190, 0x2300), range(0x3040, 0x3100), range(0x4E00, 0x9FA5), range(0xAC00, 0xD7A4), range(0x300, 0x370),
    range(0xFE00, 0xFE10), range(0x1F300, 0x1F650), range(0x1F900, 0x1FA00), range(0x10000, 0x10100), range(0x20000, 0x20100),
    range(0xFF00, 0xFF60), range(0xE000, 0xE010), range(0x660, 0x66A), range(0x2070, 0x2190),
]
SPACES = [" ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", " \n ", "\u00a0", "\u3000", "\u2003", "\u200b", "\u0085", "\x1c"]


def random_text(rng, specials):
    parts = []
    for _ in range(rng.randint(0, 12)):
        kind = rng.random()
        if kind < 0.30:
            parts.append(rng.choice(WORDS))
        elif kind < 0.45:
            parts.append(rng.choice(SPACES) * rng.choice([1, 1, 1, 2, 7]))
        elif kind < 0.55:
            parts.append(str(rng.randint(0, 10 ** rng.randint(1, 9))))
        elif kind < 0.60:
            parts.append(rng.choice([w.upper() for w in WORDS]))
        elif kind < 0.66 and specials:
            parts.append(rng.choice(specials))
        elif kind < 0.90:
            alphabet = rng.choice(ALPHABETS)
            parts.append("".join(chr(rng.choice(alphabet)) for _ in range(rng.randint(1, 8))))
        elif kind < 0.97:
            # Any code point but the surrogates, assigned or not.
            for _ in range(rng.randint(1, 4)):
                point = rng.randint(0, 0x10FFFF - 0x800)
                parts.append(chr(point if point < 0xD800 else point + 0x800))
        else:
            parts.append(rng.choice("abcxyz.,!?-_/\\'\"") * rng.randint(10, 60))
        if rng.random() < 0.5:
            parts.append(" ")
    return "".join(parts)


def rows(tokenizer, count, seed):
    rng = random.Random(seed)
    specials = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
    for _ in range(count):
        text = random_text(rng, specials)
        tokenizer.encode_special_tokens = True
        plain = tokenizer.encode(text, add_special_tokens=False).ids
        tokenizer.encode_special_tokens = False
        parsed = tokenizer.encode(text, add_special_tokens=False).ids
        framed = tokenizer.encode(text).ids
        yield [text, plain, parsed, framed]


def corpus():
    rng = random.Random(7)
    return [" ".join(rng.choice(WORDS) for _ in range(12)) + rng.choice([".", "!", "?", ", 12345", " été Straße"]) for _ in range(400)]


def byte_level(pre, size=360, **options):
    tokenizer = Tokenizer(models.BPE(**options))
    tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    return tokenizer


def pieces(pre, normalizer, decoder, byte_fallback=True, size=380, **options):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=byte_fallback, **options))
    tokenizer.normalizer = normalizer
    if pre is not None:
        tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoder
    special = ["<unk>", "<s>", "</s>"] + ([f"<0x{b:02X}>" for b in range(256)] if byte_fallback else [])
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False, max_token_length=12)
    tokenizer.train_from_iterator(corpus(), trainer)
    # The byte tokens are ordinary vocabulary entries, not added tokens.
    data = json.loads(tokenizer.to_str())
    data["added_tokens"] = [t for t in data["added_tokens"] if not t["content"].startswith("<0x")]
    return Tokenizer.from_str(json.dumps(data))


def variants():
    p, n, d = pre_tokenizers, normalizers, decoders
    byte = lambda **o: p.ByteLevel(**({"add_prefix_space": False} | o))
    cl100k = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    possessive = r"[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
    spm = d.Sequence([d.Replace("▁", " "), d.ByteFallback(), d.Fuse(), d.Strip(" ", 1, 0)])
    yield "gpt2", byte_level(byte())
    yield "gpt2 with a space before", byte_level(byte(add_prefix_space=True))
    yield "digits then bytes", byte_level(p.Sequence([p.Digits(True), byte()]))
    yield "digit runs then bytes", byte_level(p.Sequence([p.Digits(False), byte()]))
    yield "cl100k, whole words kept", byte_level(p.Sequence([p.Split(Regex(cl100k), "isolated"), byte(use_regex=False)]), ignore_merges=True)
    nfc = byte_level(p.Sequence([p.Split(Regex(cl100k), "isolated"), byte(use_regex=False)]))
    nfc.normalizer = n.NFC()
    yield "cl100k, composed", nfc
    yield "possessive", byte_level(p.Sequence([p.Split(Regex(possessive), "isolated"), byte(use_regex=False)]))
    yield "steps behind bytes", byte_level(p.Sequence([p.Punctuation("contiguous"), byte(), p.Digits(False), p.Split(Regex("[0-9][0-9][0-9]"), "isolated")]))
    for behavior in ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]:
        yield f"split {behavior}", byte_level(p.Sequence([p.Split(Regex(r"[aeiou]"), behavior), byte()]))
        yield f"split {behavior}, inverted", byte_level(p.Sequence([p.Split(Regex(r"[a-z]+"), behavior, invert=True), byte(use_regex=False)]))
    yield "white space", byte_level(p.Sequence([p.Whitespace(), byte(use_regex=False)]))
    yield "legacy pieces", pieces(None, n.Sequence([n.Prepend("▁"), n.Replace(" ", "▁")]), spm, fuse_unk=True)
    yield "pieces, first", pieces(p.Metaspace("▁", "first", False), None, spm, fuse_unk=True)
    yield "pieces, always, split", pieces(p.Metaspace("▁", "always", True), None, d.Metaspace("▁", "always"), byte_fallback=False, fuse_unk=True)
    yield "pieces, unknown apart", pieces(p.Metaspace("▁", "never", True), None, d.Metaspace("▁", "never"), byte_fallback=False)
    yield "spaces replaced", pieces(p.Split(" ", "merged_with_previous"), n.Replace(" ", "▁"), d.Sequence([d.Replace("▁", " "), d.ByteFallback(), d.Fuse()]))
    flags = byte_level(byte())
    flags.add_special_tokens([AddedToken("<|l|>", lstrip=True), AddedToken("<|r|>", rstrip=True), AddedToken("<|b|>", lstrip=True, rstrip=True)])
    flags.add_tokens([AddedToken("may", single_word=True), AddedToken("water"), AddedToken("waterlong", normalized=False), AddedToken("  ", normalized=False)])
    yield "flags of added tokens", flags
    lower = byte_level(byte())
    lower.normalizer = n.Sequence([n.NFKD(), n.StripAccents(), n.Lowercase(), n.Strip()])
    lower.add_tokens([AddedToken("People", normalized=True), AddedToken("LITTLE", normalized=False)])
    yield "normalized added tokens", lower
    framed = byte_level(byte())
    framed.add_special_tokens(["<s>", "</s>"])
    ids = [(t, framed.token_to_id(t)) for t in ["<s>", "</s>"]]
    framed.post_processor = processors.Sequence([processors.ByteLevel(), processors.TemplateProcessing("<s> $A </s>", "<s> $A </s> $B </s>", ids)])
    yield "framed", framed


def wordpiece(normalizer, pre, size=330, decoder=None, model=None, **options):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", **(model or {})))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre
    tokenizer.decoder = decoder or decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=special, show_progress=False, **options)
    tokenizer.train_from_iterator(corpus() + ["日本語 été Ärger 12 3456 привет"] * 3, trainer)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def unigram(normalizer, pre, decoder, size=320, byte_fallback=False):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre
    tokenizer.decoder = decoder
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"] + ([f"<0x{b:02X}>" for b in range(256)] if byte_fallback else [])
    trainer = trainers.UnigramTrainer(vocab_size=size + len(special), special_tokens=special, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    data = json.loads(tokenizer.to_str())
    data["added_tokens"] = [t for t in data["added_tokens"] if not t["content"].startswith("<0x")]
    data["model"]["byte_fallback"] = byte_fallback
    tokenizer = Tokenizer.from_str(json.dumps(data))
    ids = [(t, tokenizer.token_to_id(t)) for t in ["<s>", "</s>"]]
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", "<s> $A </s> $B </s>", ids)
    return tokenizer


def charsmap():
    """A small table of replacements, compiled by SentencePiece."""
    import sentencepiece_models
    from sentencepiece import sentencepiece_model_pb2 as pb

    model = sentencepiece_models.train(sentencepiece_models.corpus(), model_type="unigram", rules=True, character_coverage=0.999)
    return pb.ModelProto.FromString(model).normalizer_spec.precompiled_charsmap


def word_variants():
    p, n, d = pre_tokenizers, normalizers, decoders
    bert, metaspace = p.BertPreTokenizer, p.Metaspace("▁", "always")
    yield "bert", wordpiece(n.BertNormalizer(), bert())
    yield "bert, cased", wordpiece(n.BertNormalizer(lowercase=False), bert())
    yield "bert, cased without accents", wordpiece(n.BertNormalizer(lowercase=False, strip_accents=True), bert())
    yield "bert, accents kept", wordpiece(n.BertNormalizer(strip_accents=False), bert())
    yield "bert, not cleaned", wordpiece(n.BertNormalizer(clean_text=False, handle_chinese_chars=False), bert())
    yield "wordpiece of few characters", wordpiece(n.Sequence([n.NFD(), n.Lowercase(), n.StripAccents()]), p.WhitespaceSplit(), model={"max_input_chars_per_word": 5})
    yield "wordpiece, white space", wordpiece(n.Sequence([n.NFKC(), n.Lowercase()]), p.Whitespace(), decoder=d.WordPiece(cleanup=False))
    yield "wordpiece, digits", wordpiece(n.NFKD(), p.Sequence([p.WhitespaceSplit(), p.Punctuation("merged_with_previous"), p.Digits(True)]))
    roberta = wordpiece(n.Nmt(), p.CharDelimiterSplit("e"))
    roberta.post_processor = processors.RobertaProcessing(("[SEP]", 3), ("[CLS]", 2))
    yield "wordpiece, delimiter", roberta
    yield "unigram", unigram(None, metaspace, d.Metaspace("▁", "always"))
    yield "unigram, first", unigram(n.Replace(Regex(" {2,}"), " "), p.Metaspace("▁", "first"), d.Metaspace("▁", "first"))
    yield "unigram, words", unigram(n.Precompiled(charsmap()), p.Sequence([p.WhitespaceSplit(), metaspace]), d.Metaspace("▁", "always"))
    yield "unigram, replaced", unigram(n.Sequence([n.Precompiled(charsmap()), n.Strip(False, True), n.Replace(Regex(" {2,}"), "▁")]), metaspace, d.Metaspace("▁", "always"))
    yield "unigram, bytes", unigram(n.Sequence([n.Nmt(), n.NFKC(), n.Replace(Regex(" {2,}"), " ")]), p.Metaspace("▁", "always", False), d.Sequence([d.Replace("▁", " "), d.ByteFallback(), d.Fuse(), d.Strip(" ", 1, 0)]), byte_fallback=True)
    yield "unigram, prepended", unigram(n.Sequence([n.Prepend("▁"), n.Replace(" ", "▁"), n.Lowercase()]), None, d.Sequence([d.Replace("▁", " "), d.Fuse()]))
    mapped = byte_level(None)
    mapped.normalizer = n.ByteLevel()
    yield "bytes by the normalizer", mapped
    suffixed = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    suffixed.normalizer, suffixed.pre_tokenizer, suffixed.decoder = n.BertNormalizer(), bert(), d.BPEDecoder("</w>")
    suffixed.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=300, special_tokens=["<unk>"], end_of_word_suffix="</w>", show_progress=False))
    yield "suffixes", suffixed
    plain = wordpiece(None, p.WhitespaceSplit())
    data = json.loads(plain.to_str())
    data["decoder"] = None
    yield "no decoder", Tokenizer.from_str(json.dumps(data))


def main():
    if sys.argv[1] == "strings":
        tokenizer = Tokenizer.from_file(sys.argv[2])
        with open(sys.argv[4], "w", encoding="utf-8") as out:
            for row in rows(tokenizer, int(sys.argv[3]), SEED):
                out.write(json.dumps(row, ensure_ascii=True, separators=(",", ":")) + "\n")
    elif sys.argv[1] in ("variants", "words"):
        with open(sys.argv[2], "w", encoding="utf-8") as out:
            for number, (name, tokenizer) in enumerate(variants() if sys.argv[1] == "variants" else word_variants()):
                decoded = []
                samples = list(rows(tokenizer, 14 if sys.argv[1] == "variants" else 40, SEED + number))
                for row in samples:
                    decoded.append(tokenizer.decode(row[1], skip_special_tokens=False))
                record = {"name": name, "tokenizer": json.loads(tokenizer.to_str()), "rows": samples, "decoded": decoded}
                out.write(json.dumps(record, ensure_ascii=True, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
