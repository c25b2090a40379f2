#!/usr/bin/env python3
"""Adapters made by PyPI's peft, and 50 steps of its training, beside the tiny models of the goldens.

    peft_adapters.py          # writes crates/bantam-testkit/goldens-adapters/
    peft_adapters.py --dora   # only those of DoRA
    peft_adapters.py --saved  # only those with modules that are saved whole

For each model: a PEFT directory with random matrices and the logits of one sequence with it. For one of them also the adapter
that training begins with, the data, the loss of each of 50 steps (PyTorch in f32, AdamW, clipping, linear schedule) and the
adapter after them.

Needs: torch, transformers, peft, safetensors, numpy.
"""
import json
import pathlib
import shutil
import sys

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, get_linear_schedule_with_warmup

ROOT = pathlib.Path(__file__).resolve().parents[2] / "crates" / "bantam-testkit"
STEPS, BATCH, WARMUP, RATE = 50, 4, 3, 5e-3
MODELS = {
    "tiny-qwen2-a": dict(target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
                         r=4, lora_alpha=8),
    "tiny-llama-a": dict(target_modules=["q_proj", "k_proj", "down_proj"], r=3, lora_alpha=5, use_rslora=True),
    "tiny-phi3-a": dict(target_modules=["qkv_proj", "o_proj", "gate_up_proj"], r=4, lora_alpha=6,
                        rank_pattern={"o_proj": 2}, alpha_pattern={"model.layers.0.self_attn.o_proj": 9}),
    "tiny-gpt2": dict(target_modules=["c_attn", "c_fc", "mlp.c_proj"], r=2, lora_alpha=4, fan_in_fan_out=True),
}
# The same with DoRA (`use_dora`), in folders of their own.
DORA = {name: {**MODELS[name], "use_dora": True} for name in ("tiny-qwen2-a", "tiny-phi3-a", "tiny-gpt2")}
# The same with modules that are trained and saved whole (`modules_to_save`): a head taken apart from the table of tokens, norms
# that are kept less one, norms with biases.
SAVED = {
    "tiny-qwen2-a": {**MODELS["tiny-qwen2-a"], "target_modules": ["q_proj", "down_proj"],
                     "modules_to_save": ["lm_head", "norm"]},
    "tiny-gemma-a": dict(target_modules=["v_proj"], r=2, lora_alpha=4, modules_to_save=["embed_tokens", "model.norm"]),
    "tiny-gpt2": dict(target_modules=["c_attn"], r=2, lora_alpha=4, fan_in_fan_out=True, modules_to_save=["ln_f", "wte"]),
}


def adapted(name: str, base, config: dict):
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, **config))
    model.peft_config["default"].base_model_name_or_path = name
    return model


def load(name: str):
    model = AutoModelForCausalLM.from_pretrained(ROOT / "goldens" / name, dtype=torch.float32,
                                                 attn_implementation="eager")
    return model.eval()


def examples(vocabulary: int) -> list[dict]:
    """Sequences with a pattern that can be learned; the first tokens of each are given, not said."""
    random = np.random.default_rng(5)
    made = []
    for _ in range(18):
        step, token, tokens = int(random.integers(2, 5)), int(random.integers(2, vocabulary)), []
        for _ in range(int(random.integers(8, 30))):
            tokens.append(token)
            token = 2 + (token - 2 + step) % (vocabulary - 2) if random.random() < 0.8 else int(random.integers(2, vocabulary))
        given = int(random.integers(1, 6))
        made.append(dict(tokens=tokens, said=[at >= given for at in range(len(tokens))]))
    return made


def loss_of(model, chosen: list[dict]) -> torch.Tensor:
    """Mean over all said tokens of the batch, each example alone."""
    total, count = 0.0, 0
    for example in chosen:
        tokens = torch.tensor([example["tokens"]])
        logits = model(tokens).logits[0, :-1]
        said = torch.tensor(example["said"][1:])
        losses = torch.nn.functional.cross_entropy(logits, tokens[0, 1:], reduction="none")
        total = total + losses[said].sum()
        count += int(said.sum())
    return total / count


def train(name: str, config: dict, out: pathlib.Path) -> None:
    torch.manual_seed(3)
    model = adapted(name, load(name), config)
    model.save_pretrained(out / "begin")
    data = examples(model.config.vocab_size)
    trained = [value for value in model.parameters() if value.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=RATE, weight_decay=0.01)
    schedule = get_linear_schedule_with_warmup(optimiser, WARMUP, STEPS)
    order, losses = [], []
    while len(order) < STEPS:
        order += [data[at:at + BATCH] for at in range(0, len(data), BATCH)]
    model.train()
    for chosen in order[:STEPS]:
        loss = loss_of(model, chosen)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        losses.append(float(loss.detach()))
    model.eval()
    model.save_pretrained(out / "end")
    (out / "training.json").write_text(json.dumps(dict(
        model=name, steps=STEPS, batch=BATCH, warmup=WARMUP, rate=RATE, weight_decay=0.01, clip=1.0,
        rank=config["r"], alpha=config["lora_alpha"], examples=data, losses=losses)) + "\n")
    print(name, "losses", losses[0], "…", losses[-1])


def main() -> None:
    kinds = {"": MODELS, "-dora": DORA, "-saved": SAVED}
    only = [kind for kind in kinds if kind and f"-{kind}" in sys.argv] or list(kinds)
    for name, config, folder in [(name, config, name + kind) for kind in only for name, config in kinds[kind].items()]:
        out = ROOT / "goldens-adapters" / folder
        shutil.rmtree(out, ignore_errors=True)
        torch.manual_seed(1)
        base = load(name)
        tokens = torch.tensor([[(7 * at + 3) % base.config.vocab_size for at in range(1, 7)]])
        plain = base(tokens).logits[0]
        model = adapted(name, base, config).eval()
        with torch.no_grad():
            for key, value in model.named_parameters():
                if ".lora_B." in key:
                    value.normal_(0, 0.2)
                if "modules_to_save" in key:
                    value.add_(0.2 * value.abs().mean() * torch.randn_like(value))
                if "lora_magnitude_vector" in key:
                    value.mul_(1 + 0.3 * torch.rand_like(value))
            logits = model(tokens).logits[0]
        model.save_pretrained(out / "random")
        moved = float((logits - plain).detach().abs().max())
        assert moved > 1e-2, moved
        (out / "logits.json").write_text(json.dumps(dict(
            tokens=tokens[0].tolist(), moved=moved, logits=logits.detach().tolist())) + "\n")
        if name == "tiny-qwen2-a":
            train(name, config, out)
        for readme in out.rglob("README.md"):
            readme.unlink()
        print(name, "moved", moved)


if __name__ == "__main__":
    main()
