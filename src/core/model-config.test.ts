import assert from "node:assert/strict";
import { test } from "node:test";
import { type ModelConfig, parametersOf } from "./model-config.js";

const config: ModelConfig = {
  architecture: "llama",
  hiddenSize: 8,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  headDim: 6,
  feedForward: 12,
  vocabSize: 20,
  contextLength: 64,
  rmsNormEps: 1e-5,
  ropeTheta: 10_000,
  ropeScaling: { kind: "none" },
  tiedEmbeddings: true,
  qkvBias: false,
  outputBias: false,
  mlpBias: false,
  qkNorm: false,
  slidingWindow: null,
};

const lines = (fields: Partial<ModelConfig>) =>
  parametersOf({ ...config, ...fields }).map(({ name, shape, kind }) => `${kind} ${name} ${shape.join("x")}`);

test("a Llama's parameters, in slot order", () => {
  assert.deepEqual(lines({ layers: 1 }), [
    "embedding model.embed_tokens.weight 20x8",
    "vector model.layers.0.input_layernorm.weight 8",
    "linear model.layers.0.self_attn.q_proj.weight 24x8",
    "linear model.layers.0.self_attn.k_proj.weight 12x8",
    "linear model.layers.0.self_attn.v_proj.weight 12x8",
    "linear model.layers.0.self_attn.o_proj.weight 8x24",
    "vector model.layers.0.post_attention_layernorm.weight 8",
    "linear model.layers.0.mlp.gate_proj.weight 12x8",
    "linear model.layers.0.mlp.up_proj.weight 12x8",
    "linear model.layers.0.mlp.down_proj.weight 8x12",
    "vector model.norm.weight 8",
  ]);
});

test("layers repeat with their number, and an untied head comes last", () => {
  const names = parametersOf({ ...config, tiedEmbeddings: false });
  assert.equal(names.filter(({ name }) => name.startsWith("model.layers.1.")).length, 9);
  assert.deepEqual(names.at(-1), { name: "lm_head.weight", shape: [20, 8], kind: "head" });
});

test("biases and head norms follow what they belong to", () => {
  const qwen2 = lines({ qkvBias: true });
  assert.deepEqual(qwen2.slice(2, 6), [
    "linear model.layers.0.self_attn.q_proj.weight 24x8",
    "vector model.layers.0.self_attn.q_proj.bias 24",
    "linear model.layers.0.self_attn.k_proj.weight 12x8",
    "vector model.layers.0.self_attn.k_proj.bias 12",
  ]);
  assert.equal(
    qwen2.some((line) => line.includes("o_proj.bias")),
    false,
  );
  const qwen3 = lines({ qkNorm: true });
  assert.ok(qwen3.includes("vector model.layers.1.self_attn.q_norm.weight 6"));
  assert.ok(qwen3.includes("vector model.layers.1.self_attn.k_norm.weight 6"));
  const biased = lines({ outputBias: true, mlpBias: true });
  for (const [name, size] of [
    ["self_attn.o_proj", 8],
    ["mlp.gate_proj", 12],
    ["mlp.up_proj", 12],
    ["mlp.down_proj", 8],
  ]) {
    assert.ok(biased.includes(`vector model.layers.0.${name}.bias ${size}`), `${name}`);
  }
});
