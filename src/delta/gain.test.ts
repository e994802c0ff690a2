import assert from "node:assert/strict";
import { test } from "node:test";
import { decode, gaussian, laplace } from "./codec-conformance.test.kit.js";
import { createCodec } from "./codecs.js";
import { enlarge, gainOf } from "./gain.js";

test("what is exact, or nothing, stays as large as it is", () => {
  assert.equal(gainOf(0, 4), 1);
  assert.equal(gainOf(0, 0), 1);
});

test("the more an approximation loses, the more it is enlarged, within bounds", () => {
  const gains = [0, 0.1, 0.36, 0.7, 1].map((lost) => gainOf(lost * 5, 5));
  assert.deepEqual(
    gains,
    gains.toSorted((a, b) => a - b),
  );
  assert.ok(gains.at(-1)! <= 8);
});

test("a scale stays within half precision", () => {
  assert.equal(enlarge(60_000, 1.5), 65504);
  assert.equal(enlarge(2, 1.5), 3);
});

test("a coded difference is nearly as large in its own direction as it was", () => {
  const shape = { rows: 16, cols: 512 };
  const codecs = [
    createCodec("sign", { planes: 1 }),
    createCodec("sign", { planes: 2 }),
    createCodec("sign", { planes: 3 }),
    createCodec("ternary"),
  ];
  for (const codec of codecs) {
    for (const difference of [gaussian(shape, 1), laplace(shape, 2)]) {
      const decoded = decode(codec.encode(difference, shape, "linear"), shape);
      const kept = dot(difference, decoded) / dot(difference, difference);
      assert.ok(kept > 0.88 && kept < 1, `${codec.name} keeps ${kept}`);
    }
  }
});

function dot(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, i) => sum + value * b[i]!, 0);
}
