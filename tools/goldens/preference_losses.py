#!/usr/bin/env python3
"""Losses over answers and their gradients by PyTorch's autograd, for the table in bantam-train/src/preference.rs.

The formulas are those of the papers: DPO (arXiv 2305.18290, with cDPO's smoothing), ORPO (2403.07691), KTO (2402.01306).
"""
import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
chosen, rejected = [-3.5, -20.0, -1.25], [-4.0, -12.0, -30.0]
chosen_before, rejected_before = [-4.5, -18.0, -1.0], [-3.0, -13.5, -28.0]
chosen_tokens, rejected_tokens = [4, 9, 2], [3, 7, 11]


def leaf(numbers):
    return torch.tensor(numbers, requires_grad=True)


def show(name, loss, *leaves):
    loss.backward()
    print(name, f"{loss.item():.9f}", [[round(g, 9) for g in leaf.grad.tolist()] for leaf in leaves])


for smoothing in (0.0, 0.1):
    c, r = leaf(chosen), leaf(rejected)
    margin = 0.3 * ((c - torch.tensor(chosen_before)) - (r - torch.tensor(rejected_before)))
    loss = -(1 - smoothing) * F.logsigmoid(margin) - smoothing * F.logsigmoid(-margin)
    show(f"dpo {smoothing}", loss.mean(), c, r)

c, r = leaf(chosen), leaf(rejected)
cm, rm = c / torch.tensor(chosen_tokens), r / torch.tensor(rejected_tokens)
odds = torch.log(torch.exp(cm) / (1 - torch.exp(cm))) - torch.log(torch.exp(rm) / (1 - torch.exp(rm)))
show("orpo", -c.sum() / sum(chosen_tokens) - 0.2 * F.logsigmoid(odds).mean(), c, r)

for elsewhere in ([2.0, -0.5], [-2.0, -0.5]):
    c, r = leaf(chosen), leaf(rejected)
    gone = torch.tensor(elsewhere).mean().clamp(min=0)
    good = 1.5 * (1 - torch.sigmoid(0.3 * (c - torch.tensor(chosen_before) - gone)))
    bad = 0.5 * (1 - torch.sigmoid(0.3 * (gone - (r - torch.tensor(rejected_before)))))
    show(f"kto {elsewhere}", torch.cat([good, bad]).mean(), c, r)
