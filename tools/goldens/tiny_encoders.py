#!/usr/bin/env python3
"""Tiny random encoders with hidden states and embeddings, from PyPI's transformers.

Writes crates/bantam-testkit/goldens*/tiny-bert-*/ as `tiny_families.py` does, with what sentence-transformers lays beside a
model (modules.json, 1_Pooling/config.json, sentence_bert_config.json). `golden.json` holds for two token sequences
the last hidden states (.npy) and the embeddings pooled by mean and by the first token, each of length one; for texts the ids
that PyPI's tokenizers gives and the embedding as the model's own files say. `logits` is the name of the hidden states' file too,
so that the same loader reads both kinds.

Needs: torch, transformers, tokenizers, safetensors, gguf, numpy; if there, llama-cpp-python.
Run from anywhere: python tools/goldens/tiny_encoders.py
"""
import json
import pathlib
import shutil

import numpy as np
import torch
import transformers
from tiny import TOLERANCE, write_golden, write_weights
from tiny_changes import CLOSE, build, sensitivity
from tiny_families import checkpoint, draw, home, read_again, same_when_written_anew, stability
from tiny_gguf import write_gguf
from tokenizers import Tokenizer

F16 = torch.float16
CONFIG = dict(
    architectures=["BertModel"], attention_probs_dropout_prob=0.1, classifier_dropout=None, gradient_checkpointing=False,
    hidden_act="gelu", hidden_dropout_prob=0.1, hidden_size=32, id2label={"0": "LABEL_0"}, initializer_range=0.02,
    intermediate_size=48, label2id={"LABEL_0": 0}, layer_norm_eps=5e-2, max_position_embeddings=48, model_type="bert",
    num_attention_heads=4, num_hidden_layers=2, pad_token_id=0, position_embedding_type="absolute", torch_dtype="float16",
    transformers_version="4.28.1", type_vocab_size=2, use_cache=True, vocab_size=64)
VARIANTS = {
    "tiny-bert-cls": dict(about="encoder pooled by its first token, as BGE", seed=151, dtype=F16, pooling="cls", config=CONFIG),
    "tiny-bert-mean": dict(about="encoder pooled by mean, as MiniLM; no position ids kept", seed=154, dtype=F16, pooling="mean",
                           config={**CONFIG, "num_attention_heads": 2}),
}
# Weights that no output depends on: a constant added to all scores of a softmax, and a layer that embeddings do not pass.
SILENT = {"key.bias", "pooler"}
WIDTHS = dict(gains={"intermediate.dense.weight": 0.5, "output.dense.bias": 6, "intermediate.dense.bias": 1.5, "output.dense.weight": 5, "query": 2, "key": 2},
              shifts={"intermediate.dense.bias": -2.0})
TEXTS = ["the cat", "The THE he", "a b c, dé? then", ""]


def pieces(count: int) -> list[str]:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    return (special + letters + ["##" + letter for letter in letters] + ["the", "##he", "cat", ",", "?", "##at", "then"])[:count]


def write_wordpiece(directory: pathlib.Path, count: int) -> None:
    names = pieces(count)
    special = [dict(id=i, content=names[i], single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
               for i in range(5)]
    template = dict(
        type="TemplateProcessing",
        single=[{"SpecialToken": dict(id="[CLS]", type_id=0)}, {"Sequence": dict(id="A", type_id=0)},
                {"SpecialToken": dict(id="[SEP]", type_id=0)}],
        pair=[{"SpecialToken": dict(id="[CLS]", type_id=0)}, {"Sequence": dict(id="A", type_id=0)},
              {"SpecialToken": dict(id="[SEP]", type_id=0)}, {"Sequence": dict(id="B", type_id=1)},
              {"SpecialToken": dict(id="[SEP]", type_id=1)}],
        special_tokens={name: dict(id=name, ids=[i], tokens=[name]) for i, name in enumerate(names[:5]) if i in (2, 3)})
    tokenizer = dict(
        version="1.0", truncation=None, padding=None, added_tokens=special,
        normalizer=dict(type="BertNormalizer", clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=True),
        pre_tokenizer=dict(type="BertPreTokenizer"), post_processor=template,
        decoder=dict(type="WordPiece", prefix="##", cleanup=True),
        model=dict(type="WordPiece", unk_token="[UNK]", continuing_subword_prefix="##", max_input_chars_per_word=100,
                   vocab={name: i for i, name in enumerate(names)}))
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")) + "\n")
    (directory / "tokenizer_config.json").write_text(json.dumps(dict(
        cls_token="[CLS]", do_lower_case=True, mask_token="[MASK]", model_max_length=48, pad_token="[PAD]", sep_token="[SEP]",
        strip_accents=None, tokenize_chinese_chars=True, tokenizer_class="BertTokenizer", unk_token="[UNK]"), indent=1) + "\n")


def write_sentence_files(directory: pathlib.Path, pooling: str, width: int) -> None:
    module = "sentence_transformers.models."
    (directory / "modules.json").write_text(json.dumps([
        dict(idx=0, name="0", path="", type=module + "Transformer"),
        dict(idx=1, name="1", path="1_Pooling", type=module + "Pooling"),
        dict(idx=2, name="2", path="2_Normalize", type=module + "Normalize")], indent=1) + "\n")
    (directory / "1_Pooling").mkdir()
    (directory / "1_Pooling/config.json").write_text(json.dumps(dict(
        word_embedding_dimension=width, pooling_mode_cls_token=pooling == "cls", pooling_mode_mean_tokens=pooling == "mean",
        pooling_mode_max_tokens=False, pooling_mode_mean_sqrt_len_tokens=False), indent=1) + "\n")
    (directory / "sentence_bert_config.json").write_text(json.dumps(dict(max_seq_length=48, do_lower_case=True), indent=1) + "\n")


def hidden(model: torch.nn.Module, tokens: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor([tokens])).last_hidden_state[0]


def pooled(states: torch.Tensor, how: str) -> list[float]:
    vector = states[0] if how == "cls" else states.mean(0)
    return [float(f"{value:.8g}") for value in vector / vector.norm()]


def causal(model, config, build, state):
    changed = build({**config, "is_decoder": True})
    changed.load_state_dict(state)
    yield "causal attention", changed


def llama_cpp_states(path: pathlib.Path, tokens: list[int]) -> np.ndarray | None:
    try:
        import llama_cpp
    except ImportError:
        return None
    model = llama_cpp.Llama(str(path), n_ctx=64, embedding=True, pooling_type=llama_cpp.LLAMA_POOLING_TYPE_NONE, verbose=False,
                            n_threads=1)
    batch = llama_cpp.llama_batch_init(len(tokens), 0, 1)
    batch.n_tokens = len(tokens)
    for i, token in enumerate(tokens):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, i, 1, True
        batch.seq_id[i][0] = 0
    context = model._ctx.ctx
    assert llama_cpp.llama_encode(context, batch) == 0
    width = llama_cpp.llama_model_n_embd(model._model.model)
    states = np.array([llama_cpp.llama_get_embeddings_ith(context, i)[:width] for i in range(len(tokens))])
    llama_cpp.llama_batch_free(batch)
    return states


def make(name: str, variant: dict) -> None:
    directory = home(name)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    config = variant["config"]
    (directory / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    write_wordpiece(directory, config["vocab_size"])
    write_sentence_files(directory, variant["pooling"], config["hidden_size"])
    model = build(config)
    draw(model, {**variant, **WIDTHS})
    tensors = checkpoint(model, variant, directory)
    if variant["pooling"] == "cls":
        tensors["embeddings.position_ids"] = torch.arange(config["max_position_embeddings"])[None]
    write_weights(directory, tensors)
    model = read_again(directory, model)

    same_when_written_anew(directory, model, lambda model: hidden(model, [2, 5, 3]))
    rng = np.random.default_rng(variant["seed"])
    golden = dict(about=variant["about"], made_by="tools/goldens/tiny_encoders.py",
                  versions=dict(transformers=transformers.__version__, torch=torch.__version__), tolerance=TOLERANCE,
                  kind="encoder", pooling=variant["pooling"], sequences=[])
    sequences = {label: [2, *rng.integers(5, config["vocab_size"], count).tolist(), 3] for label, count in (("a", 46), ("b", 15))}
    noise = 0.0
    for label, tokens in sequences.items():
        states = hidden(model, tokens)
        noise = max(noise, stability(model, tokens, lambda model: None, hidden))
        np.save(directory / f"hidden-{label}.npy", states.numpy().astype("<f4"))
        golden["sequences"].append(dict(tokens=tokens, first_row=0, logits=f"hidden-{label}.npy",
                                        mean=pooled(states, "mean"), cls=pooled(states, "cls")))
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    golden["texts"] = [dict(text=text, tokens=tokenizer.encode(text).ids,
                            embedding=pooled(hidden(model, tokenizer.encode(text).ids), variant["pooling"])) for text in TEXTS]
    golden["noise"] = float(f"{noise:.1e}")
    found = sensitivity(config, model, lambda model: hidden(model, sequences["a"]), skip=set(), silent=SILENT, head_std=0.0,
                        off=0.1, extra=causal)
    close = {what: share for what, share in found.items() if CLOSE in what}
    golden["sensitivity"] = found = {what: share for what, share in found.items() if what not in close}
    golden["close"] = close
    weak = {what: share for what, share in found.items() if share < 100 * TOLERANCE}
    weak |= {what: share for what, share in close.items() if share < 5 * TOLERANCE}
    print(f"{name}: noise {noise:.1e}; {len(found)} changes, weakest: {min(found.items(), key=lambda item: item[1])}; close: {close}")

    write_gguf(directory / "model.gguf", config, tensors, pooling=variant["pooling"], vocabulary=pieces(config["vocab_size"]))
    theirs = llama_cpp_states(directory / "model.gguf", sequences["a"])
    if theirs is not None:
        def apart(config: dict) -> float:
            """Root mean square: the largest difference would be f16's."""
            other = build(config)
            other.load_state_dict(model.state_dict())
            states = hidden(other, sequences["a"])
            rms = np.sqrt(np.square(states.numpy() - theirs).mean())
            return float(f"{rms / (states.max() - states.min()).item():.1e}")

        golden["llama.cpp"] = dict(rows=48, agrees_within=apart(config), why="takes gelu by its tanh form",
                                   made_to_do_the_same_agrees_within=apart({**config, "hidden_act": "gelu_new"}))
    size = write_golden(directory, golden)
    print(f"  {size / 1000:.0f} kB; llama.cpp: {golden.get('llama.cpp')}")
    assert not weak, f"{name}: too weak: {weak}"
    assert noise < TOLERANCE / 10 and size < 135_000
    assert theirs is None or golden["llama.cpp"]["agrees_within"] < 2e-2


def main() -> None:
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    for name, variant in VARIANTS.items():
        make(name, variant)


if __name__ == "__main__":
    main()
