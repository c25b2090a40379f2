#!/usr/bin/env python3
"""Kill `bantam tune` at random moments, and let its disk run full, and compare what comes out in the end bit for bit.

    tune_crashes.py [--bantam target/release/bantam] [--model assets/stories260K-q8_0.gguf] [--kills 20] [--seed 1] [--epochs 120]

One run is never interrupted. Another is killed (SIGKILL) again and again at moments drawn from the seed and gone on with by
--resume; where it comes to its end before it was killed so often, another begins from nothing. A last one may write no larger
file than its state is at first (RLIMIT_FSIZE), so that a later, longer state cannot be written: it must fail, keep the state
before, and go on from it. All adapters must be the same file, and every loss of all steps and measurements the same number.
"""
import argparse
import json
import pathlib
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time

TEXTS = ["Once upon a time there was a small fox.", "The fox liked to play in the park.",
         "One day it rained and the fox went home.", "It played in the park.", "The end."]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bantam", default="target/release/bantam")
    parser.add_argument("--model", default="assets/stories260K-q8_0.gguf")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=120)
    arguments = parser.parse_args()
    if arguments.kills < 1:
        parser.error("--kills: at least 1")
    draw = random.Random(arguments.seed)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tune-crashes-"))
    data = folder / "data.jsonl"
    data.write_text("".join(f'{{"text": "{text}"}}\n' for text in TEXTS))

    def command(out: pathlib.Path) -> list[str]:
        resume = ["--resume"] if (out / "training-state.safetensors").exists() else []
        return [arguments.bantam, "tune", arguments.model, str(data), "-o", str(out), "--epochs", str(arguments.epochs), "--batch", "1",
                "--rank", "4", "--dropout", "0.1", "--save-every", "1", "--validation", "0.2", "--validate-every", "7",
                "--keep-best", *resume]

    def result(out: pathlib.Path):
        run = json.loads((out / "run.json").read_text())
        return (out / "adapter_model.safetensors").read_bytes(), run["losses"], run["validation"]

    def steps(out: pathlib.Path) -> str:
        _, losses, validation = result(out)
        return f"{len(losses)} steps, {len(validation)} measurements"

    def quiet(out: pathlib.Path, **more):
        return subprocess.Popen(command(out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **more)

    whole = folder / "whole"
    begin = time.perf_counter()
    assert quiet(whole).wait() == 0
    length = time.perf_counter() - begin

    moments, rounds, same = [], [], True
    while len(moments) < arguments.kills:
        killed, before = folder / f"killed-{len(rounds) + 1}", len(moments)
        while not (killed / "run.json").exists():
            run = quiet(killed)
            if len(moments) < arguments.kills:
                moment = draw.uniform(0, 1.8 * length / arguments.kills)
                time.sleep(moment)
                run.send_signal(signal.SIGKILL)
                if run.wait() == -signal.SIGKILL:
                    moments.append(moment)
            if run.wait() not in (0, -signal.SIGKILL):
                sys.exit(run.stderr.read())
        rounds.append(len(moments) - before)
        same &= result(killed) == result(whole)
    print(f"{length:.1f} s of work ({steps(whole)}), killed {' + '.join(map(str, rounds))} times, {min(moments):.2f} to {max(moments):.2f} s "
          f"after it (again) began: {'the same bits and losses' if same else 'OTHER BITS'}")

    full = folder / "full"
    run = quiet(full)
    state = full / "training-state.safetensors"
    while not state.exists() and run.poll() is None:
        time.sleep(0.001)
    run.kill()
    run.wait()
    most = state.stat().st_size + 600

    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    run = quiet(full, preexec_fn=limited)
    said = run.communicate()[1].strip().splitlines()[-1:]
    failed = run.returncode not in (0, -signal.SIGXFSZ) and state.exists() and state.stat().st_size <= most
    print(f"a full disk: {'fails and keeps the state' if failed else 'WRONG'}: {said}")
    assert quiet(full).wait() == 0
    alike = result(full) == result(whole)
    print(f"gone on with after it: {'the same bits and losses' if alike else 'OTHER BITS'}")
    sys.exit(0 if same and failed and alike else 1)


if __name__ == "__main__":
    main()
