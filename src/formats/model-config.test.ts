import assert from "node:assert/strict";
import { test } from "node:test";
import { InvalidFile, UnsupportedModel } from "../core/index.js";
import { parseModelConfig } from "./model-config.js";
import { tinyConfig } from "./tiny-checkpoint.test.kit.js";

const parse = (fields: Readonly<Record<string, unknown>> = {}) => parseModelConfig("config.json", tinyConfig(fields));

test("fills in what a Llama leaves unsaid", () => {
  const config = parse({
    head_dim: undefined,
    num_key_value_heads: undefined,
    tie_word_embeddings: undefined,
    rms_norm_eps: null,
  });
  assert.equal(config.headDim, 2);
  assert.equal(config.kvHeads, 4);
  assert.equal(config.tiedEmbeddings, false);
  assert.equal(config.rmsNormEps, 1e-6);
  assert.equal(config.ropeTheta, 10_000);
  assert.deepEqual(config.ropeScaling, { kind: "none" });
});

test("gives each architecture its own biases and norms", () => {
  const traits = (fields: Readonly<Record<string, unknown>>) => {
    const { qkvBias, outputBias, mlpBias, qkNorm } = parse(fields);
    return { qkvBias, outputBias, mlpBias, qkNorm };
  };
  const none = { qkvBias: false, outputBias: false, mlpBias: false, qkNorm: false };
  assert.deepEqual(traits({ model_type: "llama" }), none);
  assert.deepEqual(traits({ model_type: "llama", attention_bias: true }), { ...none, qkvBias: true, outputBias: true });
  assert.deepEqual(traits({ model_type: "llama", mlp_bias: true }), { ...none, mlpBias: true });
  assert.deepEqual(traits({ model_type: "mistral" }), none);
  assert.deepEqual(traits({ model_type: "qwen2" }), { ...none, qkvBias: true });
  assert.deepEqual(traits({ model_type: "qwen3" }), { ...none, qkNorm: true });
});

test("takes head sizes of Qwen 3 from its own default", () => {
  assert.equal(parse({ model_type: "qwen3", head_dim: undefined }).headDim, 128);
});

test("knows who has a sliding window", () => {
  assert.equal(parse({ model_type: "llama", sliding_window: 16 }).slidingWindow, null);
  assert.equal(parse({ model_type: "mistral" }).slidingWindow, 4096);
  assert.equal(parse({ model_type: "mistral", sliding_window: 16 }).slidingWindow, 16);
  const withNull = { ...tinyConfig({ model_type: "mistral" }), sliding_window: null };
  assert.equal(parseModelConfig("config.json", withNull).slidingWindow, null);
  const qwen = { model_type: "qwen2", sliding_window: 16 };
  assert.equal(parse(qwen).slidingWindow, null);
  assert.equal(parse({ ...qwen, use_sliding_window: true, max_window_layers: 2 }).slidingWindow, null);
  assert.equal(parse({ ...qwen, use_sliding_window: true, max_window_layers: 0 }).slidingWindow, 16);
  const mixed = { ...qwen, use_sliding_window: true, layer_types: ["full_attention", "sliding_attention"] };
  assert.throws(() => parse(mixed), { name: "UnsupportedModel", message: /1 of its 2 layers see the whole context/ });
});

test("reads rope scaling in both spellings and in the object of transformers 5", () => {
  assert.deepEqual(parse({ rope_scaling: { type: "linear", factor: 4 } }).ropeScaling, { kind: "linear", factor: 4 });
  const llama3 = {
    rope_type: "llama3",
    factor: 8,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 8192,
  };
  const scaling = {
    kind: "llama3",
    factor: 8,
    lowFrequencyFactor: 1,
    highFrequencyFactor: 4,
    originalContextLength: 8192,
  };
  assert.deepEqual(parse({ rope_scaling: llama3, rope_theta: 5e5 }).ropeScaling, scaling);
  const newer = parse({ rope_parameters: { ...llama3, rope_theta: 5e5 } });
  assert.deepEqual([newer.ropeTheta, newer.ropeScaling], [5e5, scaling]);
  const plain = parse({ rope_parameters: { rope_type: "default", rope_theta: 1e6 } });
  assert.deepEqual([plain.ropeTheta, plain.ropeScaling], [1e6, { kind: "none" }]);
});

const unsupported: ReadonlyArray<readonly [fields: Record<string, unknown>, says: RegExp]> = [
  [{ model_type: "gemma3" }, /model_type is "gemma3"; known are llama, mistral, qwen2, qwen3/],
  [{ model_type: null }, /model_type is null/],
  [{ model_type: "constructor" }, /model_type is "constructor"/],
  [{ hidden_act: "gelu" }, /hidden_act is "gelu"/],
  [{ rope_scaling: { type: "yarn", factor: 2 } }, /rope scaling is "yarn"/],
  [{ rope_parameters: { rope_type: "longrope" } }, /rope scaling is "longrope"/],
  [{ partial_rotary_factor: 0.5 }, /partial_rotary_factor is 0.5/],
  [{ quantization_config: { quant_method: "gptq" } }, /quantised \(quant_method "gptq"\)/],
];

for (const [fields, says] of unsupported) {
  test(`refuses ${JSON.stringify(fields)} as something it does not compute`, () => {
    assert.throws(
      () => parse(fields),
      (error) => error instanceof UnsupportedModel && says.test(error.message),
    );
  });
}

const invalid: ReadonlyArray<readonly [fields: Record<string, unknown>, says: RegExp]> = [
  [{ hidden_size: undefined }, /hidden_size is missing, expected a whole number/],
  [{ hidden_size: "8" }, /hidden_size is "8"/],
  [{ num_hidden_layers: 0 }, /num_hidden_layers is 0/],
  [{ num_hidden_layers: 1e9 }, /num_hidden_layers is 1000000000, expected a whole number from 1 to 4096/],
  [
    { num_attention_heads: 4, num_key_value_heads: 3 },
    /num_attention_heads 4 is not a multiple of num_key_value_heads 3/,
  ],
  [{ head_dim: 3 }, /each head has 3 dimensions/],
  [{ head_dim: undefined, num_attention_heads: 6 }, /each head has 1.3/],
  [{ rms_norm_eps: -1 }, /rms_norm_eps is -1, expected a number above 0/],
  [{ rope_scaling: { type: "linear" } }, /rope_scaling.factor is missing/],
  [{ rope_scaling: [] }, /rope_scaling is \[\], expected an object/],
  [{ tie_word_embeddings: 1 }, /tie_word_embeddings is 1, expected true or false/],
];

for (const [fields, says] of invalid) {
  test(`refuses ${JSON.stringify(fields)} as invalid`, () => {
    assert.throws(
      () => parse(fields),
      (error) => error instanceof InvalidFile && says.test(error.message),
    );
  });
}
