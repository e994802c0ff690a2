import assert from "node:assert/strict";
import { test } from "node:test";
import { InvalidFile, type RopeScaling, UnsupportedModel } from "../core/index.js";
import type { GgufTensor, GgufValue } from "./gguf.js";
import { ggufConfigJson } from "./gguf-config.js";
import { GgufMetadata } from "./gguf-metadata.js";
import { parseModelConfig } from "./model-config.js";

const required: Readonly<Record<string, GgufValue>> = {
  block_count: 2,
  context_length: 64,
  embedding_length: 512,
  feed_forward_length: 12,
  vocab_size: 24,
  "attention.head_count": 4,
  "attention.layer_norm_rms_epsilon": 1e-5,
};

function read(
  fields: Readonly<Record<string, GgufValue | undefined>>,
  {
    architecture = "llama",
    tensors = [],
    factors,
  }: { architecture?: string; tensors?: string[]; factors?: number[] } = {},
) {
  const values = new Map<string, GgufValue>([["general.architecture", architecture]]);
  for (const [key, value] of Object.entries({ ...required, ...fields })) {
    if (value !== undefined) values.set(`${architecture}.${key}`, value);
  }
  const names = new Map(tensors.map((name) => [name, {} as GgufTensor]));
  const metadata = new GgufMetadata("m.gguf", values);
  return parseModelConfig("m.gguf", ggufConfigJson(metadata, names, factors && Float32Array.from(factors)));
}

test("fills in what a file leaves unsaid", () => {
  const config = read({});
  assert.deepEqual([config.heads, config.kvHeads, config.headDim], [4, 4, 128]);
  assert.deepEqual([config.ropeTheta, config.ropeScaling], [10_000, { kind: "none" }]);
});

test("takes explicit head counts and sizes", () => {
  const fields = { "attention.head_count_kv": 2, "attention.key_length": 64, "attention.value_length": 64 };
  const config = read({ ...fields, "rope.dimension_count": 64, "rope.freq_base": 5e5 }, { architecture: "qwen3" });
  assert.deepEqual([config.architecture, config.kvHeads, config.headDim, config.ropeTheta], ["qwen3", 2, 64, 5e5]);
  assert.equal(config.qkNorm, true);
});

test("reads ties and biases off the tensors", () => {
  assert.equal(read({}).tiedEmbeddings, true);
  assert.equal(read({}, { tensors: ["output.weight"] }).tiedEmbeddings, false);
  const biased = read({}, { tensors: ["blk.0.attn_q.bias", "blk.0.ffn_gate.bias"] });
  assert.deepEqual([biased.qkvBias, biased.outputBias, biased.mlpBias], [true, true, true]);
  const qwen = read({}, { architecture: "qwen2", tensors: ["blk.0.attn_q.bias"] });
  assert.deepEqual([qwen.qkvBias, qwen.outputBias, qwen.mlpBias], [true, false, false]);
});

test("reads linear rope scaling in both spellings", () => {
  const scaling = { kind: "linear", factor: 4 };
  assert.deepEqual(read({ "rope.scaling.type": "linear", "rope.scaling.factor": 4 }).ropeScaling, scaling);
  assert.deepEqual(read({ "rope.scale_linear": 4 }).ropeScaling, scaling);
});

/** Divisors of the frequencies as Llama 3.1 defines them, by wavelength. */
function llama3Factors(
  factor: number,
  { low = 1, high = 4, context = 8192, theta = 5e5, headDim = 128 } = {},
): number[] {
  return Array.from({ length: headDim / 2 }, (_, pair) => {
    const wavelength = 2 * Math.PI * theta ** ((2 * pair) / headDim);
    if (wavelength < context / high) return 1;
    if (wavelength > context / low) return factor;
    const smooth = (context / wavelength - low) / (high - low);
    return 1 / ((1 - smooth) / factor + smooth);
  });
}

test("recognises Llama 3's scaling behind a table of frequency factors", () => {
  for (const factor of [8, 32]) {
    const scaling: RopeScaling = read({ "rope.freq_base": 5e5 }, { factors: llama3Factors(factor) }).ropeScaling;
    assert.deepEqual(scaling, {
      kind: "llama3",
      factor,
      lowFrequencyFactor: 1,
      highFrequencyFactor: 4,
      originalContextLength: 8192,
    });
  }
});

test("refuses a table of frequency factors that is not Llama 3's", () => {
  const refused = [llama3Factors(8, { high: 2 }), llama3Factors(8).slice(1), llama3Factors(8).fill(8)];
  for (const factors of refused) {
    assert.throws(() => read({ "rope.freq_base": 5e5 }, { factors }), {
      name: "UnsupportedModel",
      message: /rope_freqs/,
    });
  }
});

const refused: ReadonlyArray<
  readonly [
    fields: Record<string, GgufValue | undefined>,
    says: RegExp,
    as: typeof InvalidFile | typeof UnsupportedModel,
  ]
> = [
  [{ block_count: undefined }, /lacks "llama.block_count"/, InvalidFile],
  [{ block_count: "two" }, /"llama.block_count" is "two", expected a number/, InvalidFile],
  [{ "attention.head_count": [4, 4] }, /"llama.attention.head_count" is \[4,4\]/, InvalidFile],
  [{ "attention.head_count": 3 }, /head_dim is 170.6/, InvalidFile],
  [{ expert_count: 8 }, /llama.expert_count is 8; mixtures of experts/, UnsupportedModel],
  [{ "rope.dimension_count": 32 }, /llama.rope.dimension_count is 32; heads have 128/, UnsupportedModel],
  [{ "attention.value_length": 64 }, /llama.attention.value_length is 64/, UnsupportedModel],
  [{ "attention.sliding_window": 4096 }, /llama.attention.sliding_window is 4096/, UnsupportedModel],
  [{ "rope.scaling.type": "yarn", "rope.scaling.factor": 4 }, /rope scaling is "yarn"/, UnsupportedModel],
];

for (const [fields, says, as] of refused) {
  test(`refuses ${JSON.stringify(fields)}`, () => {
    assert.throws(
      () => read(fields),
      (error) => error instanceof as && says.test(error.message),
    );
  });
}

test("refuses an architecture that it does not know", () => {
  assert.throws(() => read({}, { architecture: "gemma3" }), {
    message: /general.architecture is "gemma3"; known are llama/,
  });
});
