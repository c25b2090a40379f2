"""What could be got wrong about a tiny model: each of its settings, its structure and its weights, changed in turn.

`sensitivity` says how far each change moves the logits. A golden is worth what the least of them is.
"""
import contextlib
import copy
import sys
from collections.abc import Callable, Iterator

import torch
import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

# Pairs that are so close that no small model keeps them far apart: recorded, but asked for 5 times the tolerance only.
CLOSE = "the other gelu"


def build(config: dict) -> torch.nn.Module:
    """The model that transformers makes of a `config.json`, in f32, with weights not yet drawn."""
    known = CONFIG_MAPPING[config["model_type"]].from_dict(copy.deepcopy(config))
    # Remote-code checkpoints spell their class otherwise; the model's type decides.
    classes = transformers.MODEL_MAPPING if config["model_type"] == "bert" else transformers.MODEL_FOR_CAUSAL_LM_MAPPING
    model = classes[type(known)]._from_config(known, attn_implementation="eager", experts_implementation="eager",
                                              dtype=torch.float32)
    assert model.dtype == torch.float32
    return model.eval()


SCALED = {  # by what a number is multiplied; and what else could stand there
    "rope_theta": (1.2, []), "rope_local_base_freq": (1.3, []),
    "rms_norm_eps": (1.5, [1e-5]), "layer_norm_eps": (1.5, [1e-5]), "layer_norm_epsilon": (1.5, [1e-6]),
    "attn_logit_softcapping": (1.2, [None]), "final_logit_softcapping": (1.2, [None]), "query_pre_attn_scalar": (1.25, []),
    "embedding_multiplier": (1.2, [1.0]), "residual_multiplier": (1.2, [1.0]), "attention_multiplier": (1.2, []),
    "logits_scaling": (1.2, [1.0]), "router_jitter_noise": (1.3, [0.0]),
    "factor": (1.2, []), "short_mscale": (1.1, [1.0]), "long_mscale": (1.1, [1.0]), "attention_factor": (1.1, []),
    "low_freq_factor": (1.2, []), "high_freq_factor": (1.2, []),
}
FLIPPED = ["norm_topk_prob", "use_parallel_residual", "tie_word_embeddings", "scale_attn_weights",
           "scale_attn_by_inverse_layer_idx"]
ACTIVATIONS = {"silu": ["gelu", "relu"], "gelu_pytorch_tanh": ["silu", "gelu"], "gelu_new": ["silu", "gelu"],
               "gelu": ["silu", "gelu_new"]}


def window_is_on(config: dict) -> bool:
    return bool(config.get("sliding_window")) and config.get("use_sliding_window", True)


def changed_settings(config: dict, skip: set[str]) -> Iterator[tuple[str, dict]]:
    """The configuration with one setting changed, by what was changed."""

    def walk(path: list[str], inner: dict) -> Iterator[tuple[list[str], object]]:
        for key, value in inner.items():
            if isinstance(value, dict):
                yield from walk([*path, key], value)
            else:
                yield [*path, key], value

    def change(path: list[str], value) -> dict:
        changed = copy.deepcopy(config)
        inner = changed
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
        return changed

    for path, value in walk([], config):
        key, name = path[-1], ".".join(path)
        if key in skip or name in skip:
            continue
        if key in SCALED and value is not None:
            times, others = SCALED[key]
            scaled = value * times
            yield f"{name} × {times}", change(path, round(scaled) if isinstance(value, int) else scaled)
            for other in others:
                if other != value:
                    yield f"{name} {other}", change(path, other)
        elif key in FLIPPED:
            yield f"{name} {not value}", change(path, not value)
        elif key in ("hidden_act", "hidden_activation", "activation_function"):
            for other in ACTIVATIONS[value]:
                alike = {"gelu", "gelu_new", "gelu_pytorch_tanh"}
                yield f"{name} {CLOSE if {value, other} <= alike else other}", change(path, other)
        elif key == "sliding_window" and window_is_on(config):
            for other in (value - 1, value + 1, 1 << 20):
                yield f"{name} {other}", change(path, other)
        elif key == "max_window_layers" and window_is_on(config):
            yield f"{name} - 1", change(path, value - 1)
            yield f"{name} + 1", change(path, value + 1)
        elif key == "sliding_window_pattern":
            yield f"{name} - 1", change(path, value - 1)
            yield f"{name} + 1", change(path, value + 1)
        elif key == "layer_types":
            for layer, kind in enumerate(value):
                other = "full_attention" if kind == "sliding_attention" else "sliding_attention"
                if window_is_on(config):
                    yield f"{name}[{layer}] {other}", change(path, [*value[:layer], other, *value[layer + 1:]])
        elif key == "no_rope_layers":
            for layer, has in enumerate(value):
                yield f"{name}[{layer}] {1 - has}", change(path, [*value[:layer], 1 - has, *value[layer + 1:]])
        elif key == "num_experts_per_tok":
            yield f"{name} - 1", change(path, value - 1)
            yield f"{name} + 1", change(path, value + 1)
        elif key in ("long_factor", "short_factor"):
            yield f"{name} × 1.3", change(path, [factor * 1.3 for factor in value])
            yield f"{name} all 1", change(path, [1.0] * len(value))
        elif key == "original_max_position_embeddings":
            yield f"{name} × 1.25", change(path, value * 5 // 4)
        elif key == "partial_rotary_factor" and "long_factor" not in str(config):
            for other in (0.25, 0.5, 0.75, 1.0):
                if other != value:
                    yield f"{name} {other}", change(path, other)
        elif key == "max_position_embeddings" and "long_factor" in str(config):
            yield f"{name} × 2", change(path, value * 2)
    if config.get("rope_scaling") and "rope_scaling" not in skip:
        yield "no rope scaling", {**config, "rope_scaling": None}
    if "num_attention_heads" not in skip:
        heads, kv = config.get("num_attention_heads"), config.get("num_key_value_heads")
        if heads is None:
            yield "n_head / 2", {**config, "n_head": config["n_head"] // 2}
        elif "head_dim" in config:
            halves = kv % 2 == 0
            yield "head count", {**config, "num_attention_heads": heads // 2 if halves else heads * 2,
                                 "num_key_value_heads": kv // 2 if halves else kv * 2,
                                 "head_dim": config["head_dim"] * 2 if halves else config["head_dim"] // 2}
        elif kv is None:
            yield "head count", {**config, "num_attention_heads": heads // 2}
        elif kv % 2 == 0:
            yield "head count", {**config, "num_attention_heads": heads // 2, "num_key_value_heads": kv // 2}


def is_norm(module: torch.nn.Module) -> bool:
    return isinstance(module, torch.nn.LayerNorm) or type(module).__name__.endswith("RMSNorm")


def other_norm(norm: torch.nn.Module) -> Callable:
    """The same weights as the other kind of norm: without the mean taken off, or with."""
    eps = getattr(norm, "variance_epsilon", None) or norm.eps
    shift = 1.0 if type(norm).__name__.startswith("Gemma") else 0.0

    def forward(x: torch.Tensor) -> torch.Tensor:
        if not isinstance(norm, torch.nn.LayerNorm):
            x = x - x.mean(-1, keepdim=True)
        scaled = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)
        bias = getattr(norm, "bias", None)
        return scaled * (norm.weight + shift) + (0.0 if bias is None else bias)

    return forward


@contextlib.contextmanager
def put(owner, name: str, value) -> Iterator[None]:
    kept = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, kept)


def changed_structure(model: torch.nn.Module) -> Iterator[tuple[str, Callable]]:
    """What was changed, and what gives the change as a context to run the model in."""
    code = sys.modules[type(model).__module__]

    def each(what: str, modules: list, name: str, value: Callable) -> tuple[str, Callable]:
        @contextlib.contextmanager
        def change() -> Iterator[None]:
            with contextlib.ExitStack() as stack:
                for module in modules:
                    stack.enter_context(put(module, name, value(module)))
                yield

        return what, change

    named = list(model.named_modules())
    norms = [(name, module) for name, module in named if is_norm(module)]
    kinds: dict[str, list] = {}
    for name, module in norms:
        place = ".".join(part for part in name.split(".") if not part.isdigit())
        kinds.setdefault(place, []).append(module)
    for place, modules in kinds.items():
        yield each(f"{place}: the other kind of norm", modules, "forward", other_norm)
        if any(part in place for part in ("q_norm", "k_norm", "q_layernorm", "k_layernorm")):
            yield each(f"{place}: none", modules, "forward", lambda _: lambda x: x)
        if type(modules[0]).__name__.startswith("Gemma"):
            yield each(f"{place}: weights not shifted", modules, "forward",
                       lambda norm: lambda x: norm._norm(x.float()) * norm.weight)
    scaled = [module for _, module in named if isinstance(getattr(module, "scaling", None), float)]
    if scaled:
        yield each("attention scale × 1.2", scaled, "scaling", lambda module: module.scaling * 1.2)
    embeds = [module for _, module in named if hasattr(module, "embed_scale")]
    if embeds:
        yield each("embeddings not scaled", embeds, "embed_scale", lambda _: torch.tensor(1.0))
    if hasattr(code, "apply_rotary_pos_emb"):
        rotate = code.apply_rotary_pos_emb

        def neighbours(q, k, cos, sin, *rest, **named_rest):
            width = cos.shape[-1]

            def split(x):
                turned = x[..., :width].unflatten(-1, (width // 2, 2)).transpose(-1, -2).flatten(-2)
                return torch.cat((turned, x[..., width:]), -1)

            return rotate(split(q), split(k), cos, sin, *rest, **named_rest)

        pairs = [(module.q_norm, module.k_norm) for _, module in named if hasattr(module, "q_norm")]
        if pairs and pairs[0][0].weight.shape[0] == getattr(model.config, "head_dim", None):
            owners = [norm for pair in pairs for norm in pair]
            waiting = []

            def later(norm):
                kept = norm.forward
                return lambda x: (waiting.append(kept), x)[1]

            def rotate_first(q, k, *rest, **named_rest):
                q_norm, k_norm = waiting.pop(0), waiting.pop(0)
                q, k = rotate(q, k, *rest, **named_rest)
                return q_norm(q), k_norm(k)

            @contextlib.contextmanager
            def reordered() -> Iterator[None]:
                with each("", owners, "forward", later)[1](), put(code, "apply_rotary_pos_emb", rotate_first):
                    yield

            yield "queries and keys normed after rope", reordered
        yield each("rope on pairs of neighbours", [code], "apply_rotary_pos_emb", lambda _: neighbours)
        yield each("no rope", [code], "apply_rotary_pos_emb", lambda _: lambda q, k, *rest, **named_rest: (q, k))
    if hasattr(code, "sparsemixer"):
        def softmax(scores, jitter_eps, training, top_k):
            weights, experts = torch.softmax(scores, -1).topk(top_k, -1)
            return weights, experts

        def renormalised(scores, jitter_eps, training, top_k):
            weights, experts = softmax(scores, jitter_eps, training, top_k)
            return weights / weights.sum(-1, keepdim=True), experts

        yield each("router: plain softmax", [code], "sparsemixer", lambda _: softmax)
        yield each("router: softmax made to sum to one", [code], "sparsemixer", lambda _: renormalised)
    routers = [module for _, module in named if type(module).__name__.endswith("TopKRouter") and not hasattr(code, "sparsemixer")]
    if routers:
        def unnormalised(router):
            def forward(x):
                logits = torch.nn.functional.linear(x.reshape(-1, router.hidden_dim), router.weight)
                weights, experts = torch.softmax(logits, -1).topk(router.top_k, -1)
                return logits, weights, experts
            return forward

        if getattr(routers[0], "norm_topk_prob", True):
            yield each("router: weights do not sum to one", routers, "forward", unnormalised)


def sensitivity(config: dict, model: torch.nn.Module, run: Callable, *, skip: set[str], silent: set[str],
                head_std: float, off: float, extra: Callable | None = None) -> dict[str, float]:
    """Largest move of a logit as a share of their range, by change.

    `off`: by what share each weight is put off (norms by twice as much, biases by a quarter); `skip`: settings that this golden says nothing about; `silent`: weights that cannot matter (a substring of their name).
    """
    base = run(model)
    span = (base.max() - base.min()).item()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    found = {}

    def moved(other: torch.nn.Module) -> float:
        return round(((run(other) - base).abs().max() / span).item(), 5)

    for what, changed in changed_settings(config, skip):
        other = build(changed)
        changed_state = dict(state)
        if what == "tie_word_embeddings False":
            generator = torch.Generator().manual_seed(99)
            head = other.get_output_embeddings().weight
            changed_state["lm_head.weight"] = torch.randn(head.shape, generator=generator) * head_std
        elif what == "tie_word_embeddings True":
            changed_state["lm_head.weight"] = model.get_input_embeddings().weight.data
        other.load_state_dict(changed_state, strict=False)
        found[what] = moved(other)
    for what, change in changed_structure(model):
        with change():
            found[what] = moved(model)
    for what, other in extra(model, config, build, state) if extra else ():
        found[what] = moved(other)
    for name, weight in model.named_parameters():
        if any(part in name for part in silent):
            continue
        kept = weight.data.clone()
        noise = torch.randn(kept.shape, generator=torch.Generator().manual_seed(7))
        norm = any(part in name.lower() for part in ("norm", "ln_"))
        share = 0.25 if name.endswith("bias") else 2 * off if norm else off
        whole = kept + 1 if norm and type(model).__name__.startswith("Gemma") else kept
        for what, value in ((f"off by {share:.0%}", kept + whole * share * noise), ("zero", torch.zeros_like(kept))):
            weight.data.copy_(value)
            found[f"{name} {what}"] = moved(model)
        weight.data.copy_(kept)
    assert torch.equal(run(model), base)
    return found
