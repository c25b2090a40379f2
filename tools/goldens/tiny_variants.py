"""The tiny models of `tiny_families.py`: for each the configuration as its family's checkpoints spell it, and what is special.

`seed`, `dtype`: how the weights are drawn and kept; `gains`: weights drawn wider or narrower, by a part of their name; `shifts`: what is
added to them; `gates`: a constant in every embedding, and what it adds to gates, so that they lie where the two forms of gelu differ;
`skip`: settings that this one says nothing about (they are there but not in force); `silent`: weights that cannot matter;
`llama_cpp`: where llama.cpp departs, see `NO_WINDOW`.
"""
import math

import torch

BF16, F16 = torch.bfloat16, torch.float16
# Where llama.cpp does otherwise: why, how many rows are not concerned, and what makes transformers do the same.
NO_WINDOW = dict(why="applies no sliding window", rows=8, settings=dict(sliding_window=1 << 20))
BASE = dict(
    hidden_act="silu", hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    vocab_size=64, max_position_embeddings=256, bos_token_id=0, eos_token_id=1, initializer_range=0.02, use_cache=True,
    attention_dropout=0.0, rms_norm_eps=2e-2, rope_theta=500.0, tie_word_embeddings=False, torch_dtype="bfloat16",
    transformers_version="4.46.0",
)


def config(architecture: str, model_type: str, *without: str, **settings) -> dict:
    """`BASE` with what the family has otherwise, less the keys that its files do not carry."""
    base = {key: value for key, value in BASE.items() if key not in without}
    return dict(architectures=[architecture], model_type=model_type, **{**base, **settings})


VARIANTS = {}

# Qwen2.5, and DeepSeek-R1's distils of it.
QWEN2 = dict(max_window_layers=2, sliding_window=256, use_sliding_window=False, use_mrope=False)
VARIANTS["tiny-qwen2-a"] = dict(
    about="biases on queries, keys and values; tied", seed=11, dtype=BF16,
    config=config("Qwen2ForCausalLM", "qwen2", **{**QWEN2, "tie_word_embeddings": True}))
VARIANTS["tiny-qwen2-b"] = dict(
    about="sliding window of 8 from layer 1 on, three layers, untied", seed=12, dtype=BF16,
    gains={"k_proj.bias": 3},
    config=config("Qwen2ForCausalLM", "qwen2", num_hidden_layers=3, intermediate_size=24, max_window_layers=1, sliding_window=8,
                  use_sliding_window=True),
    llama_cpp=NO_WINDOW)
VARIANTS["tiny-qwen2-yarn"] = dict(
    about="yarn rope scaling as Qwen2.5's cards give it", seed=13, dtype=BF16,
    config=config("Qwen2ForCausalLM", "qwen2", **{**QWEN2, "max_position_embeddings": 64, "rope_theta": 50.0, "num_attention_heads": 2,
                                               "num_key_value_heads": 1},
                  rope_scaling=dict(factor=4.0, original_max_position_embeddings=16, type="yarn")))

QWEN3 = dict(attention_bias=False, head_dim=16, max_window_layers=2, rope_scaling=None, sliding_window=None,
             use_sliding_window=False)
VARIANTS["tiny-qwen3-a"] = dict(
    about="norms on queries and keys, heads of 16 in a width of 32, tied", seed=21, dtype=BF16, skip={"num_attention_heads"},
    config=config("Qwen3ForCausalLM", "qwen3", **{**QWEN3, "tie_word_embeddings": True, "intermediate_size": 32}))

VARIANTS["tiny-mistral-a"] = dict(
    about="sliding window of 8 in every layer", seed=31, dtype=BF16,
    config=config("MistralForCausalLM", "mistral", sliding_window=8),
    llama_cpp=NO_WINDOW)
VARIANTS["tiny-mistral-b"] = dict(
    about="no window, heads of 16 in a width of 32", seed=32, dtype=BF16,
    config=config("MistralForCausalLM", "mistral", sliding_window=None, head_dim=16, num_attention_heads=2,
                  num_key_value_heads=1))

# A width of 32 normed to a mean square of 1 + 2e-2 hides an epsilon; the embeddings are scaled by its root besides.
GEMMA = dict(attention_bias=False, head_dim=8, pad_token_id=2, rms_norm_eps=0.5)


def with_activation(name: str):
    """The legacy spelling of the activation is read as another; what else could be made of it."""
    def extra(model, config, build, state):
        for other, what in (("gelu", "as it is spelt: the other gelu"), ("silu", "silu")):
            changed = build({**config, "hidden_act": "gelu_pytorch_tanh", "hidden_activation": other})
            for module in changed.modules():
                if hasattr(module, "act_fn"):
                    module.act_fn = torch.nn.GELU() if other == "gelu" else torch.nn.SiLU()
            changed.load_state_dict(state, strict=False)
            yield f"{name} {what}", changed
    return extra


VARIANTS["tiny-gemma-a"] = dict(
    about="first Gemma: activation in its legacy spelling, one key-value head", seed=41, dtype=BF16, gates=(0.5, 1.2), gains={"gate_proj": 0.5, "down_proj": 4}, skip={"hidden_act"},
    extra=with_activation("hidden_act"),
    config=config("GemmaForCausalLM", "gemma", "tie_word_embeddings",
                  **{**GEMMA, "hidden_act": "gelu", "num_key_value_heads": 1}, rope_scaling=None))
GEMMA2 = dict(attn_logit_softcapping=3.0, cache_implementation="hybrid", final_logit_softcapping=6.0, hidden_act="gelu_pytorch_tanh",
              hidden_activation="gelu_pytorch_tanh", sliding_window=8, num_hidden_layers=3, intermediate_size=32)
VARIANTS["tiny-gemma2-a"] = dict(
    about="softcaps, windows in layers 0 and 2, attention scaled by the head's width", seed=42, dtype=BF16, off=0.1, gates=(0.5, 1.2), gains={"gate_proj": 0.5}, skip={"hidden_act"},
    config=config("Gemma2ForCausalLM", "gemma2", "tie_word_embeddings", **{**GEMMA, **GEMMA2}, query_pre_attn_scalar=8))
VARIANTS["tiny-gemma2-b"] = dict(
    about="attention scaled otherwise than by the head's width, as in the largest Gemma 2", seed=43, dtype=BF16, off=0.1,
    gates=(0.5, 1.2), gains={"gate_proj": 0.5}, gguf=False,
    llama_cpp=dict(why="scales attention by the head's width (in a model of 46 layers, by the width over the heads): the file has no "
                       "key that it reads for query_pre_attn_scalar", rows=0, settings=dict(query_pre_attn_scalar=8)),
    skip={"hidden_act"},
    config=config("Gemma2ForCausalLM", "gemma2", "tie_word_embeddings",
                  **{**GEMMA, **GEMMA2, "num_hidden_layers": 2}, query_pre_attn_scalar=24))
GEMMA3 = dict(attn_logit_softcapping=None, cache_implementation="hybrid", final_logit_softcapping=None,
              hidden_activation="gelu_pytorch_tanh", sliding_window=8, num_key_value_heads=1)
VARIANTS["tiny-gemma3-a"] = dict(
    about="every sixth layer global, two rope bases, norms on queries and keys", seed=44, dtype=BF16, off=0.2,
    gates=(0.5, 1.2), gains={"gate_proj": 0.5}, shifts={"q_norm": 0.5, "k_norm": 0.5}, skip={"num_attention_heads"},
    config=config("Gemma3ForCausalLM", "gemma3_text", "tie_word_embeddings", "hidden_act",
                  **{**GEMMA, **GEMMA3, "num_hidden_layers": 6, "num_attention_heads": 2, "intermediate_size": 16,
                     "rope_theta": 2000.0},
                  query_pre_attn_scalar=8, rope_local_base_freq=20.0, rope_scaling=None, sliding_window_pattern=6))
GEMMA3_NEWER = dict(
    layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    rope_parameters=dict(sliding_attention=dict(rope_type="default", rope_theta=20.0),
                         full_attention=dict(rope_type="linear", rope_theta=500.0, factor=4.0)))
for name, scalar, seed in (("b", 12, 45), ("c", 8, 46)):
    VARIANTS[f"tiny-gemma3-{name}"] = dict(
        about="newer keys: layer types, rope parameters by layer type with linear scaling on global layers; attention scaled "
              + ("by" if scalar == 8 else "otherwise than by") + " the head's width",
        seed=seed, dtype=BF16, off=0.1, gates=(0.5, 1.2), gains={"gate_proj": 0.5}, shifts={"q_norm": 1.0, "k_norm": 1.0},
        gguf=scalar == 8, skip={"num_attention_heads"},
        **({} if scalar == 8 else dict(llama_cpp=dict(
            why="scales attention by the head's width: the file has no key that it reads for query_pre_attn_scalar", rows=0,
            settings=dict(query_pre_attn_scalar=8)))),
        config=config("Gemma3ForCausalLM", "gemma3_text", "tie_word_embeddings", "hidden_act", "rope_theta",
                      **{**GEMMA, **GEMMA3, "num_hidden_layers": 3, "transformers_version": "5.0.0"},
                      query_pre_attn_scalar=scalar, **GEMMA3_NEWER))
VARIANTS["tiny-gemma3-nested"] = dict(
    about="the text part of a model of text and images: settings nested, those that its files leave to defaults left out, tensors "
          "prefixed and others beside them", seed=47, dtype=BF16, off=0.2, gates=(0.5, 1.2), gains={"gate_proj": 0.5},
    shifts={"q_norm": 0.5, "k_norm": 0.5}, gguf=False, skip={"num_attention_heads", "sliding_window_pattern"},
    nested=dict(architectures=["Gemma3ForConditionalGeneration"], boi_token_index=61, eoi_token_index=62, eos_token_id=[1, 3],
                image_token_index=63, initializer_range=0.02, mm_tokens_per_image=4, model_type="gemma3", torch_dtype="bfloat16",
                transformers_version="4.50.0.dev0",
                vision_config=dict(hidden_size=8, image_size=8, intermediate_size=8, model_type="siglip_vision_model",
                                   num_attention_heads=2, num_hidden_layers=1, patch_size=4, vision_use_head=False)),
    config=dict(architectures=["Gemma3ForCausalLM"], model_type="gemma3_text", head_dim=8, hidden_size=32, intermediate_size=16,
                num_attention_heads=2, num_hidden_layers=6, num_key_value_heads=1, query_pre_attn_scalar=8, rms_norm_eps=0.5,
                rope_local_base_freq=20.0, rope_scaling=dict(factor=2.0, rope_type="linear"), rope_theta=50.0, sliding_window=8,
                vocab_size=64, torch_dtype="bfloat16", transformers_version="4.50.0.dev0"))

PHI3 = dict(attention_bias=False, embd_pdrop=0.0, resid_pdrop=0.0, pad_token_id=2,
            auto_map=dict(AutoConfig="configuration_phi3.Phi3Config", AutoModelForCausalLM="modeling_phi3.Phi3ForCausalLM"))
VARIANTS["tiny-phi3-a"] = dict(
    about="fused projections, window of 8, as the 4k form", seed=51, dtype=BF16, skip={"original_max_position_embeddings"},
    config=config("Phi3ForCausalLM", "phi3", **{**PHI3, "num_key_value_heads": 4}, original_max_position_embeddings=256,
                  rope_scaling=None, sliding_window=8),
    llama_cpp=NO_WINDOW)
LONG, SHORT = [1.1, 1.9, 3.2, 6.5], [1.05, 1.3, 1.7, 2.4]
VARIANTS["tiny-phi3-long"] = dict(
    about="long factors of longrope: both sequences are longer than the original context of 12", seed=52, dtype=BF16,
    skip={"short_factor", "sliding_window", "num_attention_heads"},
    config=config("Phi3ForCausalLM", "phi3", **{**PHI3, "max_position_embeddings": 96}, original_max_position_embeddings=12,
                  rope_scaling=dict(long_factor=LONG, short_factor=SHORT, type="longrope"), sliding_window=262144))
VARIANTS["tiny-phi3-short"] = dict(
    about="short factors of longrope: both sequences are within the original context of 256", seed=53,
    dtype=BF16, skip={"long_factor", "sliding_window", "num_attention_heads"},
    config=config("Phi3ForCausalLM", "phi3", **{**PHI3, "max_position_embeddings": 2048},
                  original_max_position_embeddings=256,
                  rope_scaling=dict(long_factor=LONG, short_factor=SHORT, type="longrope"), sliding_window=262144))
VARIANTS["tiny-phi3-context"] = dict(
    about="short factors: both sequences are within the original context of 64, though the context may grow to 512", seed=55,
    dtype=BF16, gguf=False, skip={"long_factor", "sliding_window", "num_attention_heads"},
    llama_cpp=dict(why="takes the long factors as soon as the context asked for (256 here, its least) is longer than the original "
                       "one; transformers as soon as the sequence is", rows=1,
                   settings=dict(rope_scaling=dict(long_factor=LONG, short_factor=LONG, type="longrope"))),
    config=config("Phi3ForCausalLM", "phi3", **{**PHI3, "max_position_embeddings": 512}, original_max_position_embeddings=64,
                  rope_scaling=dict(long_factor=LONG, short_factor=SHORT, type="longrope"), sliding_window=262144))
VARIANTS["tiny-phi4-mini"] = dict(
    about="three quarters of a head turn, tied, long factors", seed=54, dtype=BF16, skip={"short_factor", "sliding_window", "num_attention_heads"},
    config=config("Phi3ForCausalLM", "phi3",
                  **{**PHI3, "max_position_embeddings": 96, "num_attention_heads": 2, "num_key_value_heads": 1,
                     "tie_word_embeddings": True},
                  full_attn_mod=1, interpolate_factor=1, lm_head_bias=False, mlp_bias=False,
                  original_max_position_embeddings=12, partial_rotary_factor=0.75,
                  rope_scaling=dict(long_factor=[1.0, 1.3, 1.9, 2.8, 4.1, 6.0], short_factor=[1.0] * 6, type="longrope"),
                  sliding_window=262144))

VARIANTS["tiny-smollm3-a"] = dict(
    about="every fourth layer without rope, tied", seed=61, dtype=BF16, off=0.1,
    config=config("SmolLM3ForCausalLM", "smollm3", "tie_word_embeddings", attention_bias=False,
                  **dict(layer_types=["full_attention"] * 4, max_window_layers=28, mlp_bias=False, no_rope_layer_interval=4,
                         no_rope_layers=[1, 1, 1, 0], num_hidden_layers=4, intermediate_size=24, pad_token_id=2, pretraining_tp=2,
                         rope_scaling=None, sliding_window=None, use_sliding_window=False)))
VARIANTS["tiny-smollm3-b"] = dict(
    about="layers without rope as the list says and not the interval", seed=62, dtype=BF16, gguf=False,
    llama_cpp=dict(why="leaves rope out of every fourth layer whatever no_rope_layers says", rows=1,
                   settings=dict(no_rope_layers=[1, 1])),
    config=config("SmolLM3ForCausalLM", "smollm3", "tie_word_embeddings", attention_bias=False,
                  **dict(layer_types=["full_attention"] * 2, max_window_layers=28, mlp_bias=False, no_rope_layer_interval=4,
                         no_rope_layers=[0, 1], pad_token_id=2, pretraining_tp=2,
                         rope_scaling=None, sliding_window=None, use_sliding_window=False)))

VARIANTS["tiny-phi2"] = dict(
    about="attention and feed-forward beside each other, layer norms, half of a head turns, biases everywhere",
    seed=71, dtype=F16, gains={"dense.bias": 3, "fc1.weight": 0.5, "fc2.weight": 6}, shifts={"fc1.bias": -2.0},
    config=config("PhiForCausalLM", "phi", "rms_norm_eps", **dict(hidden_act="gelu_new", num_key_value_heads=4,
                  intermediate_size=64, torch_dtype="float16"), layer_norm_eps=5e-2, embd_pdrop=0.0, resid_pdrop=0.1,
                  partial_rotary_factor=0.5, qk_layernorm=False, rope_scaling=None))

STABLELM = dict(hidden_dropout=0.0, layer_norm_eps=5e-2, partial_rotary_factor=0.25, torch_dtype="float16", rope_scaling=None)
VARIANTS["tiny-stablelm-a"] = dict(
    about="the small kind: layer norms, a quarter of a head turns, biases on queries, keys and values", seed=81, dtype=F16,
    config=config("StableLmForCausalLM", "stablelm", "rms_norm_eps",
                  **{**STABLELM, "num_attention_heads": 2, "num_key_value_heads": 2},
                  use_qkv_bias=True, qk_layernorm=False, use_parallel_residual=False))
VARIANTS["tiny-stablelm-b"] = dict(
    about="the large kind: attention and feed-forward beside each other, a layer norm for each head of queries and keys", seed=82,
    dtype=F16, off=0.1, skip={"num_attention_heads"}, gains={"q_layernorm": 2, "k_layernorm": 2},
    config=config("StableLmForCausalLM", "stablelm", "rms_norm_eps",
                  **{**STABLELM, "num_attention_heads": 2, "num_key_value_heads": 1}, use_qkv_bias=False, qk_layernorm=True,
                  use_parallel_residual=True))

VARIANTS["tiny-mixtral"] = dict(
    about="two of four experts", seed=91, dtype=BF16,
    config=config("MixtralForCausalLM", "mixtral", **dict(intermediate_size=16), num_experts_per_tok=2, num_local_experts=4,
                  output_router_logits=False, router_aux_loss_coef=0.02, sliding_window=None))
QWEN3_MOE = dict(attention_bias=False, head_dim=8, max_window_layers=2, moe_intermediate_size=12, output_router_logits=False,
                 router_aux_loss_coef=0.001, rope_scaling=None, sliding_window=None, use_sliding_window=False,
                 num_experts=5, num_experts_per_tok=2)
VARIANTS["tiny-qwen3-moe-a"] = dict(
    about="two of five experts, weights made to sum to one", seed=101, dtype=BF16, skip={"num_attention_heads"},
    config=config("Qwen3MoeForCausalLM", "qwen3_moe", **QWEN3_MOE, norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[]))
VARIANTS["tiny-qwen3-moe-b"] = dict(
    about="two of five experts, weights as the softmax gives them", seed=103, dtype=BF16, gguf=False, skip={"num_attention_heads"},
    llama_cpp=dict(why="makes the experts' weights sum to one: the file has no key that it reads for norm_topk_prob", rows=0,
                   settings=dict(norm_topk_prob=True)),
    config=config("Qwen3MoeForCausalLM", "qwen3_moe", **QWEN3_MOE, norm_topk_prob=False, decoder_sparse_step=1, mlp_only_layers=[]))
VARIANTS["tiny-qwen3-moe-c"] = dict(
    about="four layers, of which one (a second one less one taken out) has experts", seed=102, dtype=BF16, off=0.1, gguf=False,
    skip={"num_attention_heads"}, shifts={"q_norm": 0.5, "k_norm": 0.5},
    llama_cpp=dict(why="has experts in every layer: no names for the feed-forward of others", no_form=True),
    config=config("Qwen3MoeForCausalLM", "qwen3_moe",
                  **{**QWEN3_MOE, "num_hidden_layers": 4, "intermediate_size": 24, "moe_intermediate_size": 24},
                  norm_topk_prob=True, decoder_sparse_step=2, mlp_only_layers=[3]))

PHIMOE = dict(attention_bias=True, auto_map=dict(AutoConfig="configuration_phimoe.PhiMoEConfig",
                                                AutoModelForCausalLM="modeling_phimoe.PhiMoEForCausalLM"),
              hidden_dropout=0.0, input_jitter_noise=0.01, intermediate_size=16, lm_head_bias=True, num_experts_per_tok=2,
              num_local_experts=4, output_router_logits=False, router_aux_loss_coef=0.0, sliding_window=131072)


def long_factors(model: torch.nn.Module) -> None:
    """The checkpoint's own code, and transformers up to 4.5x, pick the long factors by length; 5.23 always takes the short ones."""
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
    turn = model.model.rotary_emb
    longer = model.config.rope_parameters.get("original_max_position_embeddings", 0) + 1
    if model.config.rope_parameters["rope_type"] == "longrope":
        turn.rope_init_fn = lambda config: ROPE_INIT_FUNCTIONS["longrope"](config, seq_len=longer)


def like_llama_cpp(original: int) -> dict:
    factor = math.sqrt(1 + math.log(8) / math.log(original))
    return dict(
        why="root-mean-square norms (with the biases) for layer norms, a softmax made to sum to one for the sparse mixer, and "
            "the rotation scaled as the context's lengths say for the file's own long_mscale and short_mscale", rows=0,
        settings=dict(rope_scaling=dict(long_factor=LONG, long_mscale=factor, original_max_position_embeddings=original,
                                        short_factor=SHORT, short_mscale=factor, type="longrope")),
        structure=("the other kind of norm", "router: softmax made to sum to one"))


VARIANTS["tiny-phimoe-short"] = dict(
    about="layer norms, biases, the sparse mixer's router, short factors: both sequences are within the original context of 256",
    seed=111, dtype=BF16,
    llama_cpp=like_llama_cpp(256),
    skip={"num_attention_heads", "num_experts_per_tok", "long_factor", "long_mscale", "sliding_window", "original_max_position_embeddings",
          "max_position_embeddings"},
    config=config("PhiMoEForCausalLM", "phimoe", **{**PHIMOE, "max_position_embeddings": 2048}, router_jitter_noise=0.2,
                  original_max_position_embeddings=256,
                  rope_scaling=dict(long_factor=LONG, long_mscale=1.3, original_max_position_embeddings=256, short_factor=SHORT,
                                    short_mscale=1.2, type="longrope")))
VARIANTS["tiny-phimoe-long"] = dict(
    about="long factors, which the checkpoint's own code takes by length and transformers 5.23 does not (put right in the script): "
          "both sequences are longer than the original context of 12", seed=112, dtype=BF16, gguf=False, llama_cpp=like_llama_cpp(12),
    prepare=long_factors,
    skip={"num_attention_heads", "num_experts_per_tok", "short_factor", "short_mscale", "sliding_window", "original_max_position_embeddings",
          "max_position_embeddings"},
    config=config("PhiMoEForCausalLM", "phimoe", **{**PHIMOE, "max_position_embeddings": 96}, router_jitter_noise=0.2,
                  original_max_position_embeddings=12,
                  rope_scaling=dict(long_factor=LONG, long_mscale=1.3, original_max_position_embeddings=12, short_factor=SHORT,
                                    short_mscale=1.2, type="longrope")))

# What the one published checkpoint has, which GGUF has no keys for.
PUBLISHED = dict(router_jitter_noise=0.01, rope_scaling=dict(
    long_factor=LONG, long_mscale=1.243163121016122, original_max_position_embeddings=256, short_factor=SHORT,
    short_mscale=1.243163121016122, type="longrope"))
VARIANTS["tiny-phimoe-published"] = dict(
    about="the router's jitter and the rotation's factor of the published checkpoint, which its GGUF form does not say; experts so close "
          "to one another that a jitter of 0.01 decides",
    seed=113, dtype=BF16, llama_cpp=like_llama_cpp(256), gains={"router.weight": 0.25}, shifts={"router.weight": 2.0},
    skip=VARIANTS["tiny-phimoe-short"]["skip"],
    config=config("PhiMoEForCausalLM", "phimoe", **{**PHIMOE, "max_position_embeddings": 2048}, **PUBLISHED,
                  original_max_position_embeddings=256))

VARIANTS["tiny-olmo2"] = dict(
    about="norms after attention and feed-forward, norms over all heads of queries and keys", seed=121, dtype=BF16,
    config=config("Olmo2ForCausalLM", "olmo2", attention_bias=False, pad_token_id=2, rope_scaling=None,
                  **dict(rms_norm_eps=0.2)))
VARIANTS["tiny-granite"] = dict(
    about="scaled embeddings, residuals, attention and logits; tied", seed=131, dtype=BF16,
    config=config("GraniteForCausalLM", "granite", attention_bias=False, mlp_bias=False, attention_multiplier=0.25,
                  embedding_multiplier=3.0, residual_multiplier=0.6, logits_scaling=4.0, pad_token_id=2, rope_scaling=None,
                  **dict(tie_word_embeddings=True, rms_norm_eps=0.1)))


def gpt2_names(tensors: dict[str, torch.Tensor], config) -> dict[str, torch.Tensor]:
    """The published files have no prefix and keep each layer's causal mask."""
    out = {name.removeprefix("transformer."): value for name, value in tensors.items()}
    mask = torch.ones(config.n_positions, config.n_positions).tril().to(next(iter(out.values())).dtype)
    for layer in range(config.n_layer):
        out[f"h.{layer}.attn.bias"] = mask[None, None].clone()
    return out


VARIANTS["tiny-gpt2"] = dict(
    about="learned positions, weights the other way round, biases everywhere", seed=141, dtype=F16, rename=gpt2_names,
    gains={"c_proj.bias": 2, "c_fc.weight": 0.5, "mlp.c_proj.weight": 5}, shifts={"c_fc.bias": -2.0},
    config=dict(activation_function="gelu_new", architectures=["GPT2LMHeadModel"], attn_pdrop=0.1, bos_token_id=0,
                embd_pdrop=0.1, eos_token_id=0, initializer_range=0.02, layer_norm_epsilon=5e-2, model_type="gpt2", n_ctx=48,
                n_embd=24, n_head=3, n_layer=2, n_positions=48, resid_pdrop=0.1, summary_activation=None,
                summary_first_dropout=0.1, summary_proj_to_labels=True, summary_type="cls_index", summary_use_proj=True,
                task_specific_params={"text-generation": dict(do_sample=True, max_length=50)}, vocab_size=64))
