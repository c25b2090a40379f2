#!/usr/bin/env python3
"""Runs products of every format in WebAssembly and compares them with the same products on this machine, bit by bit.

    tools/wasm.py [--speed] [--simd both|on|off] [--rows 1,8,12,40]

Needs Rust's standard library for wasm32-unknown-unknown and the package `wasmtime` of PyPI; where one of them is missing, a line
says so and nothing is run. Builds crates/bantam-kernels/examples/products_by_name.rs as a library for both (as released), with and
without simd128. Exits with 1 where a bit differs.

Equal are the bits of plain Rust as this machine's target has it (`BANTAM_ISA=portable`): neither WebAssembly nor the base
set of x86-64 has fused multiply-adds. Kernels with them (AVX2, AVX-512, NEON) round sums otherwise; by how much at most
stands in the last line.

--speed adds times of one thread, both ways in turns: how many times as long WebAssembly takes as plain Rust, and as the best
instructions of this machine.
"""

import argparse
import ctypes
import os
import pathlib
import platform
import statistics
import struct
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
EXAMPLE = "products_by_name"
TARGET = "wasm32-unknown-unknown"
# Outputs that leave a panel of 16 and one of 32 half empty; inputs of whole blocks of 256.
SHAPE = (88, 512)
SPEED_SHAPE = (1024, 2048)
SPEED_FORMATS = ["Q8_0", "Q4_0", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS", "Q4_1", "Q2_K", "F32", "F16", "BF16"]


def leave_out(why):
    print(f"wasm: left out, {why}")
    sys.exit(0)


def build(target=None, simd=False):
    """The path of the library for a target."""
    folder = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    command = ["cargo", "build", "--quiet", "--locked", "--release", "--package", "bantam-kernels", "--example", EXAMPLE]
    # Flags for all targets would take the place of the target's own.
    environment = {name: value for name, value in os.environ.items() if name not in ("RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS")}
    if target:
        # A folder of its own for each: other flags would have everything compiled anew.
        folder = folder / ("wasm-simd128" if simd else "wasm")
        environment["CARGO_TARGET_DIR"] = str(folder)
        environment["CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS"] = f"-C target-feature={'+' if simd else '-'}simd128"
        command += ["--target", target]
        folder = folder / target
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    name = {"Darwin": f"lib{EXAMPLE}.dylib", "Windows": f"{EXAMPLE}.dll"}.get(platform.system(), f"lib{EXAMPLE}.so")
    return folder / "release" / "examples" / (f"{EXAMPLE}.wasm" if target else name)


class Native:
    """The library on this machine."""

    def __init__(self, path):
        library = ctypes.CDLL(str(path))
        for name in ("formats", "format_name_length", "prepare"):
            getattr(library, name).restype = ctypes.c_size_t
        for name in ("format_name", "result"):
            getattr(library, name).restype = ctypes.c_void_p
        library.multiply_again.restype = None
        self.library = library

    def call(self, name, *arguments):
        return getattr(self.library, name)(*map(ctypes.c_size_t, arguments))

    def bytes(self, place, length):
        return ctypes.string_at(place, length)


class Wasm:
    """The library in a WebAssembly runtime."""

    def __init__(self, wasmtime, path):
        self.store = wasmtime.Store(wasmtime.Engine())
        module = wasmtime.Module(self.store.engine, path.read_bytes())
        self.exports = wasmtime.Instance(self.store, module, []).exports(self.store)

    def call(self, name, *arguments):
        return self.exports[name](self.store, *arguments)

    def bytes(self, place, length):
        return bytes(self.exports["memory"].read(self.store, place, place + length))


def result(library, prepared, portable):
    format_number, (outputs, inputs), rows, rounded = prepared
    length = library.call("prepare", format_number, outputs, inputs, rows, portable, rounded)
    if length == 0:
        return None
    library.call("multiply_again", 1)
    return library.bytes(library.call("result"), 4 * length)


def difference(found, expected):
    """The largest difference beside the largest number."""
    found, expected = (struct.unpack(f"<{len(each) // 4}f", each) for each in (found, expected))
    return max(abs(a - b) for a, b in zip(found, expected)) / max(map(abs, expected))


def compare(native, libraries, names, rows):
    wrong, products, furthest = 0, 0, 0.0
    for number, name in enumerate(names):
        for rounded in (0, 1) if name == "BF16" else (0,):
            for count in rows:
                prepared = (number, SHAPE, count, rounded)
                expected = result(native, prepared, 1)
                if expected is None:
                    continue
                assert all(abs(x) < 1e30 for x in struct.unpack(f"<{len(expected) // 4}f", expected)) or name == "I64", name
                furthest = max(furthest, difference(result(native, prepared, 0), expected))
                for label, library in libraries.items():
                    products += 1
                    if result(library, prepared, 1) != expected:
                        wrong += 1
                        away = difference(result(library, prepared, 1), expected)
                        print(f"wasm, {label}: {name}, {count} rows: other bits than plain Rust's, {away:.1e} away")
    print(f"wasm: {products - wrong} of {products} products of {len(names)} formats have the bits of plain Rust on this machine")
    print(f"wasm: the best instructions of this machine are up to {furthest:.1e} of the largest result away")
    return wrong


def turn(library, times):
    begin = time.perf_counter()
    library.call("multiply_again", times)
    return (time.perf_counter() - begin) / times


def speed(native, best, libraries, names, rows):
    """`best` is a second copy of the library on this machine, so that both can be prepared at once."""
    print(f"\nGop/s on one thread, {SPEED_SHAPE[0]} x {SPEED_SHAPE[1]}, and time beside plain Rust's and the best instructions'")
    for name in SPEED_FORMATS:
        for count in rows:
            prepare = (names.index(name), *SPEED_SHAPE, count)
            native.call("prepare", *prepare, 1, 1)
            best.call("prepare", *prepare, 0, 1)
            for library in libraries.values():
                library.call("prepare", *prepare, 1, 1)
            everyone = {"plain Rust": native, "best": best, **libraries}
            times = {label: [] for label in everyone}
            repeat = {label: max(1, int(0.02 / turn(library, 1))) for label, library in everyone.items()}
            for _ in range(7):
                for label, library in everyone.items():
                    times[label].append(turn(library, repeat[label]))
            work = 2 * SPEED_SHAPE[0] * SPEED_SHAPE[1] * count
            line = f"{name:>7} {count:>3} rows:"
            for label, taken in times.items():
                line += f"  {label} {work / min(taken) / 1e9:.1f}"
                if label in libraries:
                    ratio = [statistics.median(a / b for a, b in zip(taken, times[other])) for other in ("plain Rust", "best")]
                    line += f" ({ratio[0]:.2f}, {ratio[1]:.1f})"
            print(line, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speed", action="store_true", help="measure as well")
    parser.add_argument("--simd", choices=("both", "on", "off"), default="both")
    parser.add_argument("--rows", default="1,8,12,40", help="rows to compare and to measure with")
    arguments = parser.parse_args()
    try:
        import wasmtime
    except ImportError:
        leave_out("the Python package wasmtime is not installed here")
    # Elsewhere plain Rust has fused multiply-adds, which WebAssembly has not.
    if platform.machine().lower() not in ("x86_64", "amd64"):
        leave_out("its bits are those of plain Rust on x86-64 only")
    libdir = subprocess.run(["rustc", "--print", "target-libdir", "--target", TARGET], capture_output=True, text=True)
    if not pathlib.Path(libdir.stdout.strip() or "/nowhere").is_dir():
        leave_out(f"Rust's standard library for {TARGET} is not installed here")
    path = build()
    native = Native(path)
    wanted = {"both": (True, False), "on": (True,), "off": (False,)}[arguments.simd]
    libraries = {("simd128" if simd else "no simd128"): Wasm(wasmtime, build(TARGET, simd)) for simd in wanted}
    names = []
    for number in range(native.call("formats")):
        length = native.call("format_name_length", number)
        names.append(native.bytes(native.call("format_name", number), length).decode())
    rows = [int(count) for count in arguments.rows.split(",")]
    wrong = compare(native, libraries, names, rows)
    if arguments.speed:
        # The same file by another path is another copy, with what it keeps.
        copy = path.with_name("copy-" + path.name)
        copy.write_bytes(path.read_bytes())
        speed(native, Native(copy), libraries, names, rows)
        copy.unlink()
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
