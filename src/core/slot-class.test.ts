import assert from "node:assert/strict";
import { test } from "node:test";
import { slotClassId, slotMatrices, slotMatrixBytes } from "./slot-class.js";

const linear = { shape: [64, 40], kind: "linear" } as const;
const embedding = { shape: [100, 40], kind: "embedding" } as const;

test("classes have one id each", () => {
  assert.equal(slotClassId({ kind: "plane", dtype: "q1_0", plane: 2 }), "q1_0.2");
  assert.equal(slotClassId({ kind: "factors", dtype: "q8_0", rank: 32 }), "q8_0x32");
});

test("a slot holds a plane, or both factors, in whole blocks", () => {
  const tied = { tiedEmbeddings: true };
  const plane = slotMatrices({ kind: "plane", dtype: "q1_0", plane: 1 }, linear, tied);
  assert.deepEqual(plane, [{ role: "plane", dtype: "q1_0", rows: 64, cols: 128 }]);
  const factors = slotMatrices({ kind: "factors", dtype: "q8_0", rank: 20 }, linear, tied);
  assert.deepEqual(factors, [
    { role: "up", dtype: "q8_0", rows: 64, cols: 32 },
    { role: "down", dtype: "q8_0", rows: 20, cols: 64 },
  ]);
  assert.deepEqual(factors.map(slotMatrixBytes), [64 * 34, 20 * 68]);
});

test("an embedding's `down` lies transposed as well, and only so where the head is another matrix", () => {
  const roles = (tiedEmbeddings: boolean) =>
    slotMatrices({ kind: "factors", dtype: "q4_0", rank: 20 }, embedding, { tiedEmbeddings }).map(({ role }) => role);
  assert.deepEqual(roles(true), ["up", "down", "turned"]);
  assert.deepEqual(roles(false), ["up", "turned"]);
  const [, turned] = slotMatrices({ kind: "factors", dtype: "q4_0", rank: 20 }, embedding, { tiedEmbeddings: false });
  assert.deepEqual(turned, { role: "turned", dtype: "f16", rows: 40, cols: 32 });
});
