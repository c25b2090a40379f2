#!/usr/bin/env python3
"""Tiny random Llamas with logits and gradients, from PyPI's transformers.

Writes crates/bantam-testkit/goldens/tiny-llama-*/: a Hugging Face directory each, `golden.json` beside it (token ids, what
each setting and weight changes, versions), logits as .npy, for some `model.gguf` with the same weights.

A golden counts only if it would notice: each setting and each weight is changed in turn, and the logits must move by at
least 100 times the tolerance (1e-4 of their range), else the script fails. So the weights are drawn widely.

Needs: torch, transformers, safetensors, gguf, numpy; with llama-cpp-python installed the GGUF forms are also run by
llama.cpp and compared (its arithmetic is f16, so loosely: a wrong rope or head order would show).
Run from anywhere: python tools/goldens/tiny_llama.py
"""
import copy
import json
import math
import pathlib
import shutil

import gguf
import numpy as np
import torch
import transformers
from tiny import TOLERANCE, llama_cpp_logits, run, tokenizer_pieces, write_golden, write_tokenizer, write_weights
from transformers import LlamaConfig, LlamaForCausalLM

ROOT = pathlib.Path(__file__).resolve().parents[2] / "crates/bantam-testkit/goldens"
COMMON = dict(
    architectures=["LlamaForCausalLM"], model_type="llama", hidden_act="silu", hidden_size=32, num_hidden_layers=2,
    vocab_size=64, max_position_embeddings=128, bos_token_id=0, eos_token_id=1, attention_dropout=0.0,
    initializer_range=0.02, use_cache=True, pretraining_tp=1, transformers_version="4.46.0", attention_bias=False,
    mlp_bias=False,
)
# In each: the configuration as a user's directory has it (older or newer keys), the type of the file's weights, and what
# is written beside it.
VARIANTS = {
    "tiny-llama-a": dict(
        about="grouped queries 4/2, head of its own, GGUF beside", seed=1, dtype=torch.float16, gguf=True,
        config=dict(num_attention_heads=4, num_key_value_heads=2, intermediate_size=40, rms_norm_eps=2e-2,
                    rope_theta=500.0, rope_scaling=None, tie_word_embeddings=False)),
    "tiny-llama-b": dict(
        about="tied embeddings, f32", seed=2, dtype=torch.float32,
        config=dict(num_attention_heads=4, num_key_value_heads=2, intermediate_size=40, rms_norm_eps=1e-2,
                    rope_theta=10000.0, tie_word_embeddings=True)),
    "tiny-llama-c": dict(
        about="llama3 rope scaling, heads of 24 in a width of 32, tied, GGUF beside", seed=3, dtype=torch.bfloat16, gguf=True,
        config=dict(num_attention_heads=2, num_key_value_heads=1, head_dim=24, intermediate_size=40, rms_norm_eps=2e-2,
                    rope_theta=500.0, tie_word_embeddings=True,
                    rope_scaling=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                      original_max_position_embeddings=32))),
    "tiny-llama-d": dict(
        about="biases everywhere, linear rope scaling in the newer form, two shards", seed=4, dtype=torch.bfloat16, shards=2,
        config=dict(num_attention_heads=4, num_key_value_heads=4, head_dim=8, intermediate_size=64, rms_norm_eps=2e-2,
                    rope_parameters=dict(rope_type="linear", factor=3.0, rope_theta=2000.0), attention_bias=True,
                    mlp_bias=True, tie_word_embeddings=False, transformers_version="5.0.0")),
    "tiny-llama-gradients": dict(
        about="gradients of the loss by every weight", seed=5, dtype=torch.float32, gradients=True, bias=1,
        config=dict(hidden_size=16, num_attention_heads=2, num_key_value_heads=1, intermediate_size=24, vocab_size=32,
                    rms_norm_eps=2e-2, rope_theta=500.0, attention_bias=True, tie_word_embeddings=False)),
}
STD = {"embed_tokens": 0.25, "lm_head": 0.5, "q_proj": 0.35, "k_proj": 0.35, "v_proj": 0.3, "o_proj": 0.3,
       "gate_proj": 0.35, "up_proj": 0.35, "down_proj": 0.3}


def draw(model: LlamaForCausalLM, seed: int, dtype: torch.dtype, bias: float) -> None:
    """Weights wide enough to matter (biases `bias` times as wide), rounded to what the files hold."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        kind = name.split(".")[-2]
        values = torch.randn(weight.shape, generator=generator)
        if "norm" in kind:
            values = 1 + 0.3 * values
        else:
            values = values * STD[kind]
            if name.endswith(".bias"):
                values = values * bias
        # Through bf16 and f16 both: the GGUF form is f16 throughout.
        rounded = values if dtype == torch.float32 else values.bfloat16().half().float()
        weight.data.copy_(rounded.to(dtype).float())


def build(config: dict) -> LlamaForCausalLM:
    model = LlamaForCausalLM._from_config(LlamaConfig.from_dict(copy.deepcopy(config)), attn_implementation="eager",
                                          dtype=torch.float32)
    assert model.dtype == torch.float32
    return model.eval()


def changed_settings(config: dict) -> dict[str, dict]:
    """The configuration with one setting changed, by what was changed."""
    out = {}

    def change(what: str, path: list[str], value) -> None:
        changed = copy.deepcopy(config)
        inner = changed
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
        out[what] = changed

    scaling = "rope_parameters" if "rope_parameters" in config else "rope_scaling"
    theta = [scaling, "rope_theta"] if scaling == "rope_parameters" else ["rope_theta"]
    old = config[theta[0]][theta[1]] if len(theta) > 1 else config["rope_theta"]
    change("rope theta × 1.2", theta, old * 1.2)
    change("rms_norm_eps × 1.5", ["rms_norm_eps"], config["rms_norm_eps"] * 1.5)
    change("rms_norm_eps 1e-5", ["rms_norm_eps"], 1e-5)
    for key, value in (config.get(scaling) or {}).items():
        if isinstance(value, float) and key != "rope_theta":
            change(f"{key} × 1.2", [scaling, key], value * 1.2)
        elif isinstance(value, int):
            change(f"{key} × 1.25", [scaling, key], value * 5 // 4)
    if config.get(scaling):
        kept = {"rope_type": "default", "rope_theta": old} if scaling == "rope_parameters" else None
        change("no rope scaling", [scaling], kept)
    heads, kv = config["num_attention_heads"], config["num_key_value_heads"]
    head_dim = config.get("head_dim", config["hidden_size"] // heads)
    split = copy.deepcopy(config)
    if kv % 2 == 0:
        split.update(num_attention_heads=heads // 2, num_key_value_heads=kv // 2, head_dim=head_dim * 2)
    else:
        split.update(num_attention_heads=heads * 2, num_key_value_heads=kv * 2, head_dim=head_dim // 2)
    out["head count"] = split
    return out


def sensitivity(config: dict, model: LlamaForCausalLM, tokens: list[int]) -> dict[str, float]:
    base = run(model, tokens)
    span = (base.max() - base.min()).item()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    found = {}

    def moved(other: LlamaForCausalLM) -> float:
        return round(((run(other, tokens) - base).abs().max() / span).item(), 5)

    for what, changed in changed_settings(config).items():
        other = build(changed)
        other.load_state_dict(state)
        found[what] = moved(other)
    tied = config["tie_word_embeddings"]
    other = build({**config, "tie_word_embeddings": not tied})
    if tied:
        generator = torch.Generator().manual_seed(99)
        head = torch.randn(state["lm_head.weight"].shape, generator=generator) * STD["lm_head"]
        other.load_state_dict({**state, "lm_head.weight": head})
    else:
        other.load_state_dict({**state, "lm_head.weight": state["model.embed_tokens.weight"]})
    found["tied embeddings"] = moved(other)
    for name, weight in model.named_parameters():
        kept = weight.data.clone()
        noise = torch.randn(kept.shape, generator=torch.Generator().manual_seed(7))
        off = 0.25 if name.endswith(".bias") else 0.05
        for what, value in ((f"off by {off:.0%}", kept * (1 + off * noise)), ("zero", torch.zeros_like(kept))):
            weight.data.copy_(value)
            found[f"{name} {what}"] = moved(model)
        weight.data.copy_(kept)
    assert torch.equal(run(model, tokens), base)
    return found


def rope_factors(config: dict, head_dim: int) -> np.ndarray:
    """What each pair's frequency is divided by under llama3 scaling (Llama 3.1's published rule)."""
    scaling = config["rope_scaling"]
    original, low, high = (scaling[key] for key in ("original_max_position_embeddings", "low_freq_factor", "high_freq_factor"))
    factors = []
    for pair in range(head_dim // 2):
        wavelength = 2 * math.pi * config["rope_theta"] ** (2 * pair / head_dim)
        if wavelength < original / high:
            factors.append(1.0)
        elif wavelength > original / low:
            factors.append(scaling["factor"])
        else:
            smooth = (original / wavelength - low) / (high - low)
            factors.append(1 / ((1 - smooth) / scaling["factor"] + smooth))
    return np.array(factors, dtype=np.float32)


def write_gguf(path: pathlib.Path, config: dict, tensors: dict[str, torch.Tensor]) -> None:
    heads, kv = config["num_attention_heads"], config["num_key_value_heads"]
    head_dim = config.get("head_dim", config["hidden_size"] // heads)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(path.parent.name)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    pieces = tokenizer_pieces(config["vocab_size"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(pieces)
    writer.add_token_types([gguf.TokenType.CONTROL if i < 2 else gguf.TokenType.NORMAL for i in range(len(pieces))])
    writer.add_token_merges(["t h", "h e"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_add_bos_token(False)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    if config.get("rope_scaling"):
        writer.add_tensor("rope_freqs.weight", rope_factors(config, head_dim))
    for name, value in tensors.items():
        array = value.float().numpy()
        if ".q_proj." in name or ".k_proj." in name:
            # From halves apart (Hugging Face) to neighbours together (GGUF), head by head.
            count = heads if ".q_proj." in name else kv
            array = array.reshape(count, 2, head_dim // 2, -1).swapaxes(1, 2).reshape(array.shape)
        array = array.astype(np.float16) if array.ndim == 2 else array
        assert np.array_equal(array.astype(np.float32).ravel()[0], array.ravel()[0].astype(np.float32))
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight", ".bias")), np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def compare_with_llama_cpp(path: pathlib.Path, tokens: list[int], expected: np.ndarray) -> str:
    logits = llama_cpp_logits(path, tokens)
    if logits is None:
        return "not run"
    share = float(np.abs(logits - expected).max() / (expected.max() - expected.min()))
    assert share < 2e-2, f"{path}: llama.cpp's logits are off by {share} of the range"
    return f"{share:.1e} of the range (f16 arithmetic)"


def make(name: str, variant: dict) -> None:
    directory = ROOT / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    dtype, config = variant["dtype"], {**COMMON, **variant["config"]}
    config["torch_dtype" if "rope_parameters" not in config else "dtype"] = str(dtype).removeprefix("torch.")
    (directory / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    (directory / "generation_config.json").write_text(
        json.dumps(dict(bos_token_id=0, eos_token_id=1, do_sample=False, transformers_version="4.46.0"), indent=1) + "\n")
    write_tokenizer(directory, config["vocab_size"])

    model = build(config)
    draw(model, variant["seed"], dtype, variant.get("bias", 4))
    tensors = {key: value.detach().to(dtype).contiguous() for key, value in model.named_parameters()}
    assert not config["tie_word_embeddings"] or "lm_head.weight" not in tensors
    write_weights(directory, tensors, variant.get("shards", 1))
    # What counts is what transformers makes of the directory as a stranger would read it.
    model = LlamaForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager").eval()
    for key, value in model.named_parameters():
        assert torch.equal(value.detach(), tensors[key].float()), key

    rng = np.random.default_rng(variant["seed"])
    golden = dict(about=variant["about"], made_by="tools/goldens/tiny_llama.py",
                  versions=dict(transformers=transformers.__version__, torch=torch.__version__), tolerance=TOLERANCE,
                  sequences=[])
    sequence_a = rng.integers(0, config["vocab_size"], 48).tolist()
    sequence_b = rng.integers(0, config["vocab_size"], 17).tolist()
    for label, tokens, first_row in (("a", sequence_a, 24), ("b", sequence_b, 0)):
        logits = run(model, tokens).numpy()
        # How far f32 itself is from the truth; a tolerance below that would be idle.
        exact = run(copy.deepcopy(model).double(), tokens).numpy()
        noise = np.abs(exact - logits).max() / (logits.max() - logits.min())
        assert noise < TOLERANCE / 10, noise
        np.save(directory / f"logits-{label}.npy", logits[first_row:].astype("<f4"))
        golden["sequences"].append(dict(tokens=tokens, first_row=first_row, logits=f"logits-{label}.npy"))
    found = sensitivity(config, model, sequence_a)
    weak = {what: share for what, share in found.items() if share < 100 * TOLERANCE}
    print(f"{name}: {len(found)} changes, weakest: {min(found.items(), key=lambda item: item[1])}")
    assert not weak, f"{name}: too weak: {weak}"
    golden["sensitivity"] = found

    if variant.get("gradients"):
        ids = torch.tensor([sequence_a])
        loss = torch.nn.functional.cross_entropy(model(ids).logits[0, :-1], ids[0, 1:])
        loss.backward()
        golden["loss"] = loss.item()
        flat, table = [], []
        for key, value in model.named_parameters():
            flat.append(value.grad.numpy().ravel())
            table.append(dict(name=key, shape=list(value.shape)))
            assert value.grad.abs().max() > 1e-4, key
        np.save(directory / "gradients.npy", np.concatenate(flat).astype("<f4"))
        golden["gradients"] = dict(file="gradients.npy", weights=table)
    if variant.get("gguf"):
        write_gguf(directory / "model.gguf", config, tensors)
        golden["llama.cpp"] = compare_with_llama_cpp(directory / "model.gguf", sequence_a, run(model, sequence_a).numpy())
    size = write_golden(directory, golden)
    print(f"  {size / 1000:.0f} kB; llama.cpp: {golden.get('llama.cpp', 'no GGUF form')}")
    assert size < 110_000


def main() -> None:
    torch.set_num_threads(1)
    ROOT.mkdir(parents=True, exist_ok=True)
    for name, variant in VARIANTS.items():
        make(name, variant)


main()
