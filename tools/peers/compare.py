#!/usr/bin/env python3
"""Measure bantam beside its peers on the same GGUF files, interleaved, and print ratios.

    compare.py MODEL.gguf… [-p 512] [-n 64] [-d 0,4096] [-b 1,8] [-t 2] [-r 5] [--bantam target/release/bantam]
               [--openvino] [--json | --markdown]
    compare.py --make DIR 0.5B-q4_0 1B-q4_k_m …

Each round runs bantam once and every peer once, so that whatever else the machine does hits all alike. A figure is the
median over rounds, with the least and the greatest; a ratio is the median of the rounds' ratios, with theirs. Bandwidth and
int8 peak are what bantam measured just before each of its turns. `peers.py` says which peers there are:

* llama-cpp-python where it is installed (build it for this processor);
* binaries with llama-bench's command line, named by $BANTAM_LLAMA_BENCH, such as
  "ik=/path/llama-bench;ik with repacking=/path/llama-bench -rtr 1";
* binaries with llama-batched-bench's, named by $BANTAM_LLAMA_BATCHED_BENCH, for sequences that generate together;
* OpenVINO GenAI with --openvino.

--make takes names of `models.py` as well and makes those that are missing. --markdown prints a row for each test, as
docs/performance.md has them.
"""
from __future__ import annotations

import argparse
import json
import pathlib
import re
import statistics
import sys

import models
from peers import Bantam, Failed, Peer, Test, found


def whole_numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def wanted(arguments: argparse.Namespace) -> list[Test]:
    tests = []
    for depth in arguments.depth:
        tests += [Test(prompt, 0, depth, 1) for prompt in arguments.prompt if prompt]
        tests += [Test(0, count, depth, many) for many in arguments.batch for count in arguments.generate if count]
    return tests


def files(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> list[str]:
    """Where the models are; names are made first."""
    named = {name: models.Model.named(name) for name in arguments.models if not pathlib.Path(name).exists()}
    for name, model in named.items():
        if model is None or arguments.make is None:
            parser.error(f"{name} is not there" + (": --make DIR makes it" if model else ""))
    paths = dict(zip(named, models.ensure(list(named.values()), models.maker(arguments, arguments.make)))) if named else {}
    return [str(paths.get(name, name)) for name in arguments.models]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("-p", "--prompt", type=whole_numbers, default=[512])
    parser.add_argument("-n", "--generate", type=whole_numbers, default=[64])
    parser.add_argument("-d", "--depth", type=whole_numbers, default=[0])
    parser.add_argument("-b", "--batch", type=whole_numbers, default=[1])
    parser.add_argument("-t", "--threads", type=int, default=2)
    parser.add_argument("-r", "--rounds", type=int, default=5)
    parser.add_argument("--make", type=pathlib.Path, metavar="DIR", help="where models that are named are made")
    models.add_arguments(parser)
    parser.add_argument("--openvino", action="store_true")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true")
    form.add_argument("--markdown", action="store_true")
    arguments = parser.parse_args()

    report = []
    for path in files(arguments, parser):
        if not arguments.json and not arguments.markdown:
            print(f"{path}: {arguments.threads} threads, {arguments.rounds} rounds", flush=True)
        for row in measured(path, arguments):
            report.append(row)
            if arguments.markdown:
                # The table comes at the end, whole; this says how far it is.
                show(row, sys.stderr)
            elif not arguments.json:
                show(row, sys.stdout)
    if arguments.json:
        print(json.dumps(report, indent=1))
    elif arguments.markdown:
        table(report, arguments)
    else:
        print(limits(report))


def measured(path: str, arguments: argparse.Namespace):
    """A row for each test of one file."""
    tests = wanted(arguments)
    ours = Bantam(arguments.bantam, path, arguments.threads)
    peers = found(path, arguments.threads, tests, arguments.openvino)
    failed = set()

    def turn(peer: Peer, test: Test) -> float | None:
        """A peer's speed; one that fails is left out of the rest, with its own words."""
        if peer.name in failed:
            return None
        try:
            return peer.measure(test)
        except Exception as error:
            print(f"{peer.name} is left out: {error}", file=sys.stderr)
            failed.add(peer.name)
            return None

    for test in tests:
        for peer in peers:
            if peer.stays:
                turn(peer, test)
        rounds = []
        for number in range(arguments.rounds):
            # Everybody begins a round once: what drifts within a round is nobody's alone.
            order = [None, *peers]
            begin = number % len(order)
            found_here = {}
            for peer in order[begin:] + order[:begin]:
                if peer is None:
                    own = ours.result(test)
                else:
                    found_here[peer.name] = turn(peer, test)
            rounds.append((own, {peer.name: found_here[peer.name] for peer in peers}))
        yield summary(path, test, rounds)
    for peer in peers:
        peer.close()


def middle(values: list[float]) -> dict:
    return {"median": statistics.median(values), "least": min(values), "greatest": max(values)} if values else {}


def summary(path: str, test: Test, rounds: list[tuple[dict, dict]]) -> dict:
    share = "int8_share" if test.prompt else "bandwidth_share"

    def known(key: str) -> list[float]:
        return [result[key] for result, _ in rounds if result[key] is not None]

    row = {"model": path, "test": test.name(), "name": test.in_words(), "bantam": middle(known("avg_ts")),
           share: middle(known(share)), "bandwidth": middle(known("bandwidth")), "int8_peak": middle(known("int8_peak")),
           "rounds": len(rounds), "peers": {}}
    for name in rounds[0][1]:
        pairs = [(result["avg_ts"], others[name]) for result, others in rounds if others[name]]
        if pairs:
            row["peers"][name] = {"speed": middle([theirs for _, theirs in pairs]),
                                  "ratio": middle([ours / theirs for ours, theirs in pairs])}
    return row


def share_of(row: dict) -> str:
    return next((f"{100 * row[key]['median']:.0f}% of {what}" for key, what in
                 [("int8_share", "the int8 peak"), ("bandwidth_share", "bandwidth")] if row.get(key)), "")


def limits(report: list[dict]) -> str:
    """What the machine could do meanwhile."""
    def over_all(key: str, unit: str) -> str:
        ends = [row[key] for row in report if row[key]]
        if not ends:
            return "not measured"
        low, high = min(end["least"] for end in ends) / 1e9, max(end["greatest"] for end in ends) / 1e9
        return f"{statistics.median(end['median'] for end in ends) / 1e9:,.0f} ({low:,.0f} to {high:,.0f}) {unit}"

    return f"Memory read {over_all('bandwidth', 'GB/s')}, int8 peak {over_all('int8_peak', 'Gop/s')}, measured before each turn."


def show(row: dict, out) -> None:
    speed = row["bantam"]
    print(f"{row['test']:14s} bantam {speed['median']:8.1f} t/s ({speed['least']:.1f}–{speed['greatest']:.1f}) {share_of(row)}",
          file=out)
    for name, peer in row["peers"].items():
        speed, ratio = peer["speed"], peer["ratio"]
        print(f"{'':14s} {name:32s} {speed['median']:8.1f} t/s ({speed['least']:.1f}–{speed['greatest']:.1f})   "
              f"ratio {ratio['median']:.2f} ({ratio['least']:.2f}–{ratio['greatest']:.2f})", file=out, flush=True)


def number(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def label(path: str) -> str:
    """Size and type, where the file's name says them."""
    found = re.search(r"(\d+(?:\.\d+)?)b-([a-z0-9_]+)$", pathlib.Path(path).stem, re.IGNORECASE)
    return f"{found[1]}B {found[2].upper()}" if found else pathlib.Path(path).stem


def table(report: list[dict], arguments: argparse.Namespace) -> None:
    """A row for each test: the fastest peer with its ratio, the others behind it."""
    print(f"{arguments.threads} threads, medians of {arguments.rounds} rounds with the least and the greatest. {limits(report)}\n")
    print("| file | test | Bantam | best peer | ratio to it | others |\n|---|---|--:|--:|--:|---|")
    before = None
    for row in report:
        peers = sorted(row["peers"].items(), key=lambda peer: -peer[1]["speed"]["median"])
        ours = row["bantam"]
        inside = [f"{number(ours['least'])} to {number(ours['greatest'])}", share_of(row)]
        cells = [label(row["model"]) if row["model"] != before else "", row["name"],
                 f"{number(ours['median'])} ({'; '.join(filter(None, inside))})"]
        if peers:
            (name, best), *others = peers
            ratio = best["ratio"]
            cells += [f"{name} {number(best['speed']['median'])}",
                      f"{ratio['median']:.2f} ({ratio['least']:.2f} to {ratio['greatest']:.2f})",
                      "; ".join(f"{name} {number(peer['speed']['median'])}: {peer['ratio']['median']:.2f}"
                                for name, peer in others)]
        else:
            cells += ["", "", ""]
        print("| " + " | ".join(cells) + " |")
        before = row["model"]


if __name__ == "__main__":
    try:
        main()
    except Failed as failed:
        sys.exit(str(failed))
