import assert from "node:assert/strict";
import { test } from "node:test";
import { Device } from "../ggml/index.js";
import type { DecoderState } from "../model/index.js";
import { layoutBatch } from "./batch.js";
import { largestStep } from "./largest-step.js";
import { poolLayout } from "./pool-layout.js";
import { memoryCheckpoint, randomWeights, smallConfig } from "./random-model.test.kit.js";
import { type RandomVariant, registered } from "./random-variant.test.kit.js";
import { spec, Workbench } from "./workbench.test.kit.js";

const config = smallConfig();

async function open(variants: readonly RandomVariant[], regions: number) {
  const device = Device.open({ kind: "cpu", threads: 1 });
  const base = randomWeights(config);
  const pools = poolLayout(
    config,
    variants.map((variant) => registered(config, base, variant)),
    Number.POSITIVE_INFINITY,
  );
  return Workbench.open(memoryCheckpoint(config, base), {
    device,
    regions,
    contextLength: 300,
    ...(pools && { pools }),
  });
}

const layout = (state: DecoderState, stepTokens: number) => {
  const { plan, resident } = largestStep(state, stepTokens);
  return layoutBatch(plan, {
    config,
    contextLength: state.cache.contextLength,
    extraRows: state.pools?.layout.extraRows ?? 0,
    attendsByRow: false,
    mergeable: new Map(),
    resident,
  });
};

test("the largest step fills its tokens, looks over whole regions and wants logits of every sequence", async () => {
  using bench = await open(
    [
      { seed: 1, dtype: "q1_0", planes: 2, extraRows: 3 },
      { seed: 2, dtype: "tq1_0", planes: 1, extraRows: 0, factors: [{ dtype: "q8_0", rank: 32 }] },
    ],
    5,
  );
  const batch = layout(bench, 40);
  assert.equal(batch.tokens.length, 40);
  assert.equal(batch.outputs.length, 5);
  assert.deepEqual(
    batch.attention!.groups.map(({ rows, sequences, cells }) => [rows, sequences, cells]),
    [
      [1, 4, 300],
      [36, 1, 300],
    ],
  );
  assert.deepEqual(
    batch.runs.map(({ classId, slots }) => [classId, slots.length]),
    [
      ["q1_0.1", 40],
      ["q1_0.2", 40],
      ["q8_0x32", 40],
    ],
  );
  assert.equal(batch.extraOutput?.length, 5);
});

test("without variants it is the base's, and never longer than a region or a step", async () => {
  using bench = await open([], 3);
  assert.deepEqual(
    layout(bench, 1000).attention!.groups.map(({ rows }) => rows),
    [1, 300],
  );
  assert.equal(layout(bench, 1000).vectorRows, undefined);
  assert.equal(layout(bench, 2).tokens.length, 2);
});

test("reserving computes nothing: what follows is what it would have been", async () => {
  using bench = await open([], 3);
  const one = spec("a", [5, 9, 2, 70], { maxTokens: 4 });
  const before = bench.run([one]);
  const { plan, resident } = largestStep(bench, 64);
  bench.stepper.reserve(plan, resident);
  assert.deepEqual(bench.run([one]), before);
  assert.ok(plan.spans.every(({ sequence }) => sequence.generatedTokens === 0));
});
