import assert from "node:assert/strict";
import { test } from "node:test";
import { decode, describeCodec, laplace } from "./codec-conformance.test.kit.js";
import { createCodec } from "./codecs.js";

// The best quantiser to {-s, 0, s} leaves √.190 of a Gaussian and √.264 of a Laplace distribution.
describeCodec("ternary", createCodec("ternary"), { gaussian: 0.436, laplace: 0.514 });

const shape = { rows: 1, cols: 256 };

test("values of one magnitude and zeros take ternary without error", () => {
  const difference = Float32Array.from({ length: 256 }, (_, i) => [0, 0.5, -0.5, 0, 0][i % 5]!);
  assert.deepEqual(decode(createCodec("ternary").encode(difference, shape, "linear"), shape), difference);
});

test("no other threshold would have left a smaller error", () => {
  for (let seed = 0; seed < 20; seed++) {
    const difference = laplace(shape, seed);
    const decoded = decode(createCodec("ternary").encode(difference, shape, "linear"), shape);
    const found = difference.reduce((sum, value, i) => sum + (value - decoded[i]!) ** 2, 0);
    const descending = difference.map(Math.abs).sort().reverse();
    for (let kept = 1; kept <= 256; kept++) {
      const scale = descending.slice(0, kept).reduce((sum, value) => sum + value, 0) / kept;
      const error = descending.reduce((sum, value, rank) => sum + (rank < kept ? value - scale : value) ** 2, 0);
      assert.ok(found <= error * 1.0001, `seed ${seed}: ${found} with ternary, ${error} when keeping ${kept}`);
    }
  }
});

test("has no options", () => {
  assert.throws(() => createCodec("ternary", { planes: 2 }), /"ternary" has no option "planes"; it has none/);
});
