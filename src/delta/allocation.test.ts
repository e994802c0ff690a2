import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { InvalidRequest } from "../core/index.js";
import { type AllocationAim, allocate } from "./allocation.js";
import { createCodec } from "./codecs.js";
import type { Candidate, Survey } from "./survey.js";

const codecs = [null, ...[1, 2, 3, 4].map((planes) => createCodec("sign", { planes }))];

/** A matrix whose forms cost `bytes` a plane and lose `losses`. */
function matrix(bytes: number, losses: readonly (readonly number[])[]): Candidate[] {
  return losses.map((own, planes) => ({ codec: codecs[planes]!, bytes: planes * bytes, losses: own }));
}

function surveyOf(matrices: Record<string, Candidate[]>, fixedBytes = 0): Survey {
  return { candidates: new Map(Object.entries(matrices)), fixedBytes, parameters: 8000 };
}

/** Planes by matrix. */
function planesOf(survey: Survey, aim: AllocationAim): Record<string, unknown> {
  const { codecs } = allocate(survey, {}, aim);
  return Object.fromEntries([...codecs].map(([name, codec]) => [name, codec?.options.planes ?? 0]));
}

const two = surveyOf({ a: matrix(100, [[8], [4], [2], [1]]), b: matrix(100, [[80], [8], [1], [0.5]]) });

test("bytes go where they save the most", () => {
  assert.deepEqual(planesOf(two, { bitsMax: 0.1 }), { a: 0, b: 1 });
  assert.deepEqual(planesOf(two, { bitsMax: 0.2 }), { a: 0, b: 2 });
  assert.deepEqual(planesOf(two, { bitsMax: 0.4 }), { a: 2, b: 2 });
  assert.deepEqual(planesOf(two, {}), { a: 3, b: 3 });
});

test("no more are spent than it takes to lose little enough", () => {
  assert.deepEqual(planesOf(two, { lossMax: 16 }), { a: 0, b: 1 });
  assert.deepEqual(planesOf(two, { lossMax: 5 }), { a: 1, b: 2 });
  assert.deepEqual(planesOf(two, { lossMax: 5, bitsMax: 0.2 }), { a: 0, b: 2 });
});

test("each kind of text counts by what share of its own is lost, and the worst decides", () => {
  const survey = surveyOf({ a: matrix(100, [[1000, 0.001], [10, 0.001]]), b: matrix(100, [[1000, 1], [990, 0.01]]) }); // biome-ignore format: one thing
  assert.deepEqual(planesOf(survey, { bitsMax: 0.1 }), { a: 0, b: 1 });
  assert.equal(allocate(survey, {}, {}).loss, 1000);
});

test("a form that others beat is not taken, and one that does not fit leaves room for others", () => {
  const poor = surveyOf({ a: matrix(100, [[8], [9], [2]]) });
  assert.deepEqual(planesOf(poor, { bitsMax: 0.1 }), { a: 0 });
  const large = surveyOf({ a: matrix(1000, [[80], [1]]), b: matrix(10, [[0.1], [0.05]]) });
  assert.deepEqual(planesOf(large, { bitsMax: 0.5 }), { a: 0, b: 1 });
});

test("what has no other form counts, and is refused where it is too much", () => {
  const survey = surveyOf({ a: matrix(100, [[8], [4], [2]]) }, 900);
  assert.deepEqual(planesOf(survey, { bitsMax: 1 }), { a: 1 });
  assert.throws(
    () => allocate(survey, {}, { bitsMax: 0.5 }),
    (error) =>
      error instanceof InvalidRequest && /take 0\.90 bits a weight, --target-bits allows 0\.5$/.test(error.message),
  );
});

test("whatever the survey: bits hold, every matrix has a form, and nothing is worse than storing nothing", () => {
  const losses = fc.array(fc.double({ min: 0, max: 100, noNaN: true }), { minLength: 5, maxLength: 5 });
  const matrices = fc.array(fc.record({ bytes: fc.integer({ min: 1, max: 500 }), losses }), {
    minLength: 1,
    maxLength: 8,
  });
  fc.assert(
    fc.property(matrices, fc.double({ min: 0.01, max: 3, noNaN: true }), (own, bitsMax) => {
      const survey = surveyOf(
        Object.fromEntries(own.map(({ bytes, losses }, i) => [`${i}`, matrix(bytes, losses.map((loss) => [loss]))])), // biome-ignore format: one thing
      );
      const { codecs, loss } = allocate(survey, {}, { bitsMax });
      const spent = [...codecs].reduce((sum, [name, codec]) => {
        return sum + survey.candidates.get(name)!.find((candidate) => candidate.codec === codec)!.bytes;
      }, 0);
      assert.equal(codecs.size, own.length);
      assert.ok((spent * 8) / survey.parameters <= bitsMax);
      assert.ok(loss <= own.reduce((sum, { losses }) => sum + losses[0]!, 0) + 1e-9);
    }),
  );
});
