import assert from "node:assert/strict";
import { test } from "node:test";
import { decode, describeCodec, gaussian, laplace } from "./codec-conformance.test.kit.js";
import { createCodec } from "./codecs.js";

describeCodec("bitdelta", createCodec("bitdelta"), { gaussian: 0.605, laplace: 0.711 });

const shape = { rows: 4, cols: 200 };

test("a linear layer takes one scale, its mean magnitude", () => {
  const difference = laplace(shape, 1);
  const mean = difference.reduce((sum, value) => sum + Math.abs(value), 0) / difference.length;
  const magnitudes = new Set(decode(createCodec("bitdelta").encode(difference, shape, "linear"), shape).map(Math.abs));
  assert.equal(magnitudes.size, 1);
  assert.ok(Math.abs([...magnitudes][0]! - mean) < mean / 1000);
});

test("embeddings and the output head keep eleven bits of each value", () => {
  const difference = gaussian(shape, 2);
  for (const kind of ["embedding", "head"] as const) {
    const decoded = decode(createCodec("bitdelta").encode(difference, shape, kind), shape);
    for (const [i, value] of difference.entries())
      assert.ok(Math.abs(value - decoded[i]!) <= Math.abs(value) * 2 ** -11);
  }
});
