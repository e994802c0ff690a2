import assert from "node:assert/strict";
import { test } from "node:test";
import { maskOf, packBatch } from "./batch.js";
import { planSamples, type TrainingSample } from "./samples.js";

const sampleOf = (length: number): TrainingSample => ({ tokens: new Array(length).fill(1), from: 0 });
const options = { steps: 6, batchTokens: 20, heldOutTokensMax: 1000, seed: 1 };

test("a tenth of the samples is held out, and every other one is trained on once before any is again", () => {
  const samples = Array.from({ length: 30 }, (_, index) => sampleOf(5 + (index % 4)));
  const { batches, heldOut } = planSamples(samples, { ...options, steps: 20 });
  assert.equal(heldOut.flat().length, 3);
  const order = batches.flat();
  const firstPass = order.slice(0, 27);
  assert.equal(new Set([...firstPass, ...heldOut.flat()]).size, 30);
  assert.ok(order.slice(27).every((index) => firstPass.includes(index)));
});

test("no batch has more tokens than asked for but that of one longer sample", () => {
  const samples = Array.from({ length: 30 }, (_, index) => sampleOf(index === 7 ? 90 : 6));
  const { batches } = planSamples(samples, { ...options, steps: 30 });
  for (const batch of batches) {
    const tokens = batch.reduce((sum, index) => sum + samples[index]!.tokens.length, 0);
    assert.ok(tokens <= 20 || (tokens === 90 && batch.length === 1), `${tokens} tokens in a batch of ${batch.length}`);
  }
});

test("held-out samples fill no more tokens than they may, and the order follows from the seed", () => {
  const samples = Array.from({ length: 200 }, () => sampleOf(10));
  const plan = planSamples(samples, { ...options, heldOutTokensMax: 55 });
  assert.equal(plan.heldOut.flat().length, 5);
  assert.deepEqual(planSamples(samples, { ...options, heldOutTokensMax: 55 }), plan);
  assert.notDeepEqual(planSamples(samples, { ...options, heldOutTokensMax: 55, seed: 2 }), plan);
});

test("samples lie side by side, see themselves only, and weigh alike however long they are", () => {
  const samples = [
    { tokens: [5, 6, 7], from: 1 },
    { tokens: [8, 9], from: 1 },
  ];
  const batch = packBatch(samples);
  assert.equal(batch.tokens.length, 16);
  assert.deepEqual([...batch.tokens.slice(0, 6)], [5, 6, 7, 8, 9, 0]);
  assert.deepEqual([...batch.positions.slice(0, 6)], [0, 1, 2, 0, 1, 0]);
  assert.deepEqual([...batch.counted.slice(0, 4)], [1, 2, 4, 0]);
  assert.deepEqual([...batch.weights.slice(0, 4)], [0.25, 0.25, 0.5, 0]);
  const sees = (window: number | null) => {
    const mask = maskOf(batch, window);
    return [0, 1, 2, 3, 4, 5].map((row) =>
      [...mask.subarray(row * 16, row * 16 + 16).keys()].filter((at) => mask[row * 16 + at] === 0),
    );
  };
  assert.deepEqual(sees(null), [[0], [0, 1], [0, 1, 2], [3], [3, 4], [5]]);
  assert.deepEqual(sees(2), [[0], [0, 1], [1, 2], [3], [3, 4], [5]]);
});
