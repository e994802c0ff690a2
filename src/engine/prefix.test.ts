// What is found in the cache is what would have been computed: in 32 bits, to the last bit where the rest is computed in spans of the
// same lengths.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { ModelConfig } from "../core/index.js";
import { uniformAt } from "../util/index.js";
import { memoryCheckpoint, randomWeights, smallConfig } from "./random-model.test.kit.js";
import { referenceLogits } from "./reference-decoder.test.kit.js";
import { largestDifference, spec, Workbench } from "./workbench.test.kit.js";

const models: Readonly<Record<string, Partial<ModelConfig>>> = {
  "a Llama": {},
  "a Mistral, whose window is shorter than the prefix": {
    architecture: "mistral",
    slidingWindow: 11,
    tiedEmbeddings: false,
  },
  "a Qwen 3": { architecture: "qwen3", qkNorm: true, headDim: 12, heads: 3, kvHeads: 1, tiedEmbeddings: false },
};

const words = (config: ModelConfig, length: number, seed: number) =>
  Array.from({ length }, (_, at) => Math.floor(uniformAt(seed, at) * config.vocabSize));

for (const [name, fields] of Object.entries(models)) {
  const config = smallConfig(fields);
  const weights = randomWeights(config);
  const checkpoint = memoryCheckpoint(config, weights);
  const first = words(config, 45, 1);
  const second = [...first, ...words(config, 20, 2)];

  test(`${name}: who takes over the region of a finished sequence computes the rest, and the same logits`, async () => {
    using bench = await Workbench.open(checkpoint, { regions: 1 });
    const alone = bench.run([spec("b", second, { maxTokens: 5 })], { stepTokens: first.length }).get("b")!;
    const after = bench.run([spec("a", first), spec("b", second, { maxTokens: 5 })]).get("b")!;
    assert.deepEqual([alone.cachedTokens, after.cachedTokens], [0, first.length]);
    assert.deepEqual(after.logits, alone.logits);
  });

  test(`${name}: who gets a copy of what a running sequence has computed draws the same logits`, async () => {
    using bench = await Workbench.open(checkpoint, { regions: 2 });
    const alone = bench.run([spec("b", second)], { stepTokens: first.length }).get("b")!;
    const specs = [spec("x", words(config, 3, 3)), spec("a", first, { maxTokens: 9 }), spec("b", second)];
    const beside = bench.run(specs);
    const copied = beside.get("b")!;
    assert.equal(copied.cachedTokens, first.length);
    const expected = referenceLogits(config, weights, second).at(-1)!;
    assert.ok(largestDifference(copied.logits[0]!, expected) < 2e-4);
    assert.ok(largestDifference(copied.logits[0]!, alone.logits[0]!) < 1e-5);
    assert.deepEqual(beside.get("a")!.tokens, bench.run([specs[1]!]).get("a")!.tokens, "it goes on undisturbed");
  });

  test(`${name}: a second turn finds the first one and its answer but the last token of it`, async () => {
    using bench = await Workbench.open(checkpoint, { regions: 1 });
    const turn = spec("a", first, { maxTokens: 7 });
    const { tokens: answer } = bench.run([turn]).get("a")!;
    const prompt = [...first, ...answer, ...words(config, 4, 4)];
    const { logits, cachedTokens } = bench.run([turn, spec("b", prompt, { maxTokens: 3 })]).get("b")!;
    assert.equal(cachedTokens, first.length + answer.length - 1);
    assert.ok(largestDifference(logits[0]!, referenceLogits(config, weights, prompt).at(-1)!) < 2e-4);
  });
}

test("the same prompt again computes one token", async () => {
  const config = smallConfig();
  using bench = await Workbench.open(memoryCheckpoint(config), { regions: 1 });
  const prompt = words(config, 30, 5);
  const outcomes = bench.run([spec("a", prompt), spec("b", prompt)]);
  assert.equal(outcomes.get("b")!.cachedTokens, 29);
  assert.ok(largestDifference(outcomes.get("b")!.logits[0]!, outcomes.get("a")!.logits[0]!) < 1e-5);
});
