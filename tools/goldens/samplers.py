#!/usr/bin/env python3
"""Goldens of the samplers: what numpy makes of the same logits with each sampler's published definition.

Writes crates/bantam-engine/tests/it/goldens/samplers.json. Usage: tools/goldens/samplers.py (needs numpy).

Logits are not stored: both sides draw them from the same 64-bit linear congruential generator, in thousandths, so that
some are equal. Definitions: CTRL (repeat penalty), OpenAI's API reference (presence, frequency, bias), the papers on
top-k, nucleus, locally typical and min-p sampling; xoshiro256++ from its authors' C code.
"""

import json
import pathlib

import numpy as np

MASK = (1 << 64) - 1


def logits_of(seed, size, spread):
    x, out = seed, []
    for _ in range(size):
        x = (x * 6364136223846793005 + 1442695040888963407) & MASK
        out.append(((x >> 33) % (2 * spread + 1) - spread) / 1000)
    return np.array(out, dtype=np.float32)


def softmax(logits):
    e = np.exp(logits.astype(np.float64) - logits.max())
    return e / e.sum()


def survivors(case):
    """Ids that survive, and their probabilities: each step written down on whole, sorted arrays."""
    logits = logits_of(case["seed"], case["size"], case["spread"])
    for token, number in case.get("special", {}).items():
        logits[int(token)] = float(number)
    logits[np.isnan(logits)] = -np.inf
    s = case["settings"]
    for token, bias in s.get("logit_bias", {}).items():
        logits[int(token)] += np.float32(bias)
    history = case.get("history", [])
    window = s.get("repeat_last_n", 64)
    history = history if window < 0 else history[len(history) - min(window, len(history)):]
    for token in sorted(set(history)):
        repeat = np.float32(s.get("repeat_penalty", 1.0))
        logits[token] = logits[token] / repeat if logits[token] > 0 else logits[token] * repeat
        logits[token] -= np.float32(history.count(token)) * np.float32(s.get("frequency_penalty", 0.0)) + np.float32(
            s.get("presence_penalty", 0.0))
    ids = np.flatnonzero(logits > -np.inf)
    if s["temperature"] == 0:
        return [int(ids[np.argmax(logits[ids])])], [1.0]
    # Greatest first, lower id first where equal.
    ids = ids[np.lexsort((ids, -logits[ids]))]
    if s.get("top_k", 0) > 0:
        ids = ids[: s["top_k"]]
    if s.get("typical_p", 1.0) < 1:
        p = softmax(logits[ids])
        surprise = -np.log(p)
        entropy = (p * surprise).sum()
        order = np.argsort(np.abs(surprise - entropy), kind="stable")
        mass = np.cumsum(p[order])
        ids = ids[order[: np.searchsorted(mass, np.float64(np.float32(s["typical_p"]))) + 1]]
        ids = ids[np.lexsort((ids, -logits[ids]))]
    if s.get("top_p", 1.0) < 1:
        mass = np.cumsum(softmax(logits[ids]))
        ids = ids[: np.searchsorted(mass, np.float64(np.float32(s["top_p"]))) + 1]
    if s.get("min_p", 0.0) > 0:
        p = softmax(logits[ids])
        ids = ids[p >= np.float64(np.float32(s["min_p"])) * p.max()]
    p = softmax(logits[ids].astype(np.float64) / s["temperature"])
    order = np.argsort(ids)
    return ids[order].tolist(), p[order].tolist()


def cases():
    def case(size, spread, seed, settings, **rest):
        neutral = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "typical_p": 1.0}
        return {"size": size, "spread": spread, "seed": seed, "settings": neutral | settings} | rest

    history = [3, 5, 5, 9, 40, 5, 3, 11, 60, 60, 2]
    for size, spread in ((64, 4000), (3000, 9000)):
        for seed in (1, 2):
            for k in (1, 5, 40, 63, 64, 5000):
                if not (size > 64 and k == 5000):
                    yield case(size, spread, seed, {"top_k": k})
            for p in (0.0, 0.3, 0.9) + ((0.999,) if size == 64 else ()):
                yield case(size, spread, seed, {"top_p": p})
            for p in (0.01, 0.2, 0.9) + ((0.99,) if size == 64 else ()):
                yield case(size, spread, seed, {"typical_p": p})
            for p in (0.01, 0.5, 1.0):
                yield case(size, spread, seed, {"min_p": p})
            for t in (0.0, 0.1, 1.7):
                yield case(size, spread, seed, {"temperature": t, "top_k": 50})
            yield case(size, spread, seed, {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05})
            yield case(size, spread, seed, {"temperature": 0.6, "top_k": 30, "typical_p": 0.8, "top_p": 0.9, "min_p": 0.02})
    for settings in (
        {"repeat_penalty": 1.3},
        {"repeat_penalty": 0.7},
        {"presence_penalty": 0.9},
        {"frequency_penalty": -0.6},
        {"repeat_penalty": 1.2, "presence_penalty": 0.5, "frequency_penalty": 0.25, "repeat_last_n": 4},
        {"repeat_penalty": 1.2, "repeat_last_n": 0},
        {"frequency_penalty": 0.1, "repeat_last_n": -1, "temperature": 0.0},
    ):
        yield case(64, 4000, 7, {"top_k": 20} | settings, history=history * 7 if "repeat_last_n" in settings else history)
    yield case(64, 4000, 8, {"top_k": 10, "logit_bias": {"4": 6.5, "17": -100.0, "63": 3.25}})
    # Numbers that are none, infinities, all equal.
    odd = {"0": "nan", "7": "-inf", "9": "nan"}
    yield case(64, 4000, 9, {"top_p": 0.9}, special=odd)
    yield case(64, 4000, 9, {"temperature": 0.0}, special=odd)
    yield case(64, 0, 9, {"top_k": 7})
    yield case(64, 0, 9, {"temperature": 0.0})
    yield case(64, 0, 9, {"top_p": 0.5})


def generator(seed):
    state = []
    for _ in range(4):
        seed = (seed + 0x9E3779B97F4A7C15) & MASK
        z = seed
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        state.append(z ^ (z >> 31))

    def rotl(x, k):
        return ((x << k) | (x >> (64 - k))) & MASK

    s = state
    while True:
        yield (rotl((s[0] + s[3]) & MASK, 23) + s[0]) & MASK
        t = (s[1] << 17) & MASK
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = rotl(s[3], 45)


def logprob_case(seed, size, spread, top):
    logits = logits_of(seed, size, spread).astype(np.float64)
    logp = logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())
    order = np.lexsort((np.arange(size), -logits))[:top]
    return {"seed": seed, "size": size, "spread": spread,
            "top": [[int(i), round(float(logp[i]), 9)] for i in order]}


def main():
    chain = []
    for case in cases():
        ids, probabilities = survivors(case)
        # Long lists are kept as their sums: enough to tell any other set.
        if len(ids) > 70:
            p = np.array(probabilities)
            case["survivors"] = {"count": len(ids), "sum": sum(ids), "entropy": round(float(-(p * np.log(p)).sum()), 9)}
        else:
            case["ids"] = ids
            case["probabilities"] = [float(f"{p:.7g}") for p in probabilities]
        chain.append(case)
    random = []
    for seed in (0, 1, 42, MASK):
        numbers = generator(seed)
        random.append({"seed": str(seed), "bits": [str(next(numbers)) for _ in range(6)]})
    logprobs = [logprob_case(3, 64, 4000, 5), logprob_case(4, 2000, 9000, 20)]
    out = pathlib.Path(__file__).parents[2] / "crates/bantam-engine/tests/it/goldens/samplers.json"
    lines = ",\n".join(json.dumps(case) for case in chain)
    out.write_text(f'{{"chain": [\n{lines}\n],\n"random": {json.dumps(random)},\n"logprobs": {json.dumps(logprobs)}}}\n')


main()
