import assert from "node:assert/strict";
import { test } from "node:test";
import { InvalidRequest } from "../core/index.js";
import { describeCodec, gaussian, relativeError } from "./codec-conformance.test.kit.js";
import { createCodec } from "./codecs.js";
import { addEncoded } from "./decoded.js";
import { lowRankNoise } from "./low-rank.test.kit.js";
import { signLowRankOf } from "./sign-low-rank.js";

// The bits do not reach for factors of matrices as small as these: what is left is that of `sign` with one plane.
describeCodec("signlr", createCodec("signlr"), { gaussian: 0.706, laplace: 0.896 });
describeCodec("signlr, rank 32", createCodec("signlr", { rank: 32 }), { gaussian: 0.56, laplace: 0.67 });

const shape = { rows: 128, cols: 320 };
/** Noise with a strong part of rank 4. */
const mixed = () => {
  const strong = lowRankNoise(shape, 4);
  return gaussian(shape, 11).map((value, i) => value + 2 * strong[i]!);
};

test("takes out what is of low rank, so that signs need not say it", () => {
  const errors = ["sign", "signlr"].map((name) =>
    relativeError(createCodec(name, name === "sign" ? { planes: 1 } : { rank: 32 }), mixed(), shape),
  );
  assert.ok(errors[1]! < 0.4 * errors[0]!, errors.join(" "));
});

test("has no factors where the bits do not reach for them", () => {
  const { planes, factors = [] } = createCodec("signlr", { bits: 1.2 }).encode(gaussian(shape, 1), shape, "linear");
  assert.deepEqual([planes.length, factors.length], [1, 0]);
});

test("weighs errors by the second moment of the inputs", () => {
  // Inputs that live on the first 40 columns alone, but for a trace of the others.
  const moment = new Float32Array(shape.cols ** 2);
  for (let i = 0; i < shape.cols; i++) moment[i * shape.cols + i] = i < 40 ? 1 : 1e-4;
  const encode = (calibration?: { moment: Float32Array }) => {
    const codec = createCodec("signlr", { rank: 32 });
    const { planes, factors = [] } = codec.encode(gaussian(shape, 3), shape, "linear", calibration);
    return { planes, factors };
  };
  const weightedError = (calibration?: { moment: Float32Array }) => {
    const difference = gaussian(shape, 3);
    const decoded = new Float32Array(difference.length);
    addEncoded(decoded, encode(calibration), shape);
    return difference.reduce(
      (sum, value, i) => sum + moment[(i % shape.cols) * (shape.cols + 1)]! * (value - decoded[i]!) ** 2,
      0,
    );
  };
  assert.ok(weightedError({ moment }) < 0.7 * weightedError(), `${weightedError({ moment })} ${weightedError()}`);
});

test("the dense part may be encoded by another function, which sees what the factors leave", () => {
  const seen: Float32Array[] = [];
  const family = signLowRankOf((difference, ...rest) => {
    seen.push(difference.slice());
    return createCodec("ternary").encode(difference, ...rest).planes;
  });
  const { planes, factors = [] } = family.create({ rank: 32 }).encode(mixed(), shape, "linear");
  assert.deepEqual([planes[0]!.dtype, factors[0]!.dtype], ["tq1_0", "q4_0"]);
  const energy = (values: Float32Array) => values.reduce((sum, value) => sum + value * value, 0);
  assert.equal(seen.length, 3);
  for (const rest of seen) assert.ok(energy(rest) < 0.25 * energy(mixed()));
});

test("refuses rank and bits together, ranks between steps, and fewer bits than a plane has", () => {
  assert.throws(() => createCodec("signlr", { rank: 32, bits: 2 }), /takes rank or bits, not both/);
  assert.throws(() => createCodec("signlr", { rank: 33 }), /ranks in steps of 32, not 33/);
  for (const options of [{ rank: 0 }, { bits: 1.125 }, { bits: "x" }]) {
    assert.throws(() => createCodec("signlr", options), InvalidRequest);
  }
});
