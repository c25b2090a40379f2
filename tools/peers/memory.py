#!/usr/bin/env python3
"""Peak memory of whole processes, a prompt of 512 tokens and 16 generated, bantam beside its peers: a table in Markdown.

    memory.py MODEL.gguf… [-p 512] [-n 16] [-t 2] [--bantam target/release/bantam] [--json]

Measured is the peak of the resident set (ru_maxrss), of which mapped files count what was touched: of `bantam bench`, of the
binaries that $BANTAM_LLAMA_BENCH names (see compare.py), and of llama.cpp through llama-cpp-python, its library called
directly, with a context of that many positions; what Python held before it loaded the model is told apart. The bound is the
file and keys and values, both with 5% more, and 64 MB.
"""
from __future__ import annotations

import argparse
import ctypes
import importlib.util
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile

from peers import Failed, asked, named, run

MIB = 1 << 20


def worker(model: str, prompt: int, generate: int, threads: int) -> None:
    """llama.cpp in a Python of its own."""
    import llama_cpp as c

    quiet = c.llama_log_callback(lambda *_: None)
    c.llama_log_set(quiet, ctypes.c_void_p(0))
    c.llama_backend_init()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    loaded = c.llama_model_load_from_file(model.encode(), c.llama_model_default_params())
    if not loaded:
        sys.exit(f"llama.cpp cannot load {model}")
    options = c.llama_context_default_params()
    options.n_ctx, options.n_threads, options.n_threads_batch = prompt + generate, threads, threads
    context = c.llama_init_from_model(loaded, options)
    vocabulary = c.llama_vocab_n_tokens(c.llama_model_get_vocab(loaded))
    for count in [prompt] + [1] * generate:
        tokens = (c.llama_token * count)(*((i * 7919 + 13) % vocabulary for i in range(count)))
        if c.llama_decode(context, c.llama_batch_get_one(tokens, count)) != 0:
            sys.exit("llama.cpp cannot decode")
        c.llama_synchronize(context)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps([f"llama.cpp ({c.__version__})", peak, before]))


def peak(command: list[str], environment: dict[str, str] | None = None) -> tuple[int, str]:
    """The peak of one process, and what it printed.

    What a process held before exec counts in its peak on Linux, so this one must stay smaller than any that it measures: it
    imports nothing large.
    """
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, **pipes, text=True, env=environment) as process:
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{command[0]} ended with {process.returncode}")
    return usage.ru_maxrss * 1024, printed


def measured(model: str, arguments: argparse.Namespace) -> dict:
    shape = json.loads(run([arguments.bantam, "show", model, "--json"]).stdout)["shape"]
    size = pathlib.Path(model).stat().st_size
    cache = 2 * 2 * shape["layers"] * shape["kv_heads"] * shape["head_width"] * (arguments.prompt + arguments.generate)
    tests = ["-p", str(arguments.prompt), "-n", str(arguments.generate), "-t", str(arguments.threads), "-r", "1"]
    row = {"model": model, "file": size, "keys_and_values": cache, "bound": int(1.05 * (size + cache)) + 64_000_000, "peaks": {}}
    # Not in the form that the user may keep of the model: everybody loads the file.
    with tempfile.TemporaryDirectory() as empty:
        row["peaks"]["Bantam"] = peak([arguments.bantam, "bench", model, *tests, "--json"], os.environ | {"XDG_CACHE_HOME": empty})[0]
    for name, command in named("BANTAM_LLAMA_BENCH"):
        row["peaks"][name] = peak([*command, "-m", model, *tests])[0]
    if importlib.util.find_spec("llama_cpp") is None:
        print("llama-cpp-python is not installed: left out", file=sys.stderr)
        return row
    given = json.dumps([model, arguments.prompt, arguments.generate, arguments.threads])
    name, held, row["python"] = json.loads(run([sys.executable, __file__, "--worker", given]).stdout)
    row["peaks"][name] = held
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("-p", "--prompt", type=int, default=512)
    parser.add_argument("-n", "--generate", type=int, default=16)
    arguments = asked(parser, worker)
    if not arguments.models:
        parser.error("no MODEL")
    rows = [measured(model, arguments) for model in arguments.models]
    if arguments.json:
        print(json.dumps(rows, indent=1))
        return
    names = list(rows[0]["peaks"])
    python = max((row["python"] for row in rows if "python" in row), default=0)
    print(f"Peak memory in MiB, a prompt of {arguments.prompt} tokens and {arguments.generate} generated, {arguments.threads} threads"
          + (f"; of llama.cpp's through Python {python // MIB} are Python and the library." if python else ".") + "\n")
    print("| file | its size | bound | " + " | ".join(names) + " |\n|---|--:|--:|" + "--:|" * len(names))
    for row in rows:
        cells = [pathlib.Path(row["model"]).stem, *(f"{row[key] / MIB:,.0f}" for key in ("file", "bound"))]
        print("| " + " | ".join(cells + [f"{row['peaks'][name] / MIB:,.0f}" for name in names]) + " |")


if __name__ == "__main__":
    try:
        main()
    except Failed as failed:
        sys.exit(str(failed))
