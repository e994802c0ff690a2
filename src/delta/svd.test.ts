import assert from "node:assert/strict";
import { test } from "node:test";
import { InvalidRequest } from "../core/index.js";
import { describeCodec, gaussian, relativeError } from "./codec-conformance.test.kit.js";
import { createCodec } from "./codecs.js";
import { lowRankNoise, withSpectrum } from "./low-rank.test.kit.js";

// Noise has no strong directions: half of 64 of them leave about √.4 of it.
describeCodec("svd, 0.5 bits", createCodec("svd"), { gaussian: 0.8, laplace: 0.8 });
describeCodec("svd, 4 bits", createCodec("svd", { bits: 4 }), { gaussian: 0.35, laplace: 0.35 });

const bitsOf = (bits: number, shape: { rows: number; cols: number }) => {
  const { factors = [] } = createCodec("svd", { bits }).encode(gaussian(shape, 1), shape, "linear");
  const bytes = factors.reduce((sum, { down, up }) => sum + down.length + up.length, 0);
  return { bits: (8 * bytes) / (shape.rows * shape.cols), forms: factors.map(({ dtype, rank }) => `${dtype} ${rank}`) };
};

test("spends about the bits that it was given", () => {
  const shape = { rows: 640, cols: 1024 };
  for (const bits of [0.5, 0.75, 1, 1.5]) {
    const spent = bitsOf(bits, shape);
    assert.ok(Math.abs(spent.bits - bits) < 0.25, `${bits}: ${spent.bits}`);
  }
  assert.deepEqual(bitsOf(1, shape).forms, ["q4_0 96"], "noise has no direction that is worth eight bits");
  assert.deepEqual(bitsOf(0.1, shape).forms, ["q4_0 32"], "never fewer");
});

test("takes eight bits for directions that stand out, and leaves the others their four", () => {
  const shape = { rows: 320, cols: 320 };
  const difference = withSpectrum(
    shape,
    Array.from({ length: 96 }, (_, k) => (k < 8 ? 1 : 0.02)),
  );
  const { factors = [] } = createCodec("svd", { bits: 3 }).encode(difference, shape, "linear");
  assert.deepEqual(
    factors.map(({ dtype, rank }) => `${dtype} ${rank}`),
    ["q8_0 32", "q4_0 32"],
  );
});

test("a difference of low rank takes few bits and leaves their rounding", () => {
  const shape = { rows: 96, cols: 200 };
  const difference = lowRankNoise(shape, 5);
  const { factors = [] } = createCodec("svd", { bits: 6 }).encode(difference, shape, "linear");
  assert.deepEqual(
    factors.map(({ dtype, rank }) => `${dtype} ${rank}`),
    ["q8_0 32"],
  );
  assert.ok(relativeError(createCodec("svd", { bits: 6 }), difference, shape) < 0.015);
});

test("refuses bits that make no sense, and options that it does not know", () => {
  for (const bits of [0, -1, 9, "many", "", true, Number.NaN]) {
    assert.throws(() => createCodec("svd", { bits }), InvalidRequest, String(bits));
  }
  assert.throws(() => createCodec("svd", { planes: 1 }), /has no option "planes"; it has bits/);
});
