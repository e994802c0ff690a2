// Variants in one batch with the base and each other, each held against the reference decoder over its whole weights.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type DType, type ModelConfig, parametersOf } from "../core/index.js";
import { uniformAt } from "../util/index.js";
import type { ResidentVariant } from "./batch.js";
import { memoryCheckpoint, randomWeights, smallConfig } from "./random-model.test.kit.js";
import { fillPools, type RandomVariant, tunedModel } from "./random-variant.test.kit.js";
import { referenceLogits } from "./reference-decoder.test.kit.js";
import { poolsFor, spec, Workbench } from "./workbench.test.kit.js";

interface Placed {
  readonly variant: RandomVariant;
  readonly place: ResidentVariant;
}

const placed = (variant: RandomVariant, index: number, ...slots: number[]): Placed => ({
  variant,
  place: { index, slots: new Map([[variant.dtype, slots]]), extraRows: variant.extraRows },
});

async function family(
  config: ModelConfig,
  variants: Readonly<Record<string, Placed>>,
  slots: Partial<Record<DType, number>>,
  extraRows = 0,
) {
  const base = randomWeights(config);
  const matrices = parametersOf(config)
    .filter(({ kind }) => kind !== "vector")
    .map(({ name }) => name);
  const bench = await Workbench.open(memoryCheckpoint(config, base), {
    pools: poolsFor(slots, matrices, Object.keys(variants).length, extraRows),
  });
  for (const { variant, place } of Object.values(variants)) fillPools(bench.pools!, config, base, variant, place);
  const models = new Map(
    Object.entries(variants).map(([name, { variant }]) => [name, tunedModel(config, base, variant)]),
  );
  return {
    bench,
    resident: (name: string) => variants[name]?.place,
    model: (name: string | null) => (name === null ? { config, weights: base } : models.get(name)!),
  };
}

type Family = Awaited<ReturnType<typeof family>>;

/** Runs prompts of these lengths, of these variants, together; the largest error of any logits against the reference, by their length. */
function largestError(
  { bench, resident, model }: Family,
  requests: readonly (readonly [string | null, number])[],
  stepTokens = 512,
): number {
  const specs = requests.map(([variant, length], index) => {
    const { vocabSize } = model(variant).config;
    const tokens = Array.from({ length }, (_, at) => Math.floor(uniformAt(index, at) * vocabSize));
    return spec(`${index}`, [...tokens.slice(1), vocabSize - 1], { variant, maxTokens: 4 });
  });
  const outcomes = bench.run(specs, { resident, stepTokens });
  const errors = specs.flatMap(({ id, variant, prompt }) => {
    const { tokens, logits } = outcomes.get(id)!;
    const { config, weights } = model(variant);
    const expected = referenceLogits(config, weights, [...prompt, ...tokens]).slice(prompt.length - 1, -1);
    return logits.map((row, step) => {
      assert.equal(row.length, config.vocabSize);
      const length = (values: readonly number[]) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
      return length(expected[step]!.map((value, token) => value - row[token]!)) / length(expected[step]!);
    });
  });
  return Math.max(...errors);
}

const configs: Readonly<Record<string, Partial<ModelConfig>>> = {
  "a tied Llama": {},
  "an untied Qwen 2 with biases": { architecture: "qwen2", qkvBias: true, tiedEmbeddings: false },
  "a Qwen 3 with norms over heads": { architecture: "qwen3", qkNorm: true, tiedEmbeddings: false },
  "a Llama of odd sizes with biases everywhere": {
    hiddenSize: 36,
    headDim: 10,
    feedForward: 52,
    vocabSize: 97,
    qkvBias: true,
    outputBias: true,
    mlpBias: true,
  },
};

/** Planes in f32 leave nothing to rounding, so what differs is a mistake. */
const exact = (seed: number, planes: number, extraRows = 0): RandomVariant => ({
  seed,
  dtype: "f32",
  planes,
  extraRows,
});

for (const [name, fields] of Object.entries(configs)) {
  test(`${name}: the base and variants of one and two planes, some with words of their own, in one batch`, async () => {
    const own = await family(
      smallConfig(fields),
      {
        clinc: placed(exact(1, 1), 2, 3),
        dates: placed(exact(2, 2), 0, 4, 1),
        kana: placed(exact(3, 1, 5), 3, 0),
        emoji: placed(exact(4, 2, 2), 1, 2, 5),
      },
      { f32: 6 },
      5,
    );
    using bench = own.bench;
    assert.equal(bench.pools?.layout.extraRows, 5);
    const mixed: [string | null, number][] = [
      ["kana", 9],
      [null, 12],
      ["dates", 3],
      ["emoji", 1],
      ["clinc", 20],
      [null, 1],
      ["dates", 8],
      ["kana", 2],
    ];
    assert.ok(largestError(own, mixed) < 1e-4);
    assert.ok(largestError(own, mixed, 11) < 1e-4, "in chunks");
    for (const request of mixed) assert.ok(largestError(own, [request]) < 1e-4, `${request} alone`);
  });
}

test("planes of several block types in one batch", async () => {
  const signs = (seed: number, planes: number): RandomVariant => ({ seed, dtype: "q1_0", planes, extraRows: 0 });
  const own = await family(
    smallConfig(),
    {
      one: placed(signs(1, 1), 0, 2),
      two: placed(signs(2, 2), 3, 0, 1),
      ternary: placed({ seed: 3, dtype: "tq1_0", planes: 1, extraRows: 0 }, 1, 0),
      bytes: placed({ seed: 4, dtype: "q8_0", planes: 1, extraRows: 0 }, 2, 1),
    },
    { q1_0: 3, tq1_0: 1, q8_0: 2 },
  );
  using _ = own.bench;
  const mixed: [string | null, number][] = [
    ["two", 9],
    [null, 12],
    ["ternary", 7],
    ["one", 20],
    ["bytes", 5],
    ["two", 1],
    ["one", 1],
    [null, 1],
  ];
  // ggml rounds activations to eight bits where weights are blocks; without the deltas the error would be near 0.5.
  assert.ok(largestError(own, mixed) < 0.03);
  assert.ok(largestError(own, mixed, 11) < 0.03, "in chunks");
});

test("without its planes a variant is far from itself", async () => {
  const own = await family(smallConfig(), { clinc: placed(exact(1, 1), 0, 0) }, { f32: 1 });
  using _ = own.bench;
  const { model } = own;
  assert.ok(largestError({ ...own, model: () => model(null) }, [["clinc", 20]]) > 0.2);
});

test("pools change nothing for the base", async () => {
  const config = smallConfig();
  const own = await family(config, { clinc: placed(exact(1, 1), 0, 0) }, { f32: 1 });
  using withPools = own.bench;
  using without = await Workbench.open(memoryCheckpoint(config));
  const one = spec("a", [5, 9, 2, 70], { maxTokens: 8 });
  assert.deepEqual(withPools.run([one]), without.run([one]));
});

test("a slot whose planes are written anew serves the new variant", async () => {
  const config = smallConfig();
  const base = randomWeights(config);
  const first = placed(exact(1, 1), 0, 0);
  const own = await family(config, { clinc: first }, { f32: 1 });
  using bench = own.bench;
  assert.ok(largestError(own, [["clinc", 7]]) < 1e-4);
  const second = exact(9, 1);
  fillPools(bench.pools!, config, base, second, first.place);
  const tuned = tunedModel(config, base, second);
  assert.ok(largestError({ ...own, model: () => tuned }, [["clinc", 7]]) < 1e-4);
});
