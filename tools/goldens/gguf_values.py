#!/usr/bin/env python3
"""Files of other writers for the tests of bantam-formats, and a look at its own files through other readers.

Needs: numpy, gguf (0.19), safetensors.

    gguf_values.py write crates/bantam-formats/tests/goldens   # makes values.gguf, values.safetensors, values.npy
    gguf_values.py check DIR                                   # reads such files with PyPI's readers

The tests write the same files again and compare bytes, so what bantam-formats writes is what those readers read.
"""

import sys
from pathlib import Path

import numpy
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter
from safetensors.numpy import load_file, safe_open, save_file

NUMBERS = {
    "uint8": (GGUFValueType.UINT8, 200),
    "int8": (GGUFValueType.INT8, -100),
    "uint16": (GGUFValueType.UINT16, 60_000),
    "int16": (GGUFValueType.INT16, -30_000),
    "uint32": (GGUFValueType.UINT32, 4_000_000_000),
    "int32": (GGUFValueType.INT32, -2_000_000_000),
    "float32": (GGUFValueType.FLOAT32, 0.15625),
    "bool": (GGUFValueType.BOOL, True),
    "uint64": (GGUFValueType.UINT64, 18_000_000_000_000_000_000),
    "int64": (GGUFValueType.INT64, -9_000_000_000_000_000_000),
    "float64": (GGUFValueType.FLOAT64, 0.1),
}
TEXT = "naïve 🦊 text"
STRINGS = ["", "one", "▁two", "\n"]


def tensors():
    """Three tensors; the reader gives dimensions reversed, fastest last."""
    return {
        "a.weight": numpy.arange(12, dtype=numpy.float32).reshape(3, 4) / 8,
        "b.half": numpy.arange(6, dtype=numpy.float16).reshape(2, 3),
        "c.scalar_row": numpy.array([1.5], dtype=numpy.float32),
    }


def write(directory):
    directory = Path(directory)
    writer = GGUFWriter(directory / "values.gguf", "golden")
    for name, (value_type, value) in NUMBERS.items():
        writer.add_key_value(f"value.{name}", value, value_type)
        writer.add_key_value(f"array.{name}", [value, value], GGUFValueType.ARRAY, sub_type=value_type)
    writer.add_key_value("value.string", TEXT, GGUFValueType.STRING)
    writer.add_key_value("array.string", STRINGS, GGUFValueType.ARRAY, sub_type=GGUFValueType.STRING)
    writer.add_key_value("array.bytes", [b"\xff\x00", b"ok"], GGUFValueType.ARRAY, sub_type=GGUFValueType.STRING)
    writer.add_custom_alignment(64)
    for name, data in tensors().items():
        writer.add_tensor(name, data)
    writer.add_tensor("d.q8_0", numpy.arange(68, dtype=numpy.uint8).reshape(2, 34), raw_dtype=GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    save_file(tensors(), directory / "values.safetensors", metadata={"format": "pt"})
    numpy.save(directory / "values.npy", tensors()["a.weight"])


def same(name, found, expected):
    if found != expected:
        sys.exit(f"{name}: expected {expected!r}, found {found!r}")


def check(directory):
    directory = Path(directory)
    reader = GGUFReader(directory / "values.gguf")
    for name, (value_type, value) in NUMBERS.items():
        field = reader.fields[f"value.{name}"]
        same(name, field.types, [value_type])
        same(name, field.contents(), value)
        field = reader.fields[f"array.{name}"]
        same(name, field.types, [GGUFValueType.ARRAY, value_type])
        same(name, field.contents(), [value, value])
    same("string", reader.fields["value.string"].contents(), TEXT)
    same("strings", reader.fields["array.string"].contents(), STRINGS)
    same("alignment", reader.alignment, 64)
    expected = tensors()
    found = {tensor.name: tensor for tensor in reader.tensors}
    same("tensors", list(found), [*expected, "d.q8_0"])
    for name, data in expected.items():
        same(name, found[name].data.dtype, data.dtype)
        same(name, found[name].data.tolist(), data.tolist())
    same("d.q8_0", found["d.q8_0"].tensor_type, GGMLQuantizationType.Q8_0)
    same("d.q8_0", found["d.q8_0"].data.reshape(-1).tolist(), list(range(68)))

    file = load_file(directory / "values.safetensors")
    same("safetensors", sorted(file), sorted(expected))
    for name, data in expected.items():
        same(name, file[name].dtype, data.dtype)
        same(name, file[name].tolist(), data.tolist())
    with safe_open(directory / "values.safetensors", "numpy") as opened:
        same("metadata", opened.metadata(), {"format": "pt"})

    array = numpy.load(directory / "values.npy")
    same("npy", array.dtype, numpy.float32)
    same("npy", array.tolist(), expected["a.weight"].tolist())
    print("all of it reads as it should")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["write", directory]:
            write(directory)
        case ["check", directory]:
            check(directory)
        case _:
            sys.exit(__doc__)
