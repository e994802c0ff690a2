import assert from "node:assert/strict";
import { test } from "node:test";
import { InsufficientMemory, type SlotClass, slotClassId } from "../core/index.js";
import { attendsByRow, Device, loadKernels } from "../ggml/index.js";
import { KvCache, Weights, weightBytes } from "../model/index.js";
import { largestStep } from "./largest-step.js";
import { divideMemory, type MemoryDemands } from "./memory-division.js";
import { memoryCheckpoint, smallConfig } from "./random-model.test.kit.js";
import { expectedStepBytes } from "./step-bytes.js";
import { Stepper } from "./stepper.js";

const config = smallConfig();
const up = "model.layers.0.mlp.up_proj.weight"; // 64 × 32
const plane: SlotClass = { kind: "plane", dtype: "f32", plane: 1 };
const second: SlotClass = { kind: "plane", dtype: "f32", plane: 2 };

const variant = (...classes: readonly SlotClass[]) => {
  const own = new Map(classes.map((slotClass) => [slotClassId(slotClass), { slotClass, matrices: new Set([up]) }]));
  return { classes: own, needs: new Set(own.keys()), vocabSize: config.vocabSize, untied: false };
};

/** A variant takes two pages, one with two planes four: of vectors one, of each plane two. A cell takes 2 · layers · 256 bytes, in pages. */
const demands = (fields: Partial<MemoryDemands> = {}): MemoryDemands => ({
  budgetBytes: 1_000_000,
  processBytes: 70_000,
  baseBytes: 100_000,
  stepBytes: 50_000,
  config,
  kvDType: "f32",
  contextLength: 64,
  sequences: 4,
  variants: new Map([
    ["small", variant(plane)],
    ["large", variant(plane, second)],
  ]),
  pinned: [],
  page: 4096,
  ...fields,
});

test("what the base, steps and fixed parts leave is shared, and the parts are the budget", () => {
  const { division, variantBytes, refused } = divideMemory(demands());
  const { budgetBytes, processBytes, baseBytes, stepBytes, fixedBytes, sharedBytes } = division;
  assert.equal(processBytes + baseBytes + stepBytes + fixedBytes + sharedBytes, budgetBytes);
  assert.deepEqual(
    [...variantBytes],
    [
      ["small", 3 * 4096],
      ["large", 5 * 4096],
    ],
  );
  assert.deepEqual([division.variantBytes, division.variantsMax, refused], [5 * 4096, 2, []]);
});

test("a variant that does not fit beside one whole request is refused with the numbers, and the others are not", () => {
  const { division } = divideMemory(demands());
  const least = division.budgetBytes - division.sharedBytes + division.sequenceBytes;
  const { refused, variantBytes } = divideMemory(demands({ budgetBytes: least + 4 * 4096 }));
  assert.deepEqual([...variantBytes.keys()], ["small"]);
  assert.equal(refused[0]?.name, "large");
  const { code, message, details } = refused[0].error;
  assert.equal(code, "insufficient_memory");
  assert.match(
    message,
    /^Cannot serve variant large within --memory \d+ kB: it takes \d+ kB, 70.0 kB for the process, 100 kB for the base, /,
  );
  assert.match(message, /a request of 64 tokens, 20.5 kB for its own parts$/);
  assert.deepEqual(details, { budgetBytes: least + 4 * 4096, neededBytes: least + 5 * 4096 });
});

test("pinned variants take theirs first: what does not fit beside them is refused, and they themselves stop the start", () => {
  const { division } = divideMemory(demands());
  const least = division.budgetBytes - division.sharedBytes + division.sequenceBytes;
  const budgetBytes = least + 7 * 4096;
  assert.deepEqual(
    divideMemory(demands({ budgetBytes, pinned: ["large"] })).refused.map(({ name }) => name),
    ["small"],
  );
  const both = demands({ budgetBytes, pinned: ["small", "large"] });
  assert.throws(() => divideMemory(both), { name: "InsufficientMemory", message: /, 32.8 kB for pinned variants$/ });
});

test("less than the base and one request take is no start", () => {
  const { division } = divideMemory(demands({ variants: new Map() }));
  const least = division.budgetBytes - division.sharedBytes + division.sequenceBytes;
  const alone = { variants: new Map(), budgetBytes: least };
  assert.equal(divideMemory(demands(alone)).division.sharedBytes, division.sequenceBytes);
  assert.throws(() => divideMemory(demands({ ...alone, budgetBytes: least - 1 })), InsufficientMemory);
});

test("where memory is not had in pages cache and pools have shares of their own, with fewer requests if need be", () => {
  const ample = divideMemory(demands({ page: 1, processBytes: 0 }));
  assert.equal(ample.division.sharedBytes, 0);
  assert.deepEqual([ample.division.sequences, ample.division.variantsMax], [4, 2]);
  const { fixedBytes, baseBytes, stepBytes } = ample.division;
  assert.ok(baseBytes + stepBytes + fixedBytes <= 1_000_000);
  const regionBytes = 2 * config.layers * 64 * 4 * config.kvHeads * config.headDim;
  const budgetBytes = baseBytes + stepBytes + fixedBytes - regionBytes;
  const short = divideMemory(demands({ page: 1, processBytes: 0, budgetBytes })).division;
  assert.ok(short.sequences < 4 || short.variantsMax < 2);
  assert.ok(short.baseBytes + short.stepBytes + short.fixedBytes <= budgetBytes);
  assert.throws(
    () => divideMemory(demands({ page: 1, processBytes: 0, budgetBytes: baseBytes + stepBytes })),
    InsufficientMemory,
  );
});

for (const { kernels, summary } of [await loadKernels(), await loadKernels({ choice: "none" })]) {
  test(`what is expected of weights and steps before a start is near what they take: ${summary}`, async () => {
    for (const [contextLength, sequences, stepTokens] of [
      [64, 4, 32],
      [512, 16, 512],
      [256, 2, 128],
      [128, 100, 512],
    ] as const) {
      const large = smallConfig({ vocabSize: 2000, hiddenSize: 128, feedForward: 384, contextLength });
      const checkpoint = memoryCheckpoint(large);
      using device = Device.open({ kind: "cpu", threads: 1, kernels });
      const weights = await Weights.load(device, checkpoint, { dtype: "q8_0" });
      assert.equal(weightBytes(checkpoint, "q8_0"), weights.byteLength);
      const cache = new KvCache(device, large, { contextLength, regions: sequences });
      using stepper = new Stepper(device, { weights, cache, pools: undefined });
      const { plan, resident } = largestStep({ weights, cache, pools: undefined }, stepTokens);
      stepper.reserve(plan, resident);
      const own = attendsByRow(device, large.headDim);
      const expected = expectedStepBytes(large, { contextLength, sequences, stepTokens, attendsByRow: own });
      const isNear = expected > 0.95 * stepper.byteLength && expected < 1.5 * stepper.byteLength + 2 ** 20;
      assert.ok(isNear, `${contextLength} × ${sequences}, ${stepTokens}: ${expected} for ${stepper.byteLength}`);
    }
  });
}
