#!/usr/bin/env python3
"""Makes a Hugging Face directory out of the author's own files of stories260K.

    python tools/stories_to_hf.py OUT [--shared ../shared] [--check]

Reads stories260K.bin and tok512.bin (formats of karpathy/llama2.c: run.c, tokenizer.py) and writes OUT/config.json,
model.safetensors, generation_config.json, tokenizer_config.json, special_tokens_map.json and tokenizer.model (a
SentencePiece model, written field by field after sentencepiece_model.proto).

Needs: numpy, safetensors. `--check` also needs torch, transformers and sentencepiece: it loads the result with them and
compares transformers' greedy text with the author's.
"""
import argparse
import json
import pathlib
import struct

import numpy as np
from safetensors.numpy import save_file

NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6


def read_weights(path: pathlib.Path) -> tuple[dict, dict[str, np.ndarray]]:
    data = path.read_bytes()
    dim, hidden, layers, heads, kv_heads, vocab, context = struct.unpack_from("<7i", data)
    tied, vocab = vocab > 0, abs(vocab)
    head_dim = dim // heads
    floats, at = np.frombuffer(data, "<f4", offset=28), 0

    def take(*shape: int) -> np.ndarray:
        nonlocal at
        count = int(np.prod(shape))
        at += count
        return floats[at - count:at].reshape(shape)

    embed = take(vocab, dim)
    attn_norm = take(layers, dim)
    q, k = take(layers, dim, dim), take(layers, kv_heads * head_dim, dim)
    v, o = take(layers, kv_heads * head_dim, dim), take(layers, dim, dim)
    ffn_norm = take(layers, dim)
    gate, down, up = take(layers, hidden, dim), take(layers, dim, hidden), take(layers, hidden, dim)
    norm = take(dim)
    take(2, context, head_dim // 2)  # tables of the rotary embedding, computed anew by everyone since
    head = embed if tied else take(vocab, dim)
    assert at == floats.size, f"{floats.size - at} numbers left over"

    def halves_apart(weight: np.ndarray, count: int) -> np.ndarray:
        """From neighbouring pairs to pairs half a head apart."""
        return weight.reshape(count, head_dim // 2, 2, dim).swapaxes(1, 2).reshape(weight.shape)

    tensors = {"model.embed_tokens.weight": embed, "model.norm.weight": norm}
    if not tied:
        tensors["lm_head.weight"] = head
    for i in range(layers):
        prefix = f"model.layers.{i}."
        tensors |= {
            prefix + "input_layernorm.weight": attn_norm[i],
            prefix + "post_attention_layernorm.weight": ffn_norm[i],
            prefix + "self_attn.q_proj.weight": halves_apart(q[i], heads),
            prefix + "self_attn.k_proj.weight": halves_apart(k[i], kv_heads),
            prefix + "self_attn.v_proj.weight": v[i],
            prefix + "self_attn.o_proj.weight": o[i],
            prefix + "mlp.gate_proj.weight": gate[i],
            prefix + "mlp.up_proj.weight": up[i],
            prefix + "mlp.down_proj.weight": down[i],
        }
    config = dict(
        architectures=["LlamaForCausalLM"], model_type="llama", hidden_act="silu", hidden_size=dim, intermediate_size=hidden,
        num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=kv_heads, vocab_size=vocab,
        max_position_embeddings=context, rms_norm_eps=1e-5, rope_theta=10000.0, rope_scaling=None, attention_bias=False,
        bos_token_id=1, eos_token_id=2, tie_word_embeddings=tied, torch_dtype="float32", use_cache=True,
        transformers_version="4.46.0")
    return config, {name: np.ascontiguousarray(value, dtype="<f4") for name, value in tensors.items()}


def read_pieces(path: pathlib.Path, count: int) -> list[tuple[str, float, int]]:
    data, at = path.read_bytes(), 4
    pieces = []
    for index in range(count):
        score, length = struct.unpack_from("<fi", data, at)
        text = data[at + 8:at + 8 + length].decode()
        at += 8 + length
        if index < 3:
            pieces.append((("<unk>", "<s>", "</s>")[index], 0.0, UNKNOWN if index == 0 else CONTROL))
        elif index < 259:
            pieces.append((f"<0x{index - 3:02X}>", 0.0, BYTE))
        else:
            pieces.append((text.replace(" ", "\u2581"), score, NORMAL))
    assert at == len(data), "more pieces than the model has"
    return pieces


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + bytes([value]))


def field(number: int, value: int | float | bytes | str) -> bytes:
    """A field of a protocol buffer: varint, fixed 32-bit float or length-delimited."""
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def sentencepiece_model(pieces: list[tuple[str, float, int]]) -> bytes:
    # Field numbers of sentencepiece_model.proto: ModelProto {pieces 1, trainer_spec 2, normalizer_spec 3},
    # SentencePiece {piece 1, score 2, type 3}, TrainerSpec {model_type 3 (BPE = 2), vocab_size 4, byte_fallback 35,
    # unk_id 40, bos_id 41, eos_id 42}, NormalizerSpec {name 1, add_dummy_prefix 3, remove_extra_whitespaces 4,
    # escape_whitespaces 5}. Negative ids (no padding piece) take ten bytes.
    out = b"".join(field(1, field(1, text) + field(2, score) + field(3, kind)) for text, score, kind in pieces)
    trainer = field(3, 2) + field(4, len(pieces)) + field(35, 1) + field(40, 0) + field(41, 1) + field(42, 2)
    trainer += field(43, 2**64 - 1)
    normalizer = field(1, "identity") + field(3, 1) + field(4, 0) + field(5, 1)
    return out + field(2, trainer) + field(3, normalizer)


def check(out: pathlib.Path, stories: pathlib.Path) -> None:
    import sentencepiece
    import torch
    from transformers import LlamaForCausalLM
    text = stories.read_text().split("-t 0.0\n", 1)[1].split("```")[0].strip()
    model = LlamaForCausalLM.from_pretrained(out, dtype=torch.float32)
    tokenizer = sentencepiece.SentencePieceProcessor(model_file=str(out / "tokenizer.model"))
    ids = model.generate(torch.tensor([[1]]), do_sample=False, max_new_tokens=256)[0].tolist()  # as many as run.c makes
    found = tokenizer.decode(ids)
    agree = next((i for i, (a, b) in enumerate(zip(found, text)) if a != b), min(len(found), len(text)))
    print(f"{agree} of the author's {len(text)} characters")
    assert agree == len(text), found
    encoded = tokenizer.encode(text, add_bos=True)
    assert tokenizer.decode(encoded) == text
    print(f"the author's text is {len(encoded)} tokens, {sum(a == b for a, b in zip(encoded, ids))} as generated")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--shared", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parents[2] / "shared")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    source, out = arguments.shared / "data/stories260k", arguments.out
    out.mkdir(parents=True, exist_ok=True)
    config, tensors = read_weights(source / "stories260K.bin")
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)

    def write(name: str, value: dict) -> None:
        (out / name).write_text(json.dumps(value, indent=2) + "\n")

    write("config.json", config)
    write("generation_config.json", dict(bos_token_id=1, eos_token_id=2, transformers_version="4.46.0"))
    write("special_tokens_map.json", dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>"))
    write("tokenizer_config.json", dict(tokenizer_class="LlamaTokenizer", add_bos_token=True, add_eos_token=False,
                                        bos_token="<s>", eos_token="</s>", unk_token="<unk>", legacy=True,
                                        clean_up_tokenization_spaces=False, model_max_length=config["max_position_embeddings"]))
    (out / "tokenizer.model").write_bytes(sentencepiece_model(read_pieces(source / "tok512.bin", config["vocab_size"])))
    if arguments.check:
        check(out, source / "stories260K.md")


main()
