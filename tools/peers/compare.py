#!/usr/bin/env python3
"""Measure bantam beside llama.cpp on the same GGUF file, interleaved, and print ratios.

    compare.py MODEL.gguf [-p 512] [-n 64] [-t 2] [-r 5] [--bantam target/release/bantam] [--json]

Each round runs bantam once and llama.cpp once, so that whatever else the machine does hits both alike. The figure is
the median over rounds; the ratio is the median of the rounds' ratios, with its least and greatest.

Needs: llama-cpp-python (PyPI), built for this processor. Its threads are the same number as bantam's.
"""
from __future__ import annotations

import argparse
import ctypes
import json
import statistics
import subprocess
import sys
import time

import llama_cpp


class LlamaCpp:
    """llama.cpp through its C interface: one model, a fresh context memory for each measurement."""

    def __init__(self, path: str, threads: int, context: int):
        quiet = llama_cpp.llama_log_callback(lambda *_: None)
        self._quiet = quiet
        llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        parameters = llama_cpp.llama_model_default_params()
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), parameters)
        if not self.model:
            sys.exit(f"llama.cpp cannot load {path}")
        options = llama_cpp.llama_context_default_params()
        options.n_ctx = context
        options.n_batch = 2048
        options.n_ubatch = 512
        options.n_threads = threads
        options.n_threads_batch = threads
        self.context = llama_cpp.llama_init_from_model(self.model, options)
        vocabulary = llama_cpp.llama_model_get_vocab(self.model)
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(vocabulary)

    def clear(self) -> None:
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)

    def decode(self, tokens: list[int]) -> None:
        array = (llama_cpp.llama_token * len(tokens))(*tokens)
        if llama_cpp.llama_decode(self.context, llama_cpp.llama_batch_get_one(array, len(tokens))) != 0:
            sys.exit("llama.cpp cannot decode")
        llama_cpp.llama_synchronize(self.context)

    def prompt(self, count: int) -> float:
        self.clear()
        tokens = [(i * 7919 + 13) % self.vocabulary for i in range(count)]
        start = time.perf_counter()
        self.decode(tokens)
        return count / (time.perf_counter() - start)

    def generate(self, count: int) -> float:
        self.clear()
        self.decode([1])
        start = time.perf_counter()
        for i in range(count):
            self.decode([(i * 7919 + 13) % self.vocabulary])
        return count / (time.perf_counter() - start)


def bantam(arguments: argparse.Namespace) -> dict[str, float]:
    command = [arguments.bantam, "bench", arguments.model, "-p", str(arguments.prompt), "-n", str(arguments.generate),
               "-t", str(arguments.threads), "-r", "1", "--json"]
    tests = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    speeds = {}
    for test in tests:
        speeds["prompt" if test["n_prompt"] else "generate"] = test["avg_ts"]
    return speeds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("-p", "--prompt", type=int, default=512)
    parser.add_argument("-n", "--generate", type=int, default=64)
    parser.add_argument("-t", "--threads", type=int, default=2)
    parser.add_argument("-r", "--rounds", type=int, default=5)
    parser.add_argument("--bantam", default="target/release/bantam")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()

    peer = LlamaCpp(arguments.model, arguments.threads, max(arguments.prompt, arguments.generate + 1, 64))
    peer.prompt(min(arguments.prompt, 64))
    ours: dict[str, list[float]] = {"prompt": [], "generate": []}
    theirs: dict[str, list[float]] = {"prompt": [], "generate": []}
    for _ in range(arguments.rounds):
        for name, speed in bantam(arguments).items():
            ours[name].append(speed)
        theirs["prompt"].append(peer.prompt(arguments.prompt))
        theirs["generate"].append(peer.generate(arguments.generate))

    report = {}
    for name in ours:
        ratios = [a / b for a, b in zip(ours[name], theirs[name])]
        report[name] = {
            "bantam": statistics.median(ours[name]),
            "llama.cpp": statistics.median(theirs[name]),
            "ratio": statistics.median(ratios),
            "ratio_range": [min(ratios), max(ratios)],
        }
    if arguments.json:
        print(json.dumps(report, indent=1))
        return
    print(f"{arguments.model}: {arguments.threads} threads, {arguments.rounds} rounds, "
          f"llama-cpp-python {llama_cpp.__version__}")
    for name, row in report.items():
        low, high = row["ratio_range"]
        print(f"{name:9s} bantam {row['bantam']:8.1f} t/s   llama.cpp {row['llama.cpp']:8.1f} t/s   "
              f"ratio {row['ratio']:.2f} ({low:.2f}–{high:.2f})")


if __name__ == "__main__":
    main()
