#!/usr/bin/env python3
"""Kill `bantam tune` at random moments, and let its disk run full, and compare what comes out in the end bit for bit.

    tune_crashes.py [--bantam target/release/bantam] [--model assets/stories260K-q8_0.gguf] [--kills 20] [--seed 1]

One run is never interrupted. Another is killed (SIGKILL) again and again at moments drawn from the seed and gone on with by
--resume. A third may write no larger file than its state is at first (RLIMIT_FSIZE), so that a later, longer state cannot be
written: it must fail, keep the state before, and go on from it. All three adapters must be the same file.
"""
import argparse
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
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tune-crashes-"))
    data = folder / "data.jsonl"
    data.write_text("".join(f'{{"text": "{text}"}}\n' for text in TEXTS))

    def command(out: pathlib.Path) -> list[str]:
        resume = ["--resume"] if (out / "training-state.safetensors").exists() else []
        return [arguments.bantam, "tune", arguments.model, str(data), "-o", str(out), "--epochs", "120", "--batch", "1",
                "--rank", "4", "--dropout", "0.1", "--save-every", "1", "--validation", "0.2", "--validate-every", "7",
                "--keep-best", *resume]

    def adapter(out: pathlib.Path) -> bytes:
        return (out / "adapter_model.safetensors").read_bytes()

    def quiet(out: pathlib.Path, **more):
        return subprocess.Popen(command(out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **more)

    whole = folder / "whole"
    begin = time.perf_counter()
    assert quiet(whole).wait() == 0
    length = time.perf_counter() - begin

    killed, kills = folder / "killed", 0
    while not (killed / "adapter_model.safetensors").exists():
        run = quiet(killed)
        if kills < arguments.kills:
            time.sleep(draw.uniform(0, 2.2 * length / arguments.kills))
            run.send_signal(signal.SIGKILL)
            kills += run.poll() is None or run.wait() == -signal.SIGKILL
        if run.wait() not in (0, -signal.SIGKILL):
            sys.exit(run.stderr.read())
    same = adapter(killed) == adapter(whole)
    print(f"{kills} kills within {length:.1f} s of work: {'the same bits' if same else 'OTHER BITS'}")

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
    alike = adapter(full) == adapter(whole)
    print(f"gone on with after it: {'the same bits' if alike else 'OTHER BITS'}")
    sys.exit(0 if same and failed and alike else 1)


if __name__ == "__main__":
    main()
