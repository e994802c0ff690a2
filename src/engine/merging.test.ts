// Prompts of variants whose planes are merged into the base's weights: the same numbers up to rounding, and to the last bit the same
// whatever else is computed beside them.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { SequenceSpec } from "../core/index.js";
import { Device, loadKernels } from "../ggml/index.js";
import { uniformAt } from "../util/index.js";
import { mergedPromptMin } from "./batch.js";
import { smallConfig } from "./random-model.test.kit.js";
import type { RandomVariant } from "./random-variant.test.kit.js";
import { referenceLogits } from "./reference-decoder.test.kit.js";
import { openFamily } from "./variant-family.test.kit.js";
import { type Outcome, spec } from "./workbench.test.kit.js";

const config = smallConfig({ hiddenSize: 64, headDim: 16, feedForward: 160, qkvBias: true, mlpBias: true });
const variants: Readonly<Record<string, RandomVariant>> = {
  one: { seed: 1, dtype: "q1_0", planes: 1, extraRows: 3 },
  two: { seed: 2, dtype: "q1_0", planes: 2, extraRows: 0 },
  untied: { seed: 3, dtype: "q1_0", planes: 1, extraRows: 0, untied: true },
  both: { seed: 4, dtype: "q1_0", planes: 1, extraRows: 0, factors: [{ dtype: "f16", rank: 8 }] },
  ternary: { seed: 5, dtype: "tq1_0", planes: 1, extraRows: 0 },
  lora: { seed: 6, dtype: "q1_0", planes: 0, extraRows: 0, factors: [{ dtype: "f16", rank: 8 }] },
  bytes: { seed: 7, dtype: "q8_0", planes: 1, extraRows: 0 },
};
const { kernels, summary } = await loadKernels();

const words = (length: number, seed: number) =>
  Array.from({ length }, (_, at) => Math.floor(uniformAt(seed, at) * config.vocabSize));
const dtypes = ["q8_0", "bf16", "mixed"] as const;
/** Mixed: values are held otherwise than queries and keys, which take the same input. */
const open = (dtype: (typeof dtypes)[number]) =>
  openFamily(config, variants, {
    device: Device.open({ kind: "cpu", threads: 1, kernels }),
    ...(dtype === "mixed"
      ? { dtype: "auto", storedAs: (name) => (name.includes("v_proj") ? "q8_0" : "bf16") }
      : { dtype }),
  });

/** The same tokens, none of which are a prompt that is long enough. */
const unmerged = (one: SequenceSpec): SequenceSpec => ({
  ...one,
  prompt: one.prompt.slice(0, 1),
  generated: one.prompt.slice(1),
  maxTokens: one.prompt.length - 1 + one.maxTokens,
});

const length = (values: Iterable<number>) => Math.hypot(...values);
const relativeError = (actual: Float32Array, expected: ArrayLike<number>) =>
  length(actual.map((value, at) => value - expected[at]!)) / length(Array.from(expected));

for (const dtype of dtypes) {
  test(`a merged prompt gives the logits of one that is not, up to rounding: ${dtype}`, async (t) => {
    if (!kernels) return t.skip(summary);
    const { bench, resident, model } = await open(dtype);
    using _ = bench;
    const outcomeOf = (one: SequenceSpec) => bench.run([one], { resident }).get(one.id)!.logits[0]!;
    for (const variant of ["one", "two", "untied", "both", "ternary"]) {
      const own = spec("a", words(60, 5), { variant });
      const [merged, plain] = [outcomeOf(own), outcomeOf(unmerged(own))];
      assert.notDeepEqual(merged, plain);
      const { config: ownConfig, weights } = model(variant);
      const exact = referenceLogits(ownConfig, weights, own.prompt).at(-1)!;
      const [error, plainError] = [relativeError(merged, exact), relativeError(plain, exact)];
      const most = dtype !== "bf16" ? Math.min(0.1, 2.5 * plainError) : 1.2 * plainError;
      assert.ok(error < most, `${variant}: ${error}, without merging ${plainError}`);
    }
  });

  test(`prompts that are too short, of the base and of variants with other parts are computed as ever: ${dtype}`, async (t) => {
    if (!kernels) return t.skip(summary);
    const { bench, resident } = await open(dtype);
    using _ = bench;
    for (const own of [
      spec("a", words(mergedPromptMin - 1, 1), { variant: "two" }),
      spec("a", words(40, 1), { variant: "lora" }),
      spec("a", words(40, 1), { variant: "bytes" }),
      spec("a", words(40, 1)),
    ]) {
      const logits = (one: SequenceSpec) => bench.run([one], { resident }).get("a")!.logits;
      assert.deepEqual(logits(own), logits(unmerged(own)));
    }
  });

  test(`whatever the chunks, whoever comes beside, and after a resume, a sequence draws the same tokens: ${dtype}`, async (t) => {
    if (!kernels) return t.skip(summary);
    const { bench, resident } = await open(dtype);
    using _ = bench;
    const specs = [
      spec("a", words(90, 1), { variant: "one", maxTokens: 12 }),
      spec("b", words(50, 2), { maxTokens: 20 }),
      spec("c", words(33, 3), { variant: "two", maxTokens: 15 }),
      spec("d", words(5, 4), { variant: "one", maxTokens: 30 }),
      spec("e", words(20, 5), { variant: "lora", maxTokens: 9 }),
      spec("f", words(41, 6), { variant: "two", maxTokens: 8 }),
      spec("g", words(37, 7), { variant: "both", maxTokens: 8 }),
    ];
    const alone = new Map<string, Outcome>();
    for (const one of specs) {
      // The cache is not to help.
      bench.run([spec("x", words(100, 99))], { resident });
      alone.set(one.id, bench.run([one], { resident }).get(one.id)!);
    }
    for (const stepTokens of [512, 16, 37]) {
      const together = bench.run(specs, { resident, stepTokens });
      for (const { id } of specs) assert.deepEqual(together.get(id), alone.get(id), `${id} by ${stepTokens}`);
    }
    const resumed = specs.map((one) => ({ ...one, generated: alone.get(one.id)!.tokens.slice(0, 6) }));
    for (const stepTokens of [512, 16]) {
      const outcomes = bench.run(resumed, { resident, stepTokens });
      for (const { id } of specs) {
        assert.deepEqual(outcomes.get(id)!.tokens, alone.get(id)!.tokens.slice(6), `${id} by ${stepTokens}`);
        assert.deepEqual(outcomes.get(id)!.logits, alone.get(id)!.logits.slice(6), `${id} by ${stepTokens}`);
      }
    }
  });
}
