#!/usr/bin/env python3
"""Twelve steps of DPO, ORPO and KTO by PyTorch and PyPI's peft on a tiny model, for bantam-train's tests.

    preference_runs.py        # writes crates/bantam-testkit/goldens-adapters/tiny-qwen2-a/preferences.json
    preference_runs.py --dora # by DoRA: crates/bantam-testkit/goldens-adapters/tiny-qwen2-a-dora/preferences.json

They begin with the adapter of `peft_adapters.py` and its data. A pair is an example and the same prompt with another example's
answer; for KTO every even example is good. The reference is the model with its adapter switched off. KTO's far-off answers are
each example's prompt with the next one's answer, cut where it would be longer than the longest example.

Needs: torch, transformers, peft.
"""
import json
import sys

import torch
import torch.nn.functional as F
from peft import PeftModel
from peft_adapters import BATCH, RATE, ROOT, load
from transformers import get_linear_schedule_with_warmup

STEPS, WARMUP = 12, 2
OUT = ROOT / "goldens-adapters" / ("tiny-qwen2-a-dora" if "--dora" in sys.argv else "tiny-qwen2-a")


def begin(example):
    return example["said"].index(True)


def joined(prompt, answer, longest):
    at = begin(prompt)
    tokens = (prompt["tokens"][:at] + answer["tokens"][begin(answer):])[:longest]
    return dict(tokens=tokens, said=[n >= at for n in range(len(tokens))])


def log_probability(model, example):
    tokens = torch.tensor([example["tokens"]])
    logs = F.log_softmax(model(tokens).logits[0, :-1], -1).gather(1, tokens[0, 1:, None])[:, 0]
    said = torch.tensor(example["said"][1:])
    return logs[said].sum(), int(said.sum())


def dpo(model, chosen, data):
    losses = []
    for at in chosen:
        pair = data["pairs"][at]
        now = [log_probability(model, answer)[0] for answer in pair]
        with torch.no_grad(), model.disable_adapter():
            before = [log_probability(model, answer)[0] for answer in pair]
        losses.append(-F.logsigmoid(0.3 * ((now[0] - before[0]) - (now[1] - before[1]))))
    return torch.stack(losses).mean()


def orpo(model, chosen, data):
    total, count, ratios = 0.0, 0, []
    for at in chosen:
        (c, cn), (r, rn) = (log_probability(model, answer) for answer in data["pairs"][at])
        total, count = total - c, count + cn
        c, r = c / cn, r / rn
        odds = (c - torch.log1p(-torch.exp(c))) - (r - torch.log1p(-torch.exp(r)))
        ratios.append(-F.logsigmoid(odds))
    return total / count + 0.3 * torch.stack(ratios).mean()


def kto(model, chosen, data):
    far = [data["elsewhere"][at] for at in chosen]
    with torch.no_grad():
        gone = torch.stack([log_probability(model, answer)[0] for answer in far])
        with model.disable_adapter():
            gone = (gone - torch.stack([log_probability(model, answer)[0] for answer in far])).mean().clamp(min=0)
    losses = []
    for at in chosen:
        answer, good = data["examples"][at], at % 2 == 0
        now = log_probability(model, answer)[0]
        with torch.no_grad(), model.disable_adapter():
            before = log_probability(model, answer)[0]
        ahead = (now - before) - gone
        losses.append(1 - torch.sigmoid(0.3 * (ahead if good else -ahead)))
    return torch.stack(losses).mean()


def main():
    examples = json.loads((OUT / "training.json").read_text())["examples"]
    longest = max(len(example["tokens"]) for example in examples)
    next_of = lambda at: examples[(at + 1) % len(examples)]
    data = dict(
        examples=examples,
        pairs=[[example, joined(example, next_of(at), longest)] for at, example in enumerate(examples)],
        elsewhere=[joined(example, next_of(at), longest) for at, example in enumerate(examples)],
    )
    order = []
    while len(order) < STEPS:
        order += [range(at, min(at + BATCH, len(examples))) for at in range(0, len(examples), BATCH)]
    found = {}
    for name, loss_of in dict(dpo=dpo, orpo=orpo, kto=kto).items():
        model = PeftModel.from_pretrained(load("tiny-qwen2-a"), OUT / "begin", is_trainable=True)
        trained = [value for value in model.parameters() if value.requires_grad]
        optimiser = torch.optim.AdamW(trained, lr=RATE, weight_decay=0.01)
        schedule = get_linear_schedule_with_warmup(optimiser, WARMUP, STEPS)
        losses, norms = [], []
        for chosen in order[:STEPS]:
            loss = loss_of(model, chosen, data)
            loss.backward()
            norms.append(float(torch.nn.utils.clip_grad_norm_(trained, 1.0)))
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
            losses.append(float(loss.detach()))
        found[name] = dict(losses=losses, norms=norms)
        print(name, losses[0], "…", losses[-1])
    (OUT / "preferences.json").write_text(json.dumps(dict(
        steps=STEPS, batch=BATCH, warmup=WARMUP, rate=RATE, weight_decay=0.01, clip=1.0, beta=0.3, **found)) + "\n")


if __name__ == "__main__":
    main()
