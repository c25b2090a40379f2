#!/usr/bin/env python3
"""Tiny random models of every family with logits, from PyPI's transformers.

Writes crates/bantam-testkit/goldens*/tiny-*/ (see `home`): a Hugging Face directory each, with `config.json` as the family's own
checkpoints spell it and their tensor names; `golden.json` beside it (token ids, what each setting, structure and weight
changes, versions), logits as .npy, mostly `model.gguf` with the same weights in llama.cpp's form.

A golden counts only if it would notice: `tiny_changes.py` changes each setting, structural choice and weight in turn, and the
logits must move by at least 100 times the tolerance (1e-4 of their range), else the script fails. So the weights are drawn
widely, and epsilons, windows and softcaps are such that they matter in a model of this size.

Needs: torch, transformers, safetensors, gguf, numpy; with llama-cpp-python installed the GGUF forms are also run by
llama.cpp and compared (its arithmetic is f16 in part). Where it departs, transformers made to do the same must agree with it.
Run from anywhere: python tools/goldens/tiny_families.py [NAME…], then tiny_departures.py for the table.
"""
import argparse
import contextlib
import copy
import json
import math
import pathlib
import shutil
import tempfile

import numpy as np
import torch
import transformers
from safetensors.torch import load_file
from tiny import TOLERANCE, llama_cpp_logits, run, write_golden, write_tokenizer, write_weights
from tiny_changes import CLOSE, build, changed_structure, sensitivity
from tiny_gguf import write_gguf
from tiny_variants import VARIANTS

TESTKIT = pathlib.Path(__file__).resolve().parents[2] / "crates/bantam-testkit"
HEAD_STD = 0.5


def home(name: str) -> pathlib.Path:
    """A golden stands under `goldens` once the program runs its family, under `goldens-next` until then."""
    landed = TESTKIT / "goldens" / name
    return landed if landed.is_dir() else TESTKIT / "goldens-next" / name


def draw(model: torch.nn.Module, variant: dict) -> None:
    """Weights wide enough to matter, rounded to what the files hold."""
    dtype, gains = variant["dtype"], variant.get("gains", {})
    generator = torch.Generator().manual_seed(variant["seed"])
    embedding = model.get_input_embeddings().weight
    head = model.get_output_embeddings()
    for name, weight in model.named_parameters():
        values = torch.randn(weight.shape, generator=generator)
        is_norm = any(part in name.lower() for part in ("norm", "ln_"))
        if is_norm:
            shifted = 0.0 if name.endswith("bias") or type(model).__name__.startswith("Gemma") else 1.0
            values = shifted + 0.3 * values
        elif weight is embedding or "_embeddings" in name or ".wpe." in name:
            values = values * 0.25
        elif head is not None and weight is head.weight:
            values = values * HEAD_STD
        elif name.endswith("bias"):
            values = values * 0.5
        else:
            # Conv1D keeps its weights the other way round.
            fan_in = weight.shape[0] if model.config.model_type == "gpt2" else weight.shape[-1]
            values = values * 2 / math.sqrt(fan_in)
        for part, gain in gains.items():
            if part in name:
                values = values * gain
        if "gates" in variant and weight is embedding:
            values[:, 0] += variant["gates"][0]
        if "gates" in variant and "gate_proj" in name:
            values[:, 0] -= variant["gates"][1]
        values = values + next((shift for part, shift in variant.get("shifts", {}).items() if part in name), 0.0)
        # Through bf16 and f16 both: the GGUF form is f16 throughout.
        rounded = values if dtype == torch.float32 else values.bfloat16().half().float()
        weight.data.copy_(rounded.to(dtype).float())


def checkpoint(model: torch.nn.Module, variant: dict, directory: pathlib.Path) -> dict[str, torch.Tensor]:
    """The weights under the names, and in the shapes, of the family's own checkpoints.

    Beside them, as `config.v5.json`, the same configuration as transformers 5 itself writes it (a tuned model's has such keys).
    """
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        tensors = load_file(pathlib.Path(folder) / "model.safetensors")
        text = (pathlib.Path(folder) / "config.json").read_text()
    (directory / "config.v5.json").write_text(json.dumps(json.loads(text), indent=1) + "\n")
    tensors = {name: value.to(variant["dtype"]).contiguous() for name, value in tensors.items()}
    if "rename" in variant:
        tensors = variant["rename"](tensors, model.config)
    return tensors


def read_again(directory: pathlib.Path, model: torch.nn.Module) -> torch.nn.Module:
    """What counts is what transformers makes of the directory as a stranger would read it."""
    known = type(model).from_pretrained(directory, dtype=torch.float32, attn_implementation="eager",
                                        experts_implementation="eager").eval()
    theirs, ours = dict(known.named_parameters()), dict(model.named_parameters())
    assert theirs.keys() == ours.keys()
    for name, value in ours.items():
        assert torch.equal(theirs[name], value), name
    return known


def read_nested(directory: pathlib.Path, model: torch.nn.Module, tokens: list[int]) -> None:
    """A model of text and images, asked for text alone, is the text model."""
    whole = transformers.Gemma3ForConditionalGeneration.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager")
    assert torch.equal(run(whole.eval(), tokens), run(model, tokens))


def same_when_written_anew(directory: pathlib.Path, model: torch.nn.Module, run) -> None:
    """`config.v5.json` says the same as `config.json`."""
    other = build(json.loads((directory / "config.v5.json").read_text()))
    other.load_state_dict(model.state_dict())
    assert torch.equal(run(other), run(model)), "config.v5.json means another model"


def stability(model: torch.nn.Module, tokens: list[int], prepare, run=run) -> float:
    """How far f32 itself is from the truth, also with each weight off by its last bit: a tolerance below that is idle."""
    logits = run(model, tokens)
    span = logits.max() - logits.min()
    off = copy.deepcopy(model)
    prepare(off)
    generator = torch.Generator().manual_seed(1)
    for weight in off.parameters():
        weight.data *= 1 + 6e-8 * torch.randn(weight.shape, generator=generator).sign()
    double = copy.deepcopy(model).double()
    prepare(double)
    return max((((run(other, tokens) - logits).abs().max()) / span).item() for other in (double, off))


def compare_with_llama_cpp(name: str, path: pathlib.Path, variant: dict, tokens: list[int], model: torch.nn.Module) -> dict | None:
    """Where llama.cpp agrees and where it departs; fails where that is not as the variant says.

    A departure counts as understood only if transformers, made to do the same, agrees with llama.cpp in every row.
    """
    logits = llama_cpp_logits(path, tokens)
    if logits is None:
        return None

    def apart(expected: torch.Tensor) -> np.ndarray:
        return np.abs(logits - expected.numpy()).max(axis=1) / (expected.max() - expected.min()).item()

    departs = variant.get("llama_cpp")
    rows = apart(run(model, tokens))
    count = departs["rows"] if departs else len(tokens)
    found = dict(rows=count)
    if count:
        found["agrees_within"] = float(f"{rows[:count].max():.1e}")
    if departs:
        other = build({**variant["config"], **departs["settings"]})
        other.load_state_dict(model.state_dict())
        variant.get("prepare", lambda model: None)(other)
        with contextlib.ExitStack() as stack:
            for what, change in changed_structure(other):
                if what.endswith(departs.get("structure", ())):
                    stack.enter_context(change())
            mimicked = apart(run(other, tokens))
        found.update(rest_departs_by=float(f"{rows[count:].max():.1e}"), why=departs["why"],
                     made_to_do_the_same_agrees_within=float(f"{mimicked.max():.1e}"))
        assert rows[count:].max() > 2e-2, f"{name}: llama.cpp was expected to depart and does not"
        assert mimicked.max() < 2e-2, f"{name}: llama.cpp departs for another reason too: {mimicked.round(4).tolist()}"
    assert not count or rows[:count].max() < 2e-2, f"{name}: llama.cpp's logits are off: {rows.round(4).tolist()}"
    return found


def make(name: str, variant: dict, scratch: pathlib.Path) -> None:
    directory = home(name)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    config = dict(variant["config"])
    prepare = variant.get("prepare", lambda model: None)
    (directory / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    ids = dict(bos_token_id=config.get("bos_token_id", 0), eos_token_id=config.get("eos_token_id", 1))
    (directory / "generation_config.json").write_text(
        json.dumps(dict(**ids, do_sample=False, transformers_version=config.get("transformers_version", "4.46.0")), indent=1) + "\n")
    write_tokenizer(directory, config["vocab_size"])
    model = build(config)
    draw(model, variant)
    tensors = checkpoint(model, variant, directory)
    if "nested" in variant:
        inner = {key: value for key, value in config.items() if key not in ("architectures", "torch_dtype", "transformers_version")}
        (directory / "config.json").write_text(json.dumps({**variant["nested"], "text_config": inner}, indent=1) + "\n")
        (directory / "config.v5.json").unlink()
        images = {"vision_tower.vision_model.post_layernorm.weight": torch.ones(8), "vision_tower.vision_model.post_layernorm.bias":
                  torch.zeros(8), "multi_modal_projector.mm_soft_emb_norm.weight": torch.zeros(8)}
        named = {f"language_model.{name}": value for name, value in tensors.items()}
        write_weights(directory, {**named, **{name: value.to(variant["dtype"]) for name, value in images.items()}})
        read_nested(directory, model, list(range(40)))
    else:
        write_weights(directory, tensors)
        model = read_again(directory, model)
    prepare(model)

    rng = np.random.default_rng(variant["seed"])
    golden = dict(about=variant["about"], made_by="tools/goldens/tiny_families.py",
                  versions=dict(transformers=transformers.__version__, torch=torch.__version__), tolerance=TOLERANCE,
                  sequences=[])
    sequence_a = rng.integers(0, config["vocab_size"], 48).tolist()
    sequence_b = rng.integers(0, config["vocab_size"], 17).tolist()
    noise = 0.0
    for label, tokens, first_row in (("a", sequence_a, 24), ("b", sequence_b, 0)):
        logits = run(model, tokens).numpy()
        noise = max(noise, stability(model, tokens, prepare))
        np.save(directory / f"logits-{label}.npy", logits[first_row:].astype("<f4"))
        golden["sequences"].append(dict(tokens=tokens, first_row=first_row, logits=f"logits-{label}.npy"))
    golden["noise"] = float(f"{noise:.1e}")

    def prepared(other: torch.nn.Module) -> torch.Tensor:
        prepare(other)
        return run(other, sequence_a)

    if "nested" not in variant:
        same_when_written_anew(directory, model, prepared)

    found = sensitivity(config, model, prepared, skip=variant.get("skip", set()), silent=variant.get("silent", set()),
                        head_std=HEAD_STD, off=variant.get("off", 0.05), extra=variant.get("extra"))
    close = {what: share for what, share in found.items() if CLOSE in what}
    found = {what: share for what, share in found.items() if what not in close}
    weak = {what: share for what, share in found.items() if share < 100 * TOLERANCE}
    weak |= {what: share for what, share in close.items() if share < 5 * TOLERANCE}
    print(f"{name}: noise {noise:.1e}; {len(found)} changes, weakest: {min(found.items(), key=lambda item: item[1])}; close: {close}")
    golden["sensitivity"] = found
    if close:
        golden["close"] = close
    if variant.get("llama_cpp", {}).get("no_form"):
        golden["llama.cpp"] = dict(no_form=variant["llama_cpp"]["why"])
    else:
        path = (directory if variant.get("gguf", True) else scratch) / "model.gguf"
        write_gguf(path, config, tensors)
        golden["llama.cpp"] = compare_with_llama_cpp(name, path, variant, sequence_a, model)
    size = write_golden(directory, golden)
    print(f"  {size / 1000:.0f} kB; llama.cpp: {golden['llama.cpp']}")
    assert not weak, f"{name}: too weak: {weak}"
    assert noise < TOLERANCE / 10, noise
    assert size < 135_000, size


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=[])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    failed = []
    for name in arguments.names or VARIANTS:
        try:
            with tempfile.TemporaryDirectory() as scratch:
                make(name, VARIANTS[name], pathlib.Path(scratch))
        except Exception as error:  # the others are still worth knowing about
            print(f"FAILED {name}: {type(error).__name__}: {error}")
            failed.append(name)
    assert not failed, failed


if __name__ == "__main__":
    main()
