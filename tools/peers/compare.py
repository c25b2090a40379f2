#!/usr/bin/env python3
"""Measure bantam beside its peers on the same GGUF file, interleaved, and print ratios.

    compare.py MODEL.gguf [-p 512] [-n 64] [-d 0,4096] [-b 1,8] [-t 2] [-r 5] [--bantam target/release/bantam]
               [--openvino] [--json]

Each round runs bantam once and every peer once, so that whatever else the machine does hits all alike. A figure is the
median over rounds; a ratio is the median of the rounds' ratios, with its least and greatest. `peers.py` says which peers
there are: llama-cpp-python where it is installed (build it for this processor), binaries with llama-bench's command line
named by $BANTAM_LLAMA_BENCH, such as "ik=/path/llama-bench;ik repacked=/path/llama-bench -rtr 1", and OpenVINO GenAI.
"""
from __future__ import annotations

import argparse
import json
import statistics

from peers import Bantam, Test, found


def whole_numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def wanted(arguments: argparse.Namespace) -> list[Test]:
    tests = []
    for depth in arguments.depth:
        tests += [Test(prompt, 0, depth, 1) for prompt in arguments.prompt if prompt]
        tests += [Test(0, count, depth, many) for many in arguments.batch for count in arguments.generate if count]
    return tests


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("-p", "--prompt", type=whole_numbers, default=[512])
    parser.add_argument("-n", "--generate", type=whole_numbers, default=[64])
    parser.add_argument("-d", "--depth", type=whole_numbers, default=[0])
    parser.add_argument("-b", "--batch", type=whole_numbers, default=[1])
    parser.add_argument("-t", "--threads", type=int, default=2)
    parser.add_argument("-r", "--rounds", type=int, default=5)
    parser.add_argument("--bantam", default="target/release/bantam")
    parser.add_argument("--openvino", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()

    tests = wanted(arguments)
    ours = Bantam(arguments.bantam, arguments.model, arguments.threads)
    peers = found(arguments.model, arguments.threads, tests, arguments.openvino)
    for peer in peers:
        peer.measure(Test(32, 0, 0, 1))
    report = []
    if not arguments.json:
        print(f"{arguments.model}: {arguments.threads} threads, {arguments.rounds} rounds")
    for test in tests:
        rounds = []
        for _ in range(arguments.rounds):
            rounds.append((ours.result(test), {peer.name: peer.measure(test) for peer in peers}))
        row = summary(test, rounds)
        report.append(row)
        if not arguments.json:
            show(row)
    if arguments.json:
        print(json.dumps(report, indent=1))


def summary(test: Test, rounds: list[tuple[dict, dict]]) -> dict:
    speeds = [result["avg_ts"] for result, _ in rounds]
    share = "int8_share" if test.prompt else "bandwidth_share"
    shares = [result[share] for result, _ in rounds if result[share] is not None]
    row = {"test": test.name(), "bantam": statistics.median(speeds), "peers": {},
           share: statistics.median(shares) if shares else None}
    for name in rounds[0][1]:
        pairs = [(result["avg_ts"], others[name]) for result, others in rounds if others[name]]
        if pairs:
            ratios = [ours / theirs for ours, theirs in pairs]
            row["peers"][name] = {"speed": statistics.median(theirs for _, theirs in pairs),
                                  "ratio": statistics.median(ratios), "ratio_range": [min(ratios), max(ratios)]}
    return row


def show(row: dict) -> None:
    share = next((f" ({100 * row[key]:.0f}% of the {what})" for key, what in
                  [("int8_share", "int8 peak"), ("bandwidth_share", "bandwidth")] if row.get(key)), "")
    print(f"{row['test']:14s} bantam {row['bantam']:8.1f} t/s{share}")
    for name, peer in row["peers"].items():
        low, high = peer["ratio_range"]
        print(f"{'':14s} {name:32s} {peer['speed']:8.1f} t/s   ratio {peer['ratio']:.2f} ({low:.2f}–{high:.2f})")


if __name__ == "__main__":
    main()
