// The engine's decoder against a slow and plain one, over small random models of every kind, in every way of computing them.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { ModelConfig } from "../core/index.js";
import { UnfitCacheType } from "../model/index.js";
import { uniformAt } from "../util/index.js";
import { memoryCheckpoint, randomWeights, smallConfig } from "./random-model.test.kit.js";
import { referenceLogits } from "./reference-decoder.test.kit.js";
import { largestDifference, spec, Workbench } from "./workbench.test.kit.js";

const models: Readonly<Record<string, Partial<ModelConfig>>> = {
  "a Llama": {},
  "a Llama without grouped heads, untied": { kvHeads: 4, tiedEmbeddings: false },
  "a Llama of sizes that no block divides, with biases everywhere": {
    hiddenSize: 36,
    heads: 6,
    kvHeads: 3,
    headDim: 10,
    feedForward: 52,
    vocabSize: 97,
    qkvBias: true,
    outputBias: true,
    mlpBias: true,
  },
  "a Llama 3": {
    ropeTheta: 500,
    headDim: 16,
    ropeScaling: {
      kind: "llama3",
      factor: 8,
      lowFrequencyFactor: 1,
      highFrequencyFactor: 4,
      originalContextLength: 64,
    },
  },
  "a Llama with stretched positions": { ropeScaling: { kind: "linear", factor: 4 } },
  "a Mistral": { architecture: "mistral", slidingWindow: 11, tiedEmbeddings: false },
  "a Qwen 2": { architecture: "qwen2", qkvBias: true, rmsNormEps: 1e-6, ropeTheta: 1e6 },
  "a Qwen 3": { architecture: "qwen3", qkNorm: true, headDim: 12, heads: 3, kvHeads: 1, tiedEmbeddings: false },
};

const prompt = (config: ModelConfig, length: number, seed: number) =>
  Array.from({ length }, (_, at) => Math.floor(uniformAt(seed, at) * config.vocabSize));

for (const [name, fields] of Object.entries(models)) {
  const config = smallConfig(fields);
  const weights = randomWeights(config);
  const checkpoint = memoryCheckpoint(config, weights);

  test(`${name}: a prompt and what follows it, at once and in chunks`, async () => {
    using bench = await Workbench.open(checkpoint);
    const own = prompt(config, 45, 1);
    const { tokens, logits } = bench.run([spec("a", own, { maxTokens: 6 })]).get("a")!;
    const expected = referenceLogits(config, weights, [...own, ...tokens]).slice(own.length - 1, -1);
    for (const [step, row] of logits.entries())
      assert.ok(largestDifference(row, expected[step]!) < 2e-4, `token ${step}`);

    const chunked = bench.run([spec("a", own, { maxTokens: 6 })], { stepTokens: 4 }).get("a")!;
    assert.deepEqual(chunked.tokens, tokens);
    assert.ok(largestDifference(chunked.logits[0]!, expected[0]!) < 2e-4);
  });

  test(`${name}: sequences of many lengths in one batch`, async () => {
    using bench = await Workbench.open(checkpoint, { regions: 5 });
    const specs = [1, 2, 30, 13, 7, 19, 3].map((length, index) =>
      spec(`${index}`, prompt(config, length, index), { maxTokens: 3 + index }),
    );
    const outcomes = bench.run(specs, { stepTokens: 25 });
    for (const { id, prompt: own } of specs) {
      const { tokens, logits } = outcomes.get(id)!;
      const expected = referenceLogits(config, weights, [...own, ...tokens]).slice(own.length - 1, -1);
      for (const [step, row] of logits.entries()) {
        assert.ok(largestDifference(row, expected[step]!) < 2e-4, `sequence ${id}, token ${step}`);
      }
    }
  });
}

test("attention looks past 64 and 256 tokens without a seam", async () => {
  const config = smallConfig({ layers: 1 });
  const weights = randomWeights(config);
  using bench = await Workbench.open(memoryCheckpoint(config, weights), { regions: 2 });
  const own = prompt(config, 250, 3);
  const { tokens, logits } = bench.run([spec("a", own, { maxTokens: 12 })], { stepTokens: 61 }).get("a")!;
  const expected = referenceLogits(config, weights, [...own, ...tokens]).slice(own.length - 1, -1);
  for (const [step, row] of logits.entries())
    assert.ok(largestDifference(row, expected[step]!) < 2e-4, `token ${step}`);
});

test("a region that was another's before holds nothing over", async () => {
  const config = smallConfig();
  using bench = await Workbench.open(memoryCheckpoint(config), { regions: 1 });
  const short = () => bench.run([spec("a", prompt(config, 9, 1), { maxTokens: 5 })]).get("a")!;
  const before = short();
  bench.run([spec("b", prompt(config, 300, 2), { maxTokens: 5 })]);
  assert.deepEqual(short(), before);
});

test("keys and values in half floats cost little", async () => {
  const config = smallConfig();
  const weights = randomWeights(config);
  using bench = await Workbench.open(memoryCheckpoint(config, weights), { kvDType: "f16" });
  const own = prompt(config, 60, 4);
  const { logits } = bench.run([spec("a", own)]).get("a")!;
  const difference = largestDifference(logits[0]!, referenceLogits(config, weights, own).at(-1)!);
  assert.ok(difference > 0 && difference < 0.02, `${difference}`);
});

test("keys and values in blocks of 8 bits cost more, and the same when they were copied", async () => {
  const config = smallConfig({ headDim: 32 });
  const weights = randomWeights(config);
  using bench = await Workbench.open(memoryCheckpoint(config, weights), { kvDType: "q8_0", regions: 2 });
  const own = prompt(config, 60, 4);
  const alone = bench.run([spec("a", own)], { stepTokens: 50 }).get("a")!.logits[0]!;
  const error = relativeError(alone, referenceLogits(config, weights, own).at(-1)!);
  assert.ok(error > 0 && error < 0.05, `${error}`);
  const specs = [spec("x", prompt(config, 3, 5)), spec("y", own.slice(0, 50), { maxTokens: 4 }), spec("a", own)];
  const { logits, cachedTokens } = bench.run(specs).get("a")!;
  assert.equal(cachedTokens, 50);
  assert.ok(largestDifference(logits[0]!, alone) < 1e-5);
});

test("heads that do not fill blocks are refused a cache in blocks", async () => {
  const checkpoint = memoryCheckpoint(smallConfig({ headDim: 16 }));
  await assert.rejects(Workbench.open(checkpoint, { kvDType: "q8_0" }), UnfitCacheType);
});

/** By how much of their length the logits may be off. Random weights are the worst that rounding can meet. */
const baseDTypes = { f16: 0.004, bf16: 0.02, q8_0: 0.03, q5_1: 0.3, q4_0: 0.5 } as const;

for (const [dtype, bound] of Object.entries(baseDTypes)) {
  test(`a base held as ${dtype} gives logits within ${bound} of their length`, async () => {
    const config = smallConfig({ hiddenSize: 64, headDim: 16 });
    const weights = randomWeights(config);
    using bench = await Workbench.open(memoryCheckpoint(config, weights), { dtype: dtype as keyof typeof baseDTypes });
    const own = prompt(config, 20, 5);
    const actual = bench.run([spec("a", own)]).get("a")!.logits[0]!;
    const expected = referenceLogits(config, weights, own).at(-1)!;
    const error = relativeError(actual, expected);
    assert.ok(error < bound && error > bound / 10, `${error}`);
  });
}

/** The length of the difference over that of what is expected. */
function relativeError(actual: ArrayLike<number>, expected: readonly number[]): number {
  const length = (values: readonly number[]) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
  return length(expected.map((value, token) => value - actual[token]!)) / length(expected);
}
