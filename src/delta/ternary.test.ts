import assert from "node:assert/strict";
import { test } from "node:test";
import { decode, describeCodec, laplace } from "./codec-conformance.test.kit.js";
import { createCodec } from "./codecs.js";

// The best quantiser to {-s, 0, s} leaves √.190 of a Gaussian and √.264 of a Laplace distribution; enlarged by its gain
// (gain.ts), √.222 and √.330.
describeCodec("ternary", createCodec("ternary"), { gaussian: 0.472, laplace: 0.576 });

const shape = { rows: 1, cols: 256 };

test("values of one magnitude and zeros take ternary without error", () => {
  const difference = Float32Array.from({ length: 256 }, (_, i) => [0, 0.5, -0.5, 0, 0][i % 5]!);
  assert.deepEqual(decode(createCodec("ternary").encode(difference, shape, "linear"), shape), difference);
});

test("no other threshold would have caught more of a difference", () => {
  for (let seed = 0; seed < 20; seed++) {
    const difference = laplace(shape, seed);
    const decoded = decode(createCodec("ternary").encode(difference, shape, "linear"), shape);
    // Their squared cosine times ‖Δ‖², so that the size of what was decoded does not count.
    const found = dot(difference, decoded) ** 2 / dot(decoded, decoded);
    const descending = difference.map(Math.abs).sort().reverse();
    for (let kept = 1; kept <= 256; kept++) {
      const caught = descending.slice(0, kept).reduce((sum, value) => sum + value, 0) ** 2 / kept;
      assert.ok(found >= caught * 0.9999, `seed ${seed}: ${found} with ternary, ${caught} when keeping ${kept}`);
    }
  }
});

test("has no options", () => {
  assert.throws(() => createCodec("ternary", { planes: 2 }), /"ternary" has no option "planes"; it has none/);
});

function dot(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, i) => sum + value * b[i]!, 0);
}
