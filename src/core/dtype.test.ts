import assert from "node:assert/strict";
import { test } from "node:test";
import { elementCount, rowBytes, tensorBytes } from "./dtype.js";

test("a row takes whole blocks", () => {
  assert.deepEqual(
    [rowBytes("f32", 5), rowBytes("bf16", 5), rowBytes("q8_0", 64), rowBytes("q1_0", 256), rowBytes("tq1_0", 512)],
    [20, 10, 68, 36, 108],
  );
  assert.throws(() => rowBytes("q4_0", 172), {
    name: "RangeError",
    message: "A row of 172 does not fill q4_0 blocks of 32",
  });
});

test("a tensor takes its rows, a scalar one element, an empty tensor nothing", () => {
  assert.equal(tensorBytes("q8_0", [10, 64]), 680);
  assert.equal(tensorBytes("f32", [2, 3, 4]), 96);
  assert.equal(tensorBytes("f32", []), 4);
  assert.equal(tensorBytes("q8_0", [0, 64]), 0);
  assert.equal(tensorBytes("f32", [3, 0]), 0);
  assert.equal(elementCount([2, 3, 4]), 24);
});

test("it is the last dimension that must fill blocks", () => {
  assert.throws(() => tensorBytes("q8_0", [64, 10]), RangeError);
});
