#!/usr/bin/env python3
"""Adapters in GGUF's form, and llama.cpp's logits with them beside the tiny models of the goldens.

    gguf_adapters.py          # writes crates/bantam-testkit/goldens-adapters/NAME/random.gguf and gguf_logits.json
    gguf_adapters.py MODEL.gguf ADAPTER.gguf TOKEN…     # prints llama.cpp's logits of the last token

The matrices are drawn here and written with PyPI's gguf; llama-cpp-python reads the file and runs the model.

Needs: numpy, gguf, llama-cpp-python.
"""
import ctypes
import json
import pathlib
import sys

import gguf
import llama_cpp as c
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2] / "crates" / "bantam-testkit"
NAMES = ["tiny-qwen2-a", "tiny-llama-a", "tiny-phi3-a"]
SUFFIXES = ("attn_q.weight", "attn_k.weight", "attn_v.weight", "attn_qkv.weight", "attn_output.weight", "ffn_gate.weight",
            "ffn_up.weight", "ffn_down.weight")


def logits(model_path, adapter_path, tokens):
    c.llama_backend_init()
    parameters = c.llama_model_default_params()
    parameters.n_gpu_layers = 0
    model = c.llama_model_load_from_file(str(model_path).encode(), parameters)
    settings = c.llama_context_default_params()
    settings.n_ctx = 64
    settings.type_k = settings.type_v = 0
    settings.flash_attn_type = 0
    context = c.llama_init_from_model(model, settings)
    if adapter_path:
        adapter = c.llama_adapter_lora_init(model, str(adapter_path).encode())
        assert adapter, "the adapter is read"
        if hasattr(c, "llama_set_adapters_lora"):
            kept = (type(adapter) * 1)(adapter)
            c.llama_set_adapters_lora(context, kept, 1, (ctypes.c_float * 1)(1.0))
        else:
            c.llama_set_adapter_lora(context, adapter, 1.0)
    held = (c.llama_token * len(tokens))(*tokens)
    batch = c.llama_batch_get_one(held, len(tokens))
    assert c.llama_decode(context, batch) == 0
    width = c.llama_vocab_n_tokens(c.llama_model_get_vocab(model))
    return np.ctypeslib.as_array(c.llama_get_logits_ith(context, -1), shape=(width,)).copy()


def main():
    if len(sys.argv) > 1:
        print(json.dumps(logits(sys.argv[1], sys.argv[2], [int(token) for token in sys.argv[3:]]).tolist()))
        return
    for name in NAMES:
        path = ROOT / "goldens" / name / "model.gguf"
        reader = gguf.GGUFReader(path)
        architecture = bytes(reader.fields["general.architecture"].parts[-1]).decode()
        out = ROOT / "goldens-adapters" / name
        random = np.random.default_rng(11)
        writer = gguf.GGUFWriter(out / "random.gguf", architecture)
        writer.add_type("adapter")
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", 5.0)
        for tensor in reader.tensors:
            if tensor.name.endswith(SUFFIXES):
                inputs, outputs = (int(n) for n in tensor.shape)
                writer.add_tensor(tensor.name + ".lora_a", random.normal(0, 0.2, (3, inputs)).astype(np.float32))
                writer.add_tensor(tensor.name + ".lora_b", random.normal(0, 0.2, (outputs, 3)).astype(np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        tokens = json.loads((out / "logits.json").read_text())["tokens"]
        plain, found = logits(path, None, tokens), logits(path, out / "random.gguf", tokens)
        moved = float(np.abs(plain - found).max())
        assert moved > 1e-2, moved
        (out / "gguf_logits.json").write_text(json.dumps(dict(tokens=tokens, logits=found.tolist())) + "\n")
        print(name, "moved", moved)


if __name__ == "__main__":
    main()
