"""Judges answers held to a form: `adversary cases.json TOKENIZERS… | judge.py cases.json`.

Needs PyPI jsonschema and regex.
An answer that was helped to its end is judged whole, so what it was before is a beginning of a valid one. One that never
ended is judged as a beginning: expressions and choices exactly; of JSON everything but what is still open.
"""

import datetime
import decimal
import ipaddress
import json
import re
import sys
import uuid
from collections import Counter

import jsonschema
import regex  # the newest Unicode, as `\d` is all its digits to Rust


def formats():
    checker = jsonschema.FormatChecker()

    def check(name):
        return checker.checks(name, raises=(ValueError, AssertionError))

    @check("date")
    def _(value):
        return not isinstance(value, str) or bool(datetime.date.fromisoformat(value))

    @check("time")
    def _(value):
        return not isinstance(value, str) or moment("2000-01-01T" + value)

    @check("date-time")
    def _(value):
        return not isinstance(value, str) or moment(value)

    @check("uuid")
    def _(value):
        return not isinstance(value, str) or str(uuid.UUID(value)) == value.lower()

    @check("ipv4")
    def _(value):
        return not isinstance(value, str) or bool(ipaddress.IPv4Address(value))

    @check("ipv6")
    def _(value):
        return not isinstance(value, str) or bool(ipaddress.IPv6Address(value))

    @check("hostname")
    def _(value):
        return not isinstance(value, str) or (
            len(value) <= 253 and all(re.fullmatch(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)", part) for part in value.split("."))
        )

    @check("uri")
    def _(value):
        return not isinstance(value, str) or bool(re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]*", value))

    @check("duration")
    def _(value):
        return not isinstance(value, str) or bool(re.fullmatch(r"P(?=.)(\d+[YMWD])*(T(\d+[HMS])+)?", value))

    @check("uint8")
    def _(value):
        return not isinstance(value, int) or 0 <= value < 256

    return checker


def moment(value):
    # A fraction of any length and the letter Z are RFC 3339's, and not everywhere Python's.
    value = re.sub(r"\.(\d{1,6})\d*", lambda found: "." + found[1].ljust(6, "0"), value)
    return datetime.datetime.fromisoformat(value.replace("Z", "+00:00")).tzinfo is not None


def multiple_of(validator, divisor, instance, schema):
    if validator.is_type(instance, "number") and decimal.Decimal(str(instance)) % decimal.Decimal(str(divisor)):
        yield jsonschema.ValidationError(f"{instance} is no multiple of {divisor}")


# ECMA-262's classes, which are not Python's: letters and digits are ASCII's.
ECMA = {
    "w": "0-9A-Za-z_",
    "d": "0-9",
    "s": r"\t\n\x0b\x0c\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff",
}


def pattern(validator, source, instance, schema):
    def named(found):
        name = found[1]
        if name.lower() not in ECMA:
            return found[0]
        return f"[{'^' if name.isupper() else ''}{ECMA[name.lower()]}]"

    if validator.is_type(instance, "string"):
        # Python's `$` also stands before a last newline.
        ecma = re.sub(r"(?s)\\(.)", named, source)
        ecma = re.sub(r"(?<!\\)\$$", r"\\Z", ecma)
        if not regex.search(ecma, instance, regex.V1):
            yield jsonschema.ValidationError(f"{instance!r} does not match {source!r}")


def validator_of(case):
    draft = jsonschema.Draft202012Validator
    schema = case["schema"]
    if isinstance(schema, dict) and isinstance(schema.get("items"), list):
        draft = jsonschema.Draft7Validator
    strict = jsonschema.validators.extend(draft, {"multipleOf": multiple_of, "pattern": pattern})
    return strict(schema, format_checker=formats())


# What the grammars of the cases say, as expressions where they can be.
ANSWER = r"The answer is ([0-9]{1,3}|unknown)\."
WORDS = r"[A-Z][a-z]{2,6}(, [A-Z][a-z]{2,6}){0,3}\."
SUM = r"(?P<sum>(?P<term>\d{1,2}|\((?&sum)\))([+*](?&term)){0,4})"
# Half an escape at a text's end.
HALF = r"(?<!\\)((?:\\\\)*)\\(u.{0,3})?$"
# Numbers of the JSON grammar may begin with a zero, which JSON's may not.
ZEROS = r"(?<![\w.\"\\+-])(-?)0+(?=\d)"


def judge_of(case):
    if "schema" in case:
        validator = validator_of(case)
        return lambda text: not list(validator.iter_errors(json.loads(text)))
    if "regex" in case:
        return lambda text: regex.fullmatch(case["regex"], text) is not None
    if "choices" in case:
        return lambda text: text in case["choices"]
    source = case.get("gbnf") or case["lark"]
    if source.startswith('root ::= "The'):
        return lambda text: re.fullmatch(ANSWER, text, re.ASCII) is not None
    if source.startswith("root ::= expr"):
        return lambda text: isinstance(eval(re.sub(r"\b0+(?=\d)", "", text), {"__builtins__": {}}), int)
    if source.startswith("root   ::= object"):
        return lambda text: isinstance(json.loads(re.sub(ZEROS, r"\1", text)), dict)
    if "WORD" in source:
        return lambda text: re.fullmatch(WORDS, text) is not None
    return lambda text: re.fullmatch(r"(<*)\d{1,4}(>*)", text) is not None and text.count("<") == text.count(">")


def closed(text):
    """A beginning of JSON with what closes it, the path to what is still open, and the text that is, if it is one."""
    stack, path, at, key = [], [], 0, False
    scanner = json.JSONDecoder()
    while at < len(text):
        c = text[at]
        if c in " \t\r\n":
            at += 1
        elif c in "{[":
            stack.append("}" if c == "{" else "]")
            path.append(None if c == "{" else 0)
            key, at = c == "{", at + 1
        elif c in "}]":
            assert stack and stack.pop() == c, f"{c!r} closes nothing at {at}"
            path.pop()
            key, at = False, at + 1
        elif c == ",":
            if stack[-1] == "]":
                path[-1] += 1
            key, at = stack[-1] == "}", at + 1
        elif c == ":":
            key, at = False, at + 1
        elif c == '"':
            try:
                value, end = scanner.raw_decode(text, at)
            except json.JSONDecodeError:
                # A text that is still open: it is left out, with its name or as an item.
                begun = None if key else json.loads(re.sub(HALF, r"\1", text[at:]) + '"')
                return *open_at(text[:at], stack, path, key), begun
            if key:
                path[-1] = value
            at = end
        else:
            # A number or word: whole if something stands behind it.
            end = re.compile(r"[-+.\w]*").match(text, at).end()
            if end == len(text):
                return *open_at(text[:at], stack, path, key), None
            json.loads(re.sub(ZEROS, r"\1", " " + text[at:end]))
            at = end
    return *open_at(text, stack, path, key), None


def open_at(text, stack, path, key):
    text = text.rstrip(" \t\r\n")
    if text.endswith(":"):
        text = text[: text.rindex('"', 0, text.rindex('"'))].rstrip() if stack else text
        # The name itself may have escaped quotation marks: back to the sign before it.
        while text and text[-1] not in "{,":
            text = text[: text.rindex('"', 0, len(text))].rstrip()
    elif key and text.endswith('"') and stack and stack[-1] == "}":
        begin = max(text.rfind("{"), text.rfind(","))
        text = text[: begin + 1]
    text = text.rstrip(" \t\r\n,")
    return text + "".join(reversed(stack)), path


# Texts that formats describe, of those cases whose answers do not end by themselves.
FORMATS = {
    "uri": r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]*",
    "email": r"[^@\s]+@[^@\s]+",
    "hostname": r"[A-Za-z0-9.-]*",
    "uuid": r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}",
    "ipv6": r"[0-9A-Fa-f:.]*",
}


def may_go_on(schema, path, begun):
    """Whether a text that is still open may become one that the schema wants, as far as pattern and format say."""
    for step in path:
        schema = schema.get("properties", {}).get(step) if isinstance(schema, dict) else None
    if not isinstance(schema, dict):
        return True
    sources = [FORMATS.get(schema.get("format"))]
    # Without an anchor what comes may still match.
    sources += [schema["pattern"]] if schema.get("pattern", "").startswith("^") else []
    return all(regex.fullmatch(source, begun, regex.V1, partial=True) for source in sources if source)


def begins(case):
    """Whether an answer that never ended is the beginning of a valid one; none where that is not looked at."""
    if "choices" in case:
        return lambda text: any(choice.startswith(text) for choice in case["choices"])

    def partial(expression, flags=0):
        return lambda text: regex.fullmatch(expression, text, partial=True, flags=flags) is not None

    if "regex" in case:
        return partial(case["regex"])
    if "schema" in case:
        validator = validator_of(case)

        def fits(text):
            whole, path, begun = closed(text)
            if begun is not None and not may_go_on(case["schema"], path, begun):
                return False
            if not whole:
                return True
            for error in validator.iter_errors(json.loads(whole)):
                where = list(error.absolute_path)
                # What is wrong with something that is still open may come right.
                if where != path[: len(where)]:
                    return False
            return True

        return fits
    source = case.get("gbnf") or case["lark"]
    if source.startswith('root ::= "The'):
        return partial(ANSWER, regex.ASCII)
    if source.startswith("root ::= expr"):
        return partial(SUM)
    if source.startswith("root   ::= object"):
        return lambda text: isinstance(json.loads(re.sub(ZEROS, r"\1", closed(text)[0] or "{}")), dict)
    if "WORD" in source:
        return partial(WORDS)
    return lambda text: regex.fullmatch(r"<*(\d{1,4}>*)?", text) is not None and text.count("<") >= text.count(">")


def main():
    cases = json.load(open(sys.argv[1], encoding="utf-8"))
    judges = [judge_of(case) for case in cases]
    beginnings = [begins(case) for case in cases]
    ends, invalid = Counter(), 0
    for line in sys.stdin:
        answer = json.loads(line)
        ends[answer["end"]] += 1
        if answer["end"] not in ("whole", "helped", "cut"):
            continue
        try:
            judge = beginnings if answer["end"] == "cut" else judges
            valid = judge[answer["case"]](answer["text"])
        except Exception as failure:  # a text that is no JSON, a date that is none
            valid, answer["why"] = False, repr(failure)
        if not valid:
            invalid += 1
            print(f"INVALID {json.dumps(cases[answer['case']])[:200]}\n  {json.dumps(answer)[:600]}")
    print(f"{sum(ends.values())} answers: {dict(ends)}; {invalid} invalid")
    sys.exit(invalid > 0 or ends["stuck"] > 0)


main()
