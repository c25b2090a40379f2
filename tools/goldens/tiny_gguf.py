"""The GGUF form of a tiny model, with llama.cpp's own names, layouts and metadata keys.

Facts from PyPI's gguf (names, keys) and llama.cpp's converter: what each architecture records and how it lays weights out.
"""
import math
import pathlib
import re

import gguf
import numpy as np
import torch
from tiny import tokenizer_pieces
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

ARCHITECTURES = {  # transformers' model_type → GGUF's architecture
    "mistral": "llama", "mixtral": "llama", "phi": "phi2", "phi3": "phi3", "phimoe": "phimoe", "gemma": "gemma",
    "gemma2": "gemma2", "gemma3_text": "gemma3", "qwen2": "qwen2", "qwen3": "qwen3", "qwen3_moe": "qwen3moe",
    "stablelm": "stablelm", "gpt2": "gpt2", "olmo2": "olmo2", "granite": "granite", "smollm3": "smollm3", "bert": "bert",
}
# Files made by older writers carry it, and PyPI's gguf has no name for it any more; newer ones say bos_token_id.
CLASS_TOKEN = "tokenizer.ggml.cls_token_id"
# Rope on pairs of neighbours: the rows of queries and keys are laid out for it.
NEIGHBOURS = {"llama", "granite", "smollm3"}
EXPERT = re.compile(r"(.*)\.experts\.(\d+)\.(.*)\.weight")


def pairs_together(array: np.ndarray, heads: int) -> np.ndarray:
    """From halves apart (Hugging Face) to neighbours together, head by head; bias or weight."""
    width = array.shape[0] // heads
    return array.reshape(heads, 2, width // 2, -1).swapaxes(1, 2).reshape(array.shape)


def laid_out(config: dict, tensors: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """The tensors in GGUF's layout under Hugging Face's names, experts stacked."""
    kind, architecture = config["model_type"], ARCHITECTURES[config["model_type"]]
    heads = config.get("num_attention_heads", config.get("n_head"))
    kv = config.get("num_key_value_heads") or heads
    out, stacks = {}, {}
    for name, value in tensors.items():
        if name.endswith((".attn.bias", "position_ids")) or name.startswith("pooler."):
            continue
        array = value.float().numpy()
        if architecture in NEIGHBOURS and (".q_proj." in name or ".k_proj." in name):
            array = pairs_together(array, heads if ".q_proj." in name else kv)
        if kind.startswith("gemma") and name.endswith("norm.weight"):
            array = array + np.float32(1)
        if kind == "gpt2" and array.ndim == 2 and re.search(r"\.c_(attn|proj|fc)\.weight", name):
            array = array.T
        if found := EXPERT.fullmatch(name):
            stacks.setdefault(f"{found[1]}.experts.{found[3]}.weight", {})[int(found[2])] = array
        elif found := re.fullmatch(r"(.*_layernorm)\.norms\.(\d+)\.weight", name):
            stacks.setdefault(f"{found[1]}.weight", {})[int(found[2])] = array
        else:
            out[name] = array
    for name, parts in stacks.items():
        out[name] = np.stack([parts[i] for i in range(len(parts))])
    return out


def write_vocabulary(writer: gguf.GGUFWriter, kind: str, count: int, vocabulary: list[str]) -> None:
    pieces = tokenizer_pieces(count)
    types = [gguf.TokenType.CONTROL if i < 2 else gguf.TokenType.NORMAL for i in range(len(pieces))]
    if kind == "bert":
        # Pieces that begin a word carry a mark, pieces that go on carry none.
        pieces = [piece if piece.startswith("[") else piece.removeprefix("##") if piece.startswith("##") else "▁" + piece
                  for piece in vocabulary]
        types = [gguf.TokenType.CONTROL if i < 5 else gguf.TokenType.NORMAL for i in range(len(pieces))]
        writer.add_tokenizer_model("bert")
        writer.add_tokenizer_pre("bert-bge")
        writer.add_token_list(pieces)
        writer.add_token_types(types)
        writer.add_token_type_count(2)
        writer.add_pad_token_id(0)
        writer.add_unk_token_id(1)
        writer.add_uint32(CLASS_TOKEN, 2)
        writer.add_bos_token_id(2)
        writer.add_sep_token_id(3)
        writer.add_mask_token_id(4)
        return
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(pieces)
    writer.add_token_types(types)
    writer.add_token_merges(["t h", "h e"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_add_bos_token(False)


def write_metadata(writer: gguf.GGUFWriter, config: dict, pooling: str) -> None:
    kind, architecture = config["model_type"], ARCHITECTURES[config["model_type"]]
    known = CONFIG_MAPPING[kind].from_dict(dict(config))
    heads, hidden = known.num_attention_heads, known.hidden_size
    head_dim = config.get("head_dim") or hidden // heads
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_block_count(known.num_hidden_layers)
    writer.add_context_length(known.max_position_embeddings)
    writer.add_embedding_length(hidden)
    writer.add_feed_forward_length(4 * hidden if kind == "gpt2" else known.intermediate_size)
    writer.add_head_count(heads)
    if kind not in ("gpt2", "bert"):
        writer.add_head_count_kv(known.num_key_value_heads)
    if "rms_norm_eps" in config:
        writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    for key in ("layer_norm_eps", "layer_norm_epsilon"):
        if key in config:
            writer.add_layer_norm_eps(config[key])
    if config.get("head_dim"):
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    ropes = getattr(known, "rope_parameters", None)
    rope = (ropes or {}).get("full_attention", ropes)
    if rope:
        writer.add_rope_freq_base(rope["rope_theta"])
        if kind in ("phi", "phi3", "stablelm", "phimoe"):
            writer.add_rope_dimension_count(int(head_dim * rope.get("partial_rotary_factor", 1.0)))
        elif architecture in NEIGHBOURS:
            writer.add_rope_dimension_count(head_dim)
        if rope["rope_type"] == "linear":
            writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
            writer.add_rope_scaling_factor(rope["factor"])
        elif rope["rope_type"] == "yarn":
            writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
            writer.add_rope_scaling_factor(rope["factor"])
            writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    if architecture in ("llama", "granite", "smollm3"):
        writer.add_vocab_size(config["vocab_size"])
    if kind in ("phi3", "phimoe"):
        original = config.get("original_max_position_embeddings") or known.max_position_embeddings
        writer.add_rope_scaling_orig_ctx_len(original)
        writer.add_sliding_window(config.get("sliding_window") or 0)
        if rope["rope_type"] == "longrope":
            scale = known.max_position_embeddings / original
            writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(scale) / math.log(original)) if scale > 1 else 1.0)
    if kind in ("gemma2", "gemma3_text"):
        writer.add_sliding_window(config["sliding_window"])
    if kind == "gemma2":
        writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])
    if kind == "gemma3_text":
        if known.layer_types != ["full_attention" if layer % 6 == 5 else "sliding_attention" for layer in range(known.num_hidden_layers)]:
            # Its converter writes no pattern and its reader then takes every sixth; the reader does know the key.
            writer.add_sliding_window_pattern([layer_type == "sliding_attention" for layer_type in known.layer_types])
        writer.add_rope_freq_base_swa(ropes["sliding_attention"]["rope_theta"])
    if kind in ("mixtral", "phimoe"):
        writer.add_expert_count(config["num_local_experts"])
        writer.add_expert_used_count(config["num_experts_per_tok"])
    if kind == "qwen3_moe":
        writer.add_expert_count(config["num_experts"])
        writer.add_expert_used_count(config["num_experts_per_tok"])
        writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
    if kind == "stablelm":
        writer.add_parallel_residual(config["use_parallel_residual"])
    if kind == "granite":
        writer.add_attention_scale(config["attention_multiplier"])
        writer.add_embedding_scale(config["embedding_multiplier"])
        writer.add_residual_scale(config["residual_multiplier"])
        writer.add_logit_scale(config["logits_scaling"])
    if kind == "bert":
        writer.add_causal_attention(False)
        writer.add_pooling_type(gguf.PoolingType.CLS if pooling == "cls" else gguf.PoolingType.MEAN)


def write_gguf(path: pathlib.Path, config: dict, tensors: dict[str, torch.Tensor], *, pooling: str = "",
               vocabulary: list[str] = ()) -> None:
    architecture = ARCHITECTURES[config["model_type"]]
    layers = config.get("num_hidden_layers", config.get("n_layer"))
    arch = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(arch, layers)
    writer = gguf.GGUFWriter(path, architecture)
    # llama.cpp looks for certain tokens where the name holds "phi3" and the like, and fails without them.
    writer.add_name("tiny")
    write_metadata(writer, config, pooling)
    write_vocabulary(writer, config["model_type"], config["vocab_size"], vocabulary)
    scaling = config.get("rope_scaling") or {}
    for key in ("long", "short"):
        if f"{key}_factor" in scaling:
            writer.add_tensor(f"rope_factors_{key}.weight", np.array(scaling[f"{key}_factor"], dtype=np.float32))
    for name, array in laid_out(config, tensors).items():
        target = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert target, name
        exact = "norm" in target or array.ndim == 1 or any(part in target for part in ("gate_inp", "position_embd", "token_types"))
        if not exact:
            half = array.astype(np.float16)
            assert np.array_equal(half.astype(np.float32), array), name
            array = half
        writer.add_tensor(target, np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
