"""Writes test/golden/*.json: what the transformers library computes in float32, for the tests to agree with.

    python tools/golden.py checkpoint models/tiny/base test/golden/tiny-base.json
    python tools/golden.py architectures test/golden/architectures.json

Needs torch and transformers (made with torch 2.15 and transformers 5.23 on a CPU).

"checkpoint" runs a model folder on five plain and five chat prompts. "architectures" makes a small random model of each kind
that Kindred computes; their weights follow from their names by a rule that src/engine/random-model.test.kit.ts repeats, so that
none are stored.

Per prompt: `tokens`; `logits` after the last one, as [token, value] of the 64 largest and 64 evenly spaced ones (all of them for
small vocabularies); `greedy`, the tokens that follow when the likeliest is taken each time; `margins`, by how much each led.
"""

import json
import sys

import numpy
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

TEXTS = ["Once upon a time, there was a little girl named Lily.", "The quick brown fox", "1 2 3 4 5 6", "«Ünïcödé» 🙂 text", " "]
CHATS = ["Tell me a story.", "What does harbour mean?", "what is my account balance", "the 3rd of May 1987", "walk left twice and jump"]

SMALL = dict(num_hidden_layers=2, vocab_size=96, max_position_embeddings=128, rms_norm_eps=1e-5, initializer_range=0.02)
ARCHITECTURES = {
    "Llama with odd sizes, an untied head and biases everywhere": dict(
        model_type="llama", hidden_size=44, intermediate_size=52, num_attention_heads=4, num_key_value_heads=2, head_dim=10,
        attention_bias=True, mlp_bias=True, tie_word_embeddings=False, rope_theta=10000.0,
    ),
    "Llama 3 with scaled frequencies": dict(
        model_type="llama", hidden_size=64, intermediate_size=96, num_attention_heads=4, num_key_value_heads=1, head_dim=16,
        tie_word_embeddings=True, rope_theta=500.0,
        rope_scaling=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64),
    ),
    "Llama with stretched positions": dict(
        model_type="llama", hidden_size=64, intermediate_size=96, num_attention_heads=4, num_key_value_heads=4, head_dim=16,
        tie_word_embeddings=True, rope_theta=10000.0, rope_scaling=dict(rope_type="linear", factor=4.0),
    ),
    "Mistral with a sliding window": dict(
        model_type="mistral", hidden_size=64, intermediate_size=96, num_attention_heads=8, num_key_value_heads=2, head_dim=8,
        sliding_window=7, tie_word_embeddings=False, rope_theta=10000.0,
    ),
    "Qwen 2 with biases on queries, keys and values": dict(
        model_type="qwen2", hidden_size=64, intermediate_size=80, num_attention_heads=4, num_key_value_heads=2,
        tie_word_embeddings=True, rope_theta=1000000.0, use_sliding_window=False,
    ),
    "Qwen 3 with norms over heads": dict(
        model_type="qwen3", hidden_size=48, intermediate_size=80, num_attention_heads=4, num_key_value_heads=2, head_dim=20,
        attention_bias=False, tie_word_embeddings=False, rope_theta=1000000.0, use_sliding_window=False,
    ),
}


def mix(value):
    """One round of the generator in src/util/rng.ts, over arrays of 32-bit words."""
    h = (value + numpy.uint64(0x9E3779B9)) & numpy.uint64(0xFFFFFFFF)
    h = ((h ^ (h >> numpy.uint64(16))) * numpy.uint64(0x85EBCA6B)) & numpy.uint64(0xFFFFFFFF)
    h = ((h ^ (h >> numpy.uint64(13))) * numpy.uint64(0xC2B2AE35)) & numpy.uint64(0xFFFFFFFF)
    return h ^ (h >> numpy.uint64(16))


def uniform(seed, count):
    """uniformAt(seed, 0), uniformAt(seed, 1), …"""
    h = mix(mix(numpy.array([seed], numpy.uint64)))
    return mix(h ^ numpy.arange(count, dtype=numpy.uint64)).astype(numpy.float64) / 2.0**32


def seed_of(name):
    """A number from a parameter's name: its bytes as digits to the base 31, modulo 2^31."""
    seed = 0
    for byte in name.encode():
        seed = (seed * 31 + byte) % 2**31
    return seed


def random_weight(name, shape):
    noise = 2 * uniform(seed_of(name), int(numpy.prod(shape))) - 1
    if name.endswith("norm.weight"):
        values = 1 + 0.5 * noise
    elif name.endswith(".bias"):
        values = 0.5 * noise
    elif name == "model.embed_tokens.weight":
        values = noise
    else:
        values = noise * (3 / shape[-1] ** 0.5)
    return torch.from_numpy(values.astype(numpy.float32).reshape(shape))


def rounded(value):
    return round(float(value), 5)


def record(model, tokens, greedy_tokens):
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([tokens])).logits[0, -1]
        kept = set(logits.topk(min(64, len(logits))).indices.tolist()) | {i * len(logits) // 64 for i in range(64)}
        ids = range(len(logits)) if len(logits) <= 128 else sorted(kept)
        greedy, margins, last = [], [], logits
        while len(greedy) < greedy_tokens and len(tokens) + len(greedy) < model.config.max_position_embeddings:
            first, second = last.topk(2).values
            margins.append(rounded(first - second))
            greedy.append(int(last.argmax()))
            if greedy[-1] == model.config.eos_token_id:
                break
            last = model(input_ids=torch.tensor([tokens + greedy])).logits[0, -1]
    return dict(tokens=tokens, logits=[[i, rounded(logits[i])] for i in ids], greedy=greedy, margins=margins)


def of_checkpoint(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    prompts = [tokenizer(text)["input_ids"] for text in TEXTS]
    for chat in CHATS:
        text = tokenizer.apply_chat_template([dict(role="user", content=chat)], tokenize=False, add_generation_prompt=True)
        prompts.append(tokenizer(text, add_special_tokens=False)["input_ids"])
    return [record(model, tokens, greedy_tokens=48) for tokens in prompts]


def of_architecture(fields):
    config = AutoConfig.for_model(**SMALL, **fields)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    state = {name: random_weight(name, tensor.shape) for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    if not config.tie_word_embeddings:
        state["lm_head.weight"] = random_weight("lm_head.weight", model.lm_head.weight.shape)
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    model.tie_weights()
    prompts = [[(7 * i * i + 3 * i + length) % SMALL["vocab_size"] for i in range(length)] for length in (1, 6, 100)]
    return dict(config=SMALL | fields, prompts=[record(model, tokens, greedy_tokens=12) for tokens in prompts])


if __name__ == "__main__":
    if sys.argv[1] == "checkpoint":
        golden, path = of_checkpoint(sys.argv[2]), sys.argv[3]
    else:
        golden, path = {name: of_architecture(fields) for name, fields in ARCHITECTURES.items()}, sys.argv[2]
    with open(path, "w") as file:
        json.dump(golden, file, separators=(",", ":"))
        file.write("\n")
