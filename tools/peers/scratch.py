"""Training of a small decoder from scratch in PyTorch: tokens a second, beside `bantam tune --from-scratch`.

usage: scratch.py SPEC.toml LINES.jsonl MODEL.gguf [STEPS]

The same shape, the same lines, the same batch; sequences padded to the longest of a batch (sorted within a few batches, as is
usual), loss on answers alone, AdamW, float32. MODEL.gguf is a model that bantam has made from the spec: its tokenizer counts the
tokens. Padding is not counted as tokens on either side.
"""

import json
import random
import sys
import time
import tomllib

import torch
from llama_cpp import Llama
from transformers import LlamaConfig, LlamaForCausalLM

spec = tomllib.load(open(sys.argv[1], "rb"))
steps = int(sys.argv[4]) if len(sys.argv) > 4 else 30
tokenizer = Llama(sys.argv[3], vocab_only=True, verbose=False)
special = {name: tokenizer.tokenize(name.encode(), add_bos=False, special=True) for name in spec["tokenizer"]["special"]}
plain = lambda text: tokenizer.tokenize(text.encode(), add_bos=False, special=False)
batch, training = spec["training"]["batch"], spec["training"]

lines = [json.loads(line)["messages"] for _, line in zip(range(batch * steps), open(sys.argv[2]))]
examples = []
for user, answer in lines:
    said = user["content"].strip()
    prompt = special["<|user|>"] + plain(said.lower()) + special["<|again|>"] + plain(said) + special["<|call|>"]
    answer = plain(answer["content"]) + special["<|end|>"]
    examples.append((prompt + answer, len(prompt)))

torch.manual_seed(0)
torch.set_num_threads(2)
config = LlamaConfig(
    vocab_size=tokenizer.n_vocab(), hidden_size=spec["width"], num_hidden_layers=spec["layers"],
    num_attention_heads=spec["heads"], num_key_value_heads=spec.get("kv_heads", spec["heads"]),
    intermediate_size=spec["feed_forward"], max_position_embeddings=spec["context"], tie_word_embeddings=spec["tied"],
)
model = LlamaForCausalLM(config)
optimiser = torch.optim.AdamW(model.parameters(), lr=training["rate"], betas=(0.9, training["beta2"]))
print(sum(p.numel() for p in model.parameters()), "parameters", flush=True)

random.Random(0).shuffle(examples)
group = 8 * batch
examples = [e for at in range(0, len(examples), group) for e in sorted(examples[at:at + group], key=lambda e: len(e[0]))]
begin = tokens = padded = 0
for step in range(steps):
    rows = examples[step * batch:(step + 1) * batch]
    longest = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([ids + [0] * (longest - len(ids)) for ids, _ in rows])
    mask = torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids, _ in rows])
    labels = torch.tensor([[-100] * at + ids[at:] + [-100] * (longest - len(ids)) for ids, at in rows])
    if step == 3:
        begin, tokens, padded = time.time(), 0, 0
    loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    optimiser.zero_grad()
    tokens += sum(len(ids) for ids, _ in rows)
    padded += ids.numel()
seconds = time.time() - begin
print(f"{tokens / seconds:.0f} tokens/s ({padded / seconds:.0f} with padding), loss {loss.item():.3f}")
