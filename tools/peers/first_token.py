#!/usr/bin/env python3
"""Time from the start of a process to its first token, a prompt of 32 tokens, bantam beside llama.cpp in turns.

    first_token.py MODEL.gguf… [-p 32] [-r 7] [-t 2] [--optimised] [--cold] [--bantam target/release/bantam] [--json]

`bantam run … --raw -n 1` is timed from its start to its end. llama.cpp through llama-cpp-python is timed from the loading of
the model to its first token, its library called directly; the start of Python, with the library, is told apart and counts in
no ratio. $BANTAM_LLAMA_CLI names binaries that complete a prompt, timed as bantam is: "name=command", several parted by ";",
with the options that make them answer at once, such as
"llama-completion=/path/llama-completion -no-cnv --no-warmup;ik=/path/llama-cli --no-warmup --log-disable"
(without the last, ik_llama.cpp's writes a log where it runs).

--optimised also measures bantam after `bantam optimise`, in a cache of its own (below --cache, by default where temporary files
go). By default all files are in the page cache. --cold pushes those of models out before each turn and says where that failed
(other programs that map them hold them there; what a virtual machine's host keeps cannot be seen); what the disk then reads is
measured too, for comparison. Programs themselves stay in the page cache.
"""
from __future__ import annotations

import argparse
import concurrent.futures
import ctypes
import importlib.util
import json
import mmap
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from peers import Failed, asked, named, run

WORDS = ("The old bridge over the river was closed in spring, so we took the long road through the hills and came home after dark, "
         "tired and hungry, while the rain that nobody had foreseen went on and on until the morning of the next day.")


def worker(model: str, prompt: str, threads: int, begin: float) -> None:
    """llama.cpp in a Python of its own: when each step was done, in seconds since the parent began."""
    import llama_cpp as c

    times = {"started": time.monotonic() - begin, "version": c.__version__}
    quiet = c.llama_log_callback(lambda *_: None)
    c.llama_log_set(quiet, ctypes.c_void_p(0))
    c.llama_backend_init()
    loaded = c.llama_model_load_from_file(model.encode(), c.llama_model_default_params())
    if not loaded:
        sys.exit(f"llama.cpp cannot load {model}")
    options = c.llama_context_default_params()
    options.n_ctx, options.n_threads, options.n_threads_batch = 512, threads, threads
    context = c.llama_init_from_model(loaded, options)
    times["loaded"] = time.monotonic() - begin
    vocabulary, encoded = c.llama_model_get_vocab(loaded), prompt.encode()
    tokens = (c.llama_token * (len(encoded) + 8))()
    count = c.llama_tokenize(vocabulary, encoded, len(encoded), tokens, len(tokens), True, False)
    if c.llama_decode(context, c.llama_batch_get_one(tokens, count)) != 0:
        sys.exit("llama.cpp cannot decode")
    c.llama_sampler_sample(c.llama_sampler_init_greedy(), context, -1)
    times |= {"first": time.monotonic() - begin, "tokens": count}
    print(json.dumps(times), flush=True)
    # What it would take to tidy up is not wanted.
    os._exit(0)


def prompt_of(bantam: str, model: str, count: int) -> str:
    """A text of so many tokens."""
    ids = run([bantam, "tokenize", model, WORDS, "--ids"]).stdout.split()[:count]
    text = run([bantam, "tokenize", model, "--detokenize", " ".join(ids)]).stdout.removesuffix("\n")
    found = len(run([bantam, "tokenize", model, text, "--ids"]).stdout.split())
    if found != count:
        sys.exit(f"no prompt of {count} tokens: {text!r} has {found}")
    return text


def resident(path: pathlib.Path) -> float:
    """Share of a file that is in the page cache (mincore(2))."""
    c, size = ctypes.CDLL(None, use_errno=True), path.stat().st_size
    c.mmap.restype = ctypes.c_void_p
    c.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    with path.open("rb") as file:
        address = c.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), 0)
    pages = -(-size // mmap.PAGESIZE)
    found = (ctypes.c_ubyte * pages)()
    failed = c.mincore(ctypes.c_void_p(address), ctypes.c_size_t(size), found)
    c.munmap(ctypes.c_void_p(address), ctypes.c_size_t(size))
    if failed:
        raise OSError(ctypes.get_errno(), "mincore")
    return sum(page & 1 for page in bytes(found)) / pages


def push_out(paths: list[pathlib.Path]) -> None:
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        # Only what the disk has may go.
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
        if (share := resident(path)) > 0.01:
            print(f"{path}: {100 * share:.0f}% stays in the page cache", file=sys.stderr)


def read(path: pathlib.Path, readers: int = 1) -> float:
    """Reads a file whole, so many pieces at a time; bytes a second."""
    size, piece = path.stat().st_size, 8 << 20
    descriptor = os.open(path, os.O_RDONLY)

    def part(reader: int) -> None:
        buffer = bytearray(piece)
        for at in range(reader * piece, size, readers * piece):
            os.preadv(descriptor, [buffer], at)

    begin = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(readers) as pool:
        list(pool.map(part, range(readers)))
    os.close(descriptor)
    return size / (time.monotonic() - begin)


def files_below(folder: str) -> list[pathlib.Path]:
    return [path for path in pathlib.Path(folder).rglob("*") if path.is_file()]


class Turns:
    """What is measured of one model, and how."""

    def __init__(self, model: str, arguments: argparse.Namespace, empty: str, cache: str):
        self.model, self.arguments, self.cache = model, arguments, cache
        self.prompt = prompt_of(arguments.bantam, model, arguments.prompt)
        threads = str(arguments.threads)
        ours = [arguments.bantam, "run", model, "--raw", "-n", "1", "--temperature", "0", "-t", threads, self.prompt]
        self.commands = {"bantam": (ours, os.environ | {"XDG_CACHE_HOME": empty})}
        if arguments.optimised:
            with_cache = os.environ | {"XDG_CACHE_HOME": cache}
            if shutil.disk_usage(cache).free < 1.2 * pathlib.Path(model).stat().st_size:
                sys.exit(f"not enough room below {cache} for what bantam optimise keeps")
            optimise = [arguments.bantam, "optimise", model, "-t", threads]
            subprocess.run(optimise, env=with_cache, check=True, stdout=subprocess.DEVNULL)
            self.commands["bantam, optimised"] = (ours, with_cache)
        for name, command in named("BANTAM_LLAMA_CLI"):
            command += ["-m", model, "-p", self.prompt, "-n", "1", "-t", threads, "-c", "512", "--temp", "0"]
            self.commands[name] = (command, os.environ)
        self.times: dict[str, list[float]] = {}
        self.start: list[float] = []
        self.disk: dict[int, list[float]] = {}

    def prepare(self) -> None:
        """All that may be read, out of the page cache or into it."""
        files = [pathlib.Path(self.model), *files_below(self.cache)]
        if self.arguments.cold:
            push_out(files)
        else:
            for path in files:
                if resident(path) < 1:
                    read(path)

    def timed(self, command: list[str], environment: dict[str, str]) -> float:
        self.prepare()
        begin = time.monotonic()
        result = subprocess.run(command, env=environment, capture_output=True, stdin=subprocess.DEVNULL)
        taken = time.monotonic() - begin
        if result.returncode != 0:
            sys.exit(f"{command[0]}: {result.stderr.decode(errors='replace').strip()[-300:] or result.returncode}")
        return taken

    def round(self) -> None:
        for name, (command, environment) in self.commands.items():
            self.times.setdefault(name, []).append(self.timed(command, environment))
        self.library()
        if self.arguments.cold:
            for readers in (1, 4):
                push_out([pathlib.Path(self.model)])
                self.disk.setdefault(readers, []).append(read(pathlib.Path(self.model), readers))

    def library(self) -> None:
        if importlib.util.find_spec("llama_cpp") is None:
            print("llama-cpp-python is not installed: left out", file=sys.stderr)
            return
        self.prepare()
        given = [self.model, self.prompt, self.arguments.threads, time.monotonic()]
        command = [sys.executable, __file__, "--worker", json.dumps(given)]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode != 0:
            sys.exit(result.stderr.strip()[-300:])
        times = json.loads(result.stdout)
        # A BOS may come before it.
        if times["tokens"] - self.arguments.prompt not in (0, 1):
            sys.exit(f"llama.cpp reads {times['tokens']} tokens where bantam reads {self.arguments.prompt}")
        self.start.append(times["started"])
        self.times.setdefault(f"llama.cpp ({times['version']})", []).append(times["first"] - times["started"])

    def report(self) -> dict:
        def middle(values: list[float]) -> list[float]:
            return [statistics.median(values), min(values), max(values)]

        ours = self.times["bantam"]
        size = pathlib.Path(self.model).stat().st_size
        return {
            "model": self.model, "bytes": size, "prompt": self.arguments.prompt, "cold": self.arguments.cold,
            "seconds": {name: middle(times) for name, times in self.times.items()},
            "ratio": {name: middle([mine / other for mine, other in zip(ours, times)]) for name, times in self.times.items()
                      if not name.startswith("bantam")},
            "optimised_ratio": {name: middle([mine / other for mine, other in zip(self.times["bantam, optimised"], times)])
                                for name, times in self.times.items() if not name.startswith("bantam")}
            if self.arguments.optimised else {},
            "start_of_python": middle(self.start) if self.start else None,
            "disk": {str(readers): middle(found) for readers, found in self.disk.items()},
        }


def show(row: dict, rounds: int) -> None:
    size = row["bytes"]
    print(f"{row['model']}: {size / 1e6:,.0f} MB, {'out of' if row['cold'] else 'in'} the page cache, prompt of {row['prompt']} "
          f"tokens, {rounds} rounds")
    for name, (median, low, high) in row["seconds"].items():
        line = f"  {name:24s} {median:7.3f} s ({low:.3f}–{high:.3f})"
        for what, ratios in (("bantam", row["ratio"]), ("optimised", row["optimised_ratio"])):
            if name in ratios:
                line += "   {}: {:.2f} of it ({:.2f}–{:.2f})".format(what, *ratios[name])
        print(line)
    if row["start_of_python"]:
        print("  {:24s} {:7.3f} s ({:.3f}–{:.3f}), not counted".format("start of Python", *row["start_of_python"]))
    for readers, (median, low, high) in row["disk"].items():
        print(f"  the disk reads {median / 1e6:,.0f} MB/s ({low / 1e6:,.0f}–{high / 1e6:,.0f}) in {readers} at a time: "
              f"the file in {size / median:.3f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("-p", "--prompt", type=int, default=32, help="tokens of the prompt, at most some 40")
    parser.add_argument("-r", "--rounds", type=int, default=7)
    parser.add_argument("--optimised", action="store_true")
    parser.add_argument("--cache", help="where the folder for optimised weights is made")
    parser.add_argument("--cold", action="store_true")
    arguments = asked(parser, worker)
    if not arguments.models:
        parser.error("no MODEL")
    rows = []
    for model in arguments.models:
        with tempfile.TemporaryDirectory(dir=arguments.cache) as empty, tempfile.TemporaryDirectory(dir=arguments.cache) as cache:
            turns = Turns(model, arguments, empty, cache)
            for _ in range(arguments.rounds):
                turns.round()
            rows.append(turns.report())
        if not arguments.json:
            show(rows[-1], arguments.rounds)
    if arguments.json:
        print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    try:
        main()
    except Failed as failed:
        sys.exit(str(failed))
