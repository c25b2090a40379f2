"""Writes crates/bantam-text/src/tokenizer/classes.rs: the character classes of BERT's cleaning and of punctuation, as the
`tokenizers` library has them (Unicode 8 and 9), asked of it one code point at a time.

    python tools/make_text_classes.py

Needs PyPI tokenizers (made with 0.23.3) and rustfmt.
"""

import pathlib
import subprocess

from tokenizers import normalizers, pre_tokenizers

TARGET = pathlib.Path(__file__).resolve().parent.parent / "crates/bantam-text/src/tokenizer/classes.rs"
POINTS = [point for point in range(0x110000) if not 0xD800 <= point < 0xE000]
NONE = {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False}


def ranges(points):
    found = []
    for point in points:
        if found and found[-1][1] == point - 1:
            found[-1][1] = point
        else:
            found.append([point, point])
    return found


def main():
    clean = normalizers.BertNormalizer(**(NONE | {"clean_text": True}))
    accents = normalizers.BertNormalizer(**(NONE | {"strip_accents": True}))
    chinese = normalizers.BertNormalizer(**(NONE | {"handle_chinese_chars": True}))
    marks, punctuation = normalizers.StripAccents(), pre_tokenizers.Punctuation("isolated")
    tables = [
        ("CLEANED", "What BERT's cleaning drops: NUL, U+FFFD, control, format and private-use characters.",
         [p for p in POINTS if clean.normalize_str(f"a{chr(p)}b") == "ab"]),
        ("CHINESE", "What BERT's cleaning calls Chinese: the blocks of unified ideographs.",
         [p for p in POINTS if chinese.normalize_str(chr(p)) == f" {chr(p)} "]),
        ("NONSPACING_MARKS", "Non-spacing marks (Mn, Unicode 8), which BERT's accents are.",
         [p for p in POINTS if accents.normalize_str(chr(p)) == ""]),
        ("COMBINING_MARKS", "Marks of every kind (M, Unicode 9), which `StripAccents` drops.",
         [p for p in POINTS if marks.normalize_str(chr(p)) == ""]),
        ("PUNCTUATION", "ASCII's punctuation and symbols, and punctuation (P, Unicode 8).",
         [p for p in POINTS if len(punctuation.pre_tokenize_str(f"a{chr(p)}a")) == 3]),
    ]
    lines = ["//! Character classes as the `tokenizers` library has them. Written by `tools/make_text_classes.py`.", ""]
    for name, about, points in tables:
        rows = ", ".join(f"('\\u{{{a:x}}}', '\\u{{{b:x}}}')" for a, b in ranges(points))
        lines += [f"/// {about}", "#[rustfmt::skip]", f"pub(super) const {name}: &[(char, char)] = &["]
        row = "   "
        for part in rows.split("), "):
            part = part if part.endswith(")") else part + ")"
            if len(row) + len(part) + 2 > 118:
                lines.append(row)
                row = "   "
            row += f" {part},"
        lines += [row, "];", ""]
    lines += [
        "/// Whether `character` lies in one of the ranges of `class`, which ascend.",
        "pub(super) fn is_in(class: &[(char, char)], character: char) -> bool {",
        "    let at = class.partition_point(|&(_, last)| last < character);",
        "    class.get(at).is_some_and(|&(first, _)| first <= character)",
        "}", "",
    ]
    TARGET.write_text("\n".join(lines), encoding="utf-8")
    subprocess.run(["rustfmt", "--edition", "2024", "--config", "max_width=120", str(TARGET)], check=True)


main()
