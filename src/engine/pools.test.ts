// Variants in one batch with the base and each other, each held against the reference decoder over its whole weights.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { ModelConfig } from "../core/index.js";
import { Device, loadKernels, type Tensor } from "../ggml/index.js";
import { uniformAt } from "../util/index.js";
import { memoryCheckpoint, smallConfig } from "./random-model.test.kit.js";
import { type RandomVariant, registered, tunedModel } from "./random-variant.test.kit.js";
import { referenceLogits } from "./reference-decoder.test.kit.js";
import { type Family, openFamily } from "./variant-family.test.kit.js";
import { loadVariant } from "./variant-load.js";
import { spec, Workbench } from "./workbench.test.kit.js";

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

type Factors = RandomVariant["factors"];

/** Parts in f32 leave nothing to rounding, so what differs is a mistake. */
const exact = (seed: number, planes: number, extraRows = 0, factors: Factors = []): RandomVariant => ({
  seed,
  dtype: "f32",
  planes,
  extraRows,
  factors,
});

for (const [name, fields] of Object.entries(configs)) {
  test(`${name}: the base and variants of one and two planes, some with words of their own, in one batch`, async () => {
    const own = await openFamily(smallConfig(fields), {
      clinc: exact(1, 1),
      dates: exact(2, 2),
      kana: exact(3, 1, 5),
      emoji: exact(4, 2, 2),
    });
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

  test(`${name}: planes, factors, both, some only in some matrices, in one batch`, async () => {
    const own = await openFamily(smallConfig(fields), {
      planes: exact(1, 1),
      factors: exact(2, 0, 0, [{ dtype: "f32", rank: 3 }]),
      both: exact(3, 2, 2, [{ dtype: "f32", rank: 3, without: "mlp" }]),
      pairs: exact(4, 0, 1, [
        { dtype: "f32", rank: 5, without: "embed" },
        { dtype: "f32", rank: 3, without: "self_attn" },
      ]),
    });
    using _ = own.bench;
    const mixed: [string | null, number][] = [
      ["factors", 9],
      [null, 12],
      ["both", 3],
      ["planes", 5],
      ["pairs", 20],
      [null, 1],
      ["both", 1],
      ["factors", 1],
    ];
    assert.ok(largestError(own, mixed) < 1e-4);
    assert.ok(largestError(own, mixed, 11) < 1e-4, "in chunks");
    for (const request of mixed) assert.ok(largestError(own, [request]) < 1e-4, `${request} alone`);
  });
}

for (const tiedEmbeddings of [true, false]) {
  const base = tiedEmbeddings ? "a tied base" : "an untied base";
  test(`${base}: variants that untied their embeddings, of more words and fewer, among tied ones in one batch`, async () => {
    const low = [{ dtype: "f32" as const, rank: 3 }];
    const own = await openFamily(smallConfig({ tiedEmbeddings }), {
      tied: exact(1, 1, 2),
      untied: { ...exact(2, 1), untied: true },
      fewer: exact(3, 2, -30),
      "untied with factors": { ...exact(4, 0, 3, low), untied: true },
      "untied with fewer": { ...exact(5, 2, -7, low), untied: true },
      factors: exact(6, 0, -4, low),
    });
    using bench = own.bench;
    const untied = [...bench.pools!.layout.classes.keys()].filter((id) => id.endsWith("untied"));
    assert.deepEqual(untied.sort(), tiedEmbeddings ? ["f32.1 untied", "f32.2 untied", "f32x3 untied"] : []);
    const mixed: [string | null, number][] = [
      ["untied", 9],
      ["tied", 11],
      [null, 12],
      ["fewer", 3],
      ["untied with factors", 5],
      ["factors", 6],
      ["untied with fewer", 20],
      [null, 1],
      ["untied", 1],
      ["tied", 1],
    ];
    assert.ok(largestError(own, mixed) < 1e-4);
    assert.ok(largestError(own, mixed, 11) < 1e-4, "in chunks");
    for (const request of mixed) assert.ok(largestError(own, [request]) < 1e-4, `${request} alone`);
  });
}

test("a slot of a variant with fewer words holds nothing of the one before it", async () => {
  const config = smallConfig();
  const own = await openFamily(config, { clinc: exact(1, 1) });
  using bench = own.bench;
  await loadVariant(registered(config, own.base, exact(2, 1, -30)), own.resident("clinc")!, bench);
  const { plane } = bench.pools!.part("model.embed_tokens.weight", "f32.1") as { plane: Tensor };
  const values = new Float32Array(plane.elements);
  plane.read(values);
  assert.ok(values.subarray(0, 66 * 32).some((value) => value !== 0));
  assert.ok(values.subarray(66 * 32).every((value) => value === 0));
});

/** One thread, with the fastest kernels of this machine or with ggml's operations alone. */
async function deviceWith(choice: string): Promise<Device> {
  const { kernels } = await loadKernels({ choice });
  return Device.open({ kind: "cpu", threads: 1, kernels });
}

for (const choice of ["none", "auto"]) {
  test(`planes and factors of several block types in one batch, native kernels ${choice}`, async () => {
    const signs = (seed: number, planes: number, factors: Factors = []): RandomVariant => ({
      seed,
      dtype: "q1_0",
      planes,
      extraRows: 0,
      factors,
    });
    const variants: Record<string, RandomVariant> = {
      one: signs(1, 1),
      two: signs(2, 2),
      ternary: { seed: 3, dtype: "tq1_0", planes: 1, extraRows: 0 },
      bytes: { seed: 4, dtype: "q8_0", planes: 1, extraRows: 0 },
      mixed: signs(5, 1, [{ dtype: "q8_0", rank: 32 }]),
      lora: signs(6, 0, [{ dtype: "f16", rank: 8 }]),
      svd: signs(7, 0, [
        { dtype: "q8_0", rank: 32 },
        { dtype: "q4_0", rank: 64 },
      ]),
    };
    const own = await openFamily(smallConfig(), variants, { device: await deviceWith(choice) });
    using _ = own.bench;
    const mixed: [string | null, number][] = [
      ["two", 9],
      [null, 12],
      ["ternary", 7],
      ["one", 20],
      ["svd", 5],
      ["bytes", 5],
      ["lora", 4],
      ["two", 1],
      ["one", 1],
      ["mixed", 6],
      ["svd", 1],
      [null, 1],
    ];
    // ggml rounds activations to eight bits where weights are blocks; without the deltas the error would be near 0.5.
    assert.ok(largestError(own, mixed) < 0.03);
    assert.ok(largestError(own, mixed, 11) < 0.03, "in chunks");
  });

  test(`random variants of a model whose sizes no block divides, native kernels ${choice}`, async () => {
    const dtypes = ["q8_0", "q4_0", "f16"] as const;
    for (let seed = 1; seed <= 5; seed++) {
      const pick = (position: number, count: number) => Math.floor(uniformAt(seed, position) * count);
      const config = smallConfig({
        hiddenSize: 2 * (9 + pick(0, 40)),
        headDim: 2 * (2 + pick(1, 7)),
        feedForward: 17 + pick(2, 90),
        vocabSize: 31 + pick(3, 90),
        tiedEmbeddings: pick(4, 2) === 0,
      });
      const variants = [0, 1, 2, 3].map((index): [string, RandomVariant] => {
        const factors = dtypes
          .filter((_, at) => pick(10 * index + at + 20, 2) === 0)
          .map((dtype, at) => ({
            dtype,
            rank: 1 + pick(10 * index + at + 60, 50),
            without: ["mlp", "q_proj", "embed"][at]!,
          }));
        const planes = pick(index + 100, 3);
        return [
          `v${index}`,
          {
            seed: 10 * seed + index,
            dtype: "q1_0",
            planes,
            factors,
            extraRows: pick(index + 110, 5) - 2,
            untied: pick(index + 120, 2) === 0,
          },
        ];
      });
      const own = await openFamily(config, Object.fromEntries(variants), { device: await deviceWith(choice) });
      using _ = own.bench;
      const requests = [
        ...variants.map(([name], index): [string, number] => [name, 3 + 4 * index]),
        [null, 6] as const,
      ];
      assert.ok(largestError(own, requests, 16) < 0.04, `seed ${seed}`);
    }
  });
}

/** What interleaving has to do with: biases, norms over heads, heads of their own, and sizes that strips and groups divide or do not. */
const eightBitConfigs: Readonly<Record<string, Partial<ModelConfig>>> = {
  "tied, all interleaved": {},
  "a head of its own, biases, norms over heads": {
    tiedEmbeddings: false,
    qkvBias: true,
    outputBias: true,
    mlpBias: true,
    qkNorm: true,
  },
  "keys and values that strips do not divide": { headDim: 8, heads: 8, kvHeads: 1 },
  "vocabulary and feed-forward that strips do not divide": { vocabSize: 90, feedForward: 72 },
};

for (const choice of ["none", "auto"]) {
  for (const [title, fields] of Object.entries(eightBitConfigs)) {
    test(`a base in 8 bits and variants of it, ${title}, native kernels ${choice}`, async () => {
      const config = smallConfig({ hiddenSize: 64, headDim: 16, feedForward: 96, ...fields });
      const variants: Record<string, RandomVariant> = {
        one: { seed: 1, dtype: "q1_0", planes: 1, extraRows: 3 },
        two: { seed: 2, dtype: "q1_0", planes: 2, extraRows: 0 },
        lora: { seed: 3, dtype: "q1_0", planes: 0, extraRows: 0, factors: [{ dtype: "f16", rank: 8 }] },
        ternary: { seed: 4, dtype: "tq1_0", planes: 1, extraRows: -2 },
      };
      const own = await openFamily(config, variants, { device: await deviceWith(choice), dtype: "q8_0" });
      using _ = own.bench;
      const requests: [string | null, number][] = [
        ["two", 9],
        [null, 12],
        ["ternary", 7],
        ["one", 20],
        ["lora", 4],
        [null, 1],
        ["one", 1],
      ];
      // Both paths round weights and activations to eight bits, and so small a model makes much of that; without the deltas the
      // error would be near 0.5.
      assert.ok(largestError(own, requests) < 0.2);
    });
  }
}

test("without its parts a variant is far from itself", async () => {
  for (const variant of [exact(1, 1), exact(1, 0, 0, [{ dtype: "f32", rank: 4 }])]) {
    const own = await openFamily(smallConfig(), { clinc: variant });
    using _ = own.bench;
    const { model } = own;
    assert.ok(largestError({ ...own, model: () => model(null) }, [["clinc", 20]]) > 0.2);
  }
});

test("pools change nothing for the base", async () => {
  const config = smallConfig();
  const own = await openFamily(config, {
    clinc: exact(1, 1, 0, [{ dtype: "f32", rank: 4 }]),
    untied: { ...exact(2, 1), untied: true },
  });
  using withPools = own.bench;
  using without = await Workbench.open(memoryCheckpoint(config));
  const one = spec("a", [5, 9, 2, 70], { maxTokens: 8 });
  assert.deepEqual(withPools.run([one]), without.run([one]));
});

test("slots that are written anew serve the new variant, wherever the old one had more than it", async () => {
  const config = smallConfig();
  const own = await openFamily(config, { clinc: exact(1, 1, 0, [{ dtype: "f32", rank: 4 }]) });
  using bench = own.bench;
  assert.ok(largestError(own, [["clinc", 7]]) < 1e-4);
  const second = exact(9, 1, 0, [{ dtype: "f32", rank: 4, without: "self_attn" }]);
  await loadVariant(registered(config, own.base, second), own.resident("clinc")!, bench);
  const tuned = tunedModel(config, own.base, second);
  assert.ok(largestError({ ...own, model: () => tuned }, [["clinc", 7]]) < 1e-4);
});
