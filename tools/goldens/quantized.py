#!/usr/bin/env python3
"""Quantized weights of every scheme with what the scheme's own software makes of them.

Writes crates/bantam-model/tests/goldens/quantized/CASE.safetensors: the parts of one module `m` as a checkpoint holds them,
and beside them `f32` (the dequantized weight, the reference's arithmetic done in f32) and `own` (the same in the type the
reference gives). The metadata has `config` (a config.json) and `type` (the tensor type Bantam should keep it in).

And crates/bantam-testkit/goldens-quantized/SCHEME/: a tiny Llama each whose weights are such parts, with the logits that
transformers computes in f32 from the reference's weights.

References: AutoGPTQ's QuantLinear, AutoAWQ's dequantize_gemm, bitsandbytes' CPU kernels, the compressors of
compressed-tensors, transformers' Fp8Dequantize, mlx's dequantize.

Needs: torch, transformers, numpy, safetensors, bitsandbytes, compressed-tensors (and loguru), mlx with mlx-cpu; AutoGPTQ and
AutoAWQ are only unpacked, not installed:
    pip download --no-deps auto-gptq==0.7.1 autoawq==0.2.9; unzip auto_gptq-*.whl -d SOURCES; tar xzf autoawq-*.tar.gz -C SOURCES
Run: python tools/goldens/quantized.py SOURCES
"""
import importlib.util
import json
import pathlib
import sys

import bitsandbytes.functional as bnb
import mlx.core as mx
import numpy as np
import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.quantization import QuantizationScheme
from safetensors.torch import save_file
from tiny import run, write_golden, write_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.integrations.finegrained_fp8 import Fp8Dequantize

CRATES = pathlib.Path(__file__).resolve().parents[2] / "crates"
OUT = CRATES / "bantam-model/tests/goldens/quantized"
MODELS = CRATES / "bantam-testkit/goldens-quantized"
SOURCES = pathlib.Path(sys.argv[1])
RANDOM = torch.Generator().manual_seed(7)


def load(path: str):
    file = next(SOURCES.glob(path))
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GPTQ = load("auto_gptq/nn_modules/qlinear/qlinear_cuda.py").QuantLinear
AWQ = load("autoawq-*/awq/utils/packing_utils.py")


def words(*shape: int) -> torch.Tensor:
    return torch.randint(-(2**31), 2**31, shape, generator=RANDOM, dtype=torch.int64).to(torch.int32)


def scales(*shape: int, dtype: torch.dtype) -> torch.Tensor:
    return (torch.rand(*shape, generator=RANDOM) * 0.05 + 1e-3).to(dtype)


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=RANDOM)


# Where `write` leaves a module's parts while a model is made.
MODULE: dict | None = None


def write(case: str, kind: str, config: dict, parts: dict, f32: torch.Tensor, own: torch.Tensor) -> None:
    if MODULE is not None:
        exact = kind in ("F32", "MXFP4") or kind.startswith("Q")
        MODULE.update(config=config, parts=parts, weight=(f32 if exact else own).to(torch.float32))
        return
    tensors = {(name if name.startswith("m.") else f"m.{name}"): value.contiguous() for name, value in parts.items()}
    tensors |= {"f32": f32.to(torch.float32).contiguous(), "own": own.to(torch.float32).contiguous().clone()}
    OUT.mkdir(parents=True, exist_ok=True)
    save_file(tensors, OUT / f"{case}.safetensors", {"config": json.dumps(config), "type": kind})
    print(f"{case}: {kind}, {list(f32.shape)}")


def gptq(case: str, kind: str, bits: int, group: int, *, sym: bool, order=False, version=1, k=64, n=32, dtype=torch.float16, **more) -> None:
    groups = 1 if group == -1 else -(-k // group)
    layer = GPTQ(bits, group, k, n, bias=False)
    layer.qweight = words(k * bits // 32, n)
    codes = torch.full((groups, n), 2 ** (bits - 1)) if sym else torch.randint(1, 2**bits, (groups, n), generator=RANDOM)
    bit = (((codes[..., None] - 1) >> torch.arange(bits)) & 1).reshape(groups, -1, 32)
    layer.qzeros = (bit << torch.arange(32)).sum(-1).to(torch.int32)
    layer.scales = scales(groups, n, dtype=dtype)
    if order:
        layer.g_idx = torch.randint(0, groups, (k,), generator=RANDOM, dtype=torch.int32)
    parts = {"qweight": layer.qweight, "qzeros": layer.qzeros, "scales": layer.scales.clone(), "g_idx": layer.g_idx.to(torch.int32)}
    own = layer(torch.eye(k, dtype=dtype)).t()
    layer.scales = layer.scales.float()
    f32 = layer(torch.eye(k)).t()
    if version == 2:
        stored = (codes[..., None] >> torch.arange(bits) & 1).reshape(groups, -1, 32)
        parts["qzeros"] = (stored << torch.arange(32)).sum(-1).to(torch.int32)
    settings = dict(bits=bits, group_size=group, desc_act=order, sym=sym, quant_method="gptq", damp_percent=0.01,
                    true_sequential=True, model_name_or_path=None, **more)
    if version == 2:
        settings["checkpoint_format"] = "gptq_v2"
    write(case, kind, dict(torch_dtype="float16", quantization_config=settings), parts, f32, own)


def awq(case: str, kind: str, group: int, k=64, n=32) -> None:
    groups = k if group == -1 else group
    qweight, qzeros, scale = words(k, n // 8), words(-(-k // groups), n // 8), scales(-(-k // groups), n, dtype=torch.float16)
    own = AWQ.dequantize_gemm(qweight, qzeros, scale, 4, groups).t()
    f32 = AWQ.dequantize_gemm(qweight, qzeros, scale.float(), 4, groups).t()
    settings = dict(bits=4, group_size=group, zero_point=True, version="gemm", quant_method="awq", modules_to_not_convert=None)
    write(case, kind, dict(quantization_config=settings), dict(qweight=qweight, qzeros=qzeros, scales=scale), f32, own)


def four(case: str, kind: str, dtype: torch.dtype, quant: str, nested: bool, shape=(24, 40), block=64, spread=1.0) -> None:
    packed, state = bnb.quantize_4bit((normal(*shape) * spread).to(dtype), blocksize=block, compress_statistics=nested, quant_type=quant)
    parts = {"weight": packed} | {f"weight.{name}": value for name, value in state.as_dict(packed=True).items()}
    # Blocks run on over the ends of rows, but bitsandbytes 0.50's kernel for AVX-512 reads longer rows otherwise.
    assert shape[1] % block == 0 or shape[1] < block
    own = bnb.dequantize_4bit(packed, state)
    state.dtype = torch.float32
    f32 = bnb.dequantize_4bit(packed, state)
    settings = dict(quant_method="bitsandbytes", load_in_4bit=True, load_in_8bit=False, _load_in_4bit=True, _load_in_8bit=False,
                    bnb_4bit_quant_type=quant, bnb_4bit_use_double_quant=nested, bnb_4bit_compute_dtype="bfloat16",
                    bnb_4bit_quant_storage="uint8", llm_int8_enable_fp32_cpu_offload=False, llm_int8_has_fp16_weight=False,
                    llm_int8_skip_modules=None, llm_int8_threshold=6.0)
    write(case, kind, dict(torch_dtype="bfloat16", quantization_config=settings), parts, f32, own)


def eight(case: str, kind: str, dtype: torch.dtype, shape=(24, 40), spread=1.0) -> None:
    codes, scb, _ = bnb.int8_vectorwise_quant((normal(*shape) * spread).to(torch.float16))
    f32 = bnb.int8_vectorwise_dequant(codes, scb)
    parts = dict(weight=codes, SCB=scb, weight_format=torch.tensor(0, dtype=torch.uint8))
    settings = dict(quant_method="bitsandbytes", load_in_8bit=True, llm_int8_threshold=6.0)
    write(case, kind, dict(torch_dtype=str(dtype).split(".")[1], quantization_config=settings), parts, f32, f32.to(dtype))


def compressed(case: str, kind: str, form: str, dtype: torch.dtype, scale_shape: tuple, k=64, n=32, activations=None, **weights) -> None:
    scheme = QuantizationScheme(targets=["Linear"], weights=weights, input_activations=activations)
    args = scheme.weights
    bits, whole = args.num_bits, args.type == "int"
    scale = scales(*scale_shape, dtype=dtype)
    state = {"weight": normal(n, k).to(dtype) * 0.3, "weight_scale": scale}
    if not args.symmetric:
        low = -(2 ** (bits - 1))
        state["weight_zero_point"] = torch.randint(low, -low, scale_shape, generator=RANDOM).to(torch.int8)
    if args.strategy == "tensor_group":
        state["weight_scale"] = torch.rand(*scale_shape, generator=RANDOM) * 300 + 1
        state["weight_global_scale"] = torch.tensor([2345.0])
    if form == "mxfp4-pack-quantized":
        state["weight_scale"] = 2.0 ** torch.randint(-9, 3, scale_shape, generator=RANDOM).float()
    compressor = BaseCompressor.get_value_from_registry(form)
    parts = compressor.compress(state, scheme)
    own = compressor.decompress(dict(parts), scheme)["weight"]
    wide = dict(parts)
    if wide["weight_scale"].dtype in (torch.float16, torch.bfloat16):
        wide["weight_scale"] = wide["weight_scale"].float()
    f32 = compressor.decompress(wide, scheme)["weight"]
    if form == "nvfp4-pack-quantized":
        # The compressor works in bfloat16 throughout; the definition in f32 is table · (scale / global scale).
        table = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
        table = torch.cat([table, -table])
        pairs = parts["weight_packed"]
        codes = torch.stack([pairs & 15, pairs >> 4], -1).reshape(n, k).long()
        f32 = table[codes] * (parts["weight_scale"].float() / parts["weight_global_scale"]).repeat_interleave(16, 1)
    settings = dict(quant_method="compressed-tensors", format=form, quantization_status="compressed", ignore=["lm_head"],
                    global_compression_ratio=1.5, kv_cache_scheme=None, sparsity_config={}, transform_config={}, version="0.20.0",
                    config_groups={"group_0": json.loads(scheme.model_dump_json())})
    settings["config_groups"]["group_0"]["format"] = form
    write(case, kind, dict(quantization_config=settings), {name: value for name, value in parts.items() if value is not None}, f32, own)


def fp8(case: str, kind: str, shape: tuple, block, dtype: torch.dtype) -> None:
    weight = normal(*shape).to(torch.float8_e4m3fn)
    if block:
        scale = torch.rand(-(-shape[0] // block[0]), -(-shape[1] // block[1]), generator=RANDOM) * 0.02
        whole = all(extent % side == 0 for extent, side in zip(shape, block))
        tiled = scale.repeat_interleave(block[0], 0).repeat_interleave(block[1], 1)[: shape[0], : shape[1]]
        f32 = weight.float() * tiled
        if whole:
            assert torch.equal(f32, Fp8Dequantize(None)._dequantize_one(weight, scale, torch.float32))
        parts = {"weight": weight, "weight_scale_inv": scale}
        settings = dict(quant_method="fp8", activation_scheme="dynamic", fmt="e4m3", weight_block_size=list(block))
    else:
        scale = torch.rand(shape[0], 1, generator=RANDOM) * 0.02
        f32 = weight.float() * scale
        parts = {"weight": weight, "weight_scale": scale}
        settings = dict(quant_method="fbgemm_fp8", activation_scale_ub=1200.0, modules_to_not_convert=["lm_head"])
    write(case, kind, dict(dtype=str(dtype).split(".")[1], quantization_config=settings), parts, f32, f32.to(dtype))


def mlx(case: str, kind: str, dtype, settings: dict, own_settings: dict | None = None, shape=(16, 128), seed=3, spread=1.0) -> None:
    arguments = {key: value for key, value in (own_settings or settings).items()}
    mx.random.seed(seed)
    parts = mx.quantize((mx.random.normal(shape) * spread).astype(dtype), **arguments)
    names = ("weight", "scales", "biases")[: len(parts)]
    if len(parts) == 3:
        f32 = mx.dequantize(parts[0], *(part.astype(mx.float32) for part in parts[1:]), **arguments)
    else:
        f32 = mx.dequantize(*parts, **arguments, dtype=mx.float32)

    def torched(part: mx.array) -> torch.Tensor:
        if part.dtype == mx.bfloat16:
            return torch.from_numpy(np.array(part.astype(mx.float32))).to(torch.bfloat16)
        return torch.from_numpy(np.array(part))

    stated = dict(settings)
    if own_settings:
        stated["m"] = own_settings
        stated["model.other"] = False
    f32 = torch.from_numpy(np.array(f32))
    write(case, kind, dict(quantization=stated, quantization_config=stated), dict(zip(names, map(torched, parts))), f32, f32)


def model(name: str, make, *, also=(), sidecar: str | None = None) -> None:
    """A tiny Llama whose linears (and `also`) are quantized by `make(shape, seed)`."""
    global MODULE
    torch.manual_seed(11)
    config = dict(architectures=["LlamaForCausalLM"], model_type="llama", hidden_act="silu", hidden_size=64, num_hidden_layers=1,
                  vocab_size=64, max_position_embeddings=128, num_attention_heads=4, num_key_value_heads=2, intermediate_size=128,
                  rms_norm_eps=1e-2, rope_theta=500.0, tie_word_embeddings=False, bos_token_id=0, eos_token_id=1,
                  torch_dtype="float16")
    net = LlamaForCausalLM(LlamaConfig(**config)).to(torch.float32).eval()
    tensors = {}
    for number, (key, parameter) in enumerate(net.named_parameters()):
        module = key.removesuffix(".weight")
        if "proj" in key or module in also:
            MODULE = {}
            make(tuple(parameter.shape), number)
            tensors |= {f"{module}.{part}": value.contiguous() for part, value in MODULE["parts"].items()}
            value, stated = MODULE["weight"], MODULE["config"]
            MODULE = None
        else:
            value = torch.rand(parameter.shape) + 0.5 if parameter.dim() == 1 else torch.randn(parameter.shape)
            tensors[key] = value.to(torch.float16)
            value = tensors[key].to(torch.float32)
        with torch.no_grad():
            parameter.copy_(value)
    directory = MODELS / name
    directory.mkdir(parents=True, exist_ok=True)
    if sidecar:
        (directory / sidecar).write_text(json.dumps(stated.pop("quantization_config"), indent=1) + "\n")
    (directory / "config.json").write_text(json.dumps(config | stated, indent=1) + "\n")
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    write_tokenizer(directory, 64)
    tokens = torch.randint(2, 64, (12,), generator=RANDOM).tolist()
    np.save(directory / "logits-a.npy", run(net, tokens).numpy().astype(np.float32))
    golden = dict(about="logits from the weights that the scheme's own software gives", tolerance=1e-4, sensitivity={},
                  sequences=[dict(tokens=tokens, first_row=0, logits="logits-a.npy")])
    print(f"{name}: {write_golden(directory, golden)} bytes")


def models() -> None:
    float8 = dict(num_bits=8, type="float", strategy="token", dynamic=True)
    bf16 = torch.bfloat16
    model("gptq", lambda shape, _: gptq("", "Q8_0", 4, 32, sym=False, n=shape[0], k=shape[1]), sidecar="quantize_config.json")
    model("gptq-by-order", lambda shape, _: gptq("", "F16", 4, 32, sym=True, order=True, n=shape[0], k=shape[1]))
    model("awq", lambda shape, _: awq("", "Q8_0", 32, n=shape[0], k=shape[1]))
    model("bnb-nf4", lambda shape, _: four("", "BF16", bf16, "nf4", True, shape=shape, spread=0.2))
    model("bnb-int8", lambda shape, _: eight("", "F16", torch.float16, shape=shape, spread=0.2))
    model("compressed-int4", lambda shape, _: compressed("", "Q4_0", "pack-quantized", bf16, (shape[0], shape[1] // 32), n=shape[0],
                                                         k=shape[1], num_bits=4, strategy="group", group_size=32))
    model("compressed-fp8", lambda shape, _: compressed("", "BF16", "float-quantized", bf16, (shape[0], 1), n=shape[0], k=shape[1],
                                                        num_bits=8, type="float", strategy="channel", activations=float8))
    model("fp8", lambda shape, _: fp8("", "F16", shape, (32, 32), torch.float16))
    model("mlx", lambda shape, seed: mlx("", "Q4_1", mx.float16, dict(group_size=32, bits=4), shape=shape, seed=seed, spread=0.2),
          also=("model.embed_tokens", "lm_head"))


def main() -> None:
    models()
    gptq("gptq-4-symmetric", "Q4_0", 4, 32, sym=True)
    gptq("gptq-4-asymmetric", "Q8_0", 4, 32, sym=False)
    gptq("gptq-4-by-order", "F16", 4, 32, sym=False, order=True)
    gptq("gptq-4-second-version", "Q8_0", 4, 32, sym=False, version=2)
    gptq("gptq-4-narrow-groups", "BF16", 4, 16, sym=False, dtype=torch.bfloat16)
    gptq("gptq-3-row", "Q8_0", 3, -1, sym=False)
    gptq("gptq-2", "Q8_0", 2, 32, sym=True)
    gptq("gptq-8-symmetric", "Q8_0", 8, 32, sym=True)
    gptq("gptq-8-asymmetric", "F16", 8, 32, sym=False)
    gptq("gptq-rules", "Q8_0", 8, 32, sym=True, dynamic={"-:lm_head": {}}, checkpoint_format="gptq", pack_dtype="int32", meta={"a": 1})
    awq("awq-32", "Q8_0", 32)
    awq("awq-row", "Q8_0", -1)
    awq("awq-narrow-groups", "F16", 16)
    four("bnb-nf4", "BF16", torch.bfloat16, "nf4", False)
    four("bnb-nf4-nested", "F16", torch.float16, "nf4", True, shape=(70, 128), block=32)
    four("bnb-fp4-nested", "F32", torch.float32, "fp4", True)
    four("bnb-fp4-wide-blocks", "BF16", torch.bfloat16, "fp4", False, block=256)
    eight("bnb-int8", "F16", torch.float16)
    eight("bnb-int8-f32", "F32", torch.float32)
    int8 = dict(num_bits=8, type="int", strategy="token", dynamic=True)
    float8 = dict(num_bits=8, type="float", strategy="token", dynamic=True)
    pack, plain, floats = "pack-quantized", "int-quantized", "float-quantized"
    bf16, f16, f32 = torch.bfloat16, torch.float16, torch.float32
    compressed("ct-int4-group", "Q4_0", pack, bf16, (32, 2), num_bits=4, strategy="group", group_size=32)
    compressed("ct-int4-asymmetric", "Q8_0", pack, f16, (32, 2), num_bits=4, strategy="group", group_size=32, symmetric=False)
    compressed("ct-int4-channel", "F32", pack, f32, (32, 1), num_bits=4, strategy="channel")
    compressed("ct-int3-channel", "BF16", pack, bf16, (32, 1), k=40, num_bits=3, strategy="channel")
    compressed("ct-int8-packed", "Q8_0", pack, bf16, (32, 1), num_bits=8, strategy="channel")
    compressed("ct-int8-channel", "Q8_0", plain, bf16, (32, 1), num_bits=8, strategy="channel", activations=int8)
    compressed("ct-int8-asymmetric", "F16", plain, f16, (32, 1), num_bits=8, strategy="channel", symmetric=False, activations=int8)
    compressed("ct-int8-tensor", "F32", plain, f32, (1,), num_bits=8, strategy="tensor", activations=int8)
    compressed("ct-fp8-channel", "BF16", floats, bf16, (32, 1), num_bits=8, type="float", strategy="channel", activations=float8)
    compressed("ct-fp8-tensor", "F32", floats, f32, (1,), num_bits=8, type="float", strategy="tensor", activations=float8)
    compressed("ct-fp8-block", "F32", floats, f32, (2, 2), num_bits=8, type="float", strategy="block", block_structure=[16, 32], activations=float8)
    compressed("ct-nvfp4", "F32", "nvfp4-pack-quantized", bf16, (32, 4), num_bits=4, type="float", strategy="tensor_group", group_size=16)
    compressed("ct-mxfp4", "MXFP4", "mxfp4-pack-quantized", bf16, (32, 2), num_bits=4, type="float", strategy="group", group_size=32)
    fp8("fp8-blocks", "BF16", (64, 96), (32, 32), torch.bfloat16)
    fp8("fp8-ragged-blocks", "F16", (40, 72), (32, 32), torch.float16)
    fp8("fp8-rows", "F32", (24, 40), None, torch.float32)
    mlx("mlx-4", "Q4_1", mx.float16, dict(group_size=64, bits=4))
    mlx("mlx-4-bf16", "Q4_1", mx.bfloat16, dict(group_size=64, bits=4, mode="affine"))
    mlx("mlx-3", "Q4_1", mx.float16, dict(group_size=32, bits=3))
    mlx("mlx-2", "Q4_1", mx.float16, dict(group_size=128, bits=2))
    mlx("mlx-5", "Q5_1", mx.float16, dict(group_size=64, bits=5))
    mlx("mlx-6", "F32", mx.bfloat16, dict(group_size=64, bits=6))
    mlx("mlx-8-by-module", "F32", mx.bfloat16, dict(group_size=64, bits=4), dict(group_size=32, bits=8))
    mlx("mlx-mxfp4", "MXFP4", mx.bfloat16, dict(group_size=32, bits=4, mode="mxfp4"))
    mlx("mlx-mxfp8", "BF16", mx.bfloat16, dict(group_size=32, bits=8, mode="mxfp8"))
    mlx("mlx-nvfp4", "BF16", mx.bfloat16, dict(group_size=16, bits=4, mode="nvfp4"))
    numbers = torch.arange(256, dtype=torch.uint8).reshape(8, 32)
    finite = numbers.masked_fill((numbers & 127) == 127, 0).view(torch.float8_e4m3fn)
    write("plain-fp8", "BF16", dict(torch_dtype="bfloat16"), dict(weight=finite), finite.float(), finite.to(bf16))


if __name__ == "__main__":
    main()
