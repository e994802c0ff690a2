import assert from "node:assert/strict";
import { test } from "node:test";
import { InvalidRequest } from "../core/index.js";
import { uniformAt } from "../util/index.js";
import { decode, describeCodec, gaussian, laplace, relativeError } from "./codec-conformance.test.kit.js";
import { createCodec } from "./codecs.js";
import { decodePlane } from "./planes.js";
import { SignLevels } from "./sign-levels.js";
import { SortedMagnitudes } from "./sorted-magnitudes.js";

// The best scalar quantisers of 2, 4 and 8 levels leave √.363, √.118, √.035 of a Gaussian and √.5, √.176, √.054 of a
// Laplace distribution; a scale for each block of 128 does a little better, levels ±a ± b ± c a little worse. The gain
// (gain.ts) then makes of .363, .118, .035 what leaves √.501, √.130, √.036, and of .5, .176, .054 √.803, √.203, √.056.
describeCodec("sign, 1 plane", createCodec("sign", { planes: 1 }), { gaussian: 0.706, laplace: 0.896 });
describeCodec("sign, 2 planes", createCodec("sign", { planes: 2 }), { gaussian: 0.355, laplace: 0.437 });
describeCodec("sign, 3 planes", createCodec("sign", { planes: 3 }), { gaussian: 0.19, laplace: 0.244 });
describeCodec("sign, 4 planes", createCodec("sign", { planes: 4 }), { gaussian: 0.11, laplace: 0.15 });

test("another plane of the codec never makes a block worse", () => {
  for (let seed = 0; seed < 200; seed++) {
    const shape = { rows: 1, cols: 1 + Math.floor(uniformAt(seed, 0) * 300) };
    const difference = seed % 2 ? gaussian(shape, seed) : laplace(shape, seed);
    const errors = [1, 2, 3, 4].map((planes) => relativeError(createCodec("sign", { planes }), difference, shape));
    assert.ok(errors[1]! <= errors[0]! + 1e-6 && errors[2]! <= errors[1]! + 1e-6, `seed ${seed}: ${errors.join(" ")}`);
  }
});

test("four values of two magnitudes take two planes without error", () => {
  const difference = Float32Array.from({ length: 256 }, (_, i) => [0.75, -0.25, 0.25, -0.75][i % 4]!);
  const shape = { rows: 2, cols: 128 };
  assert.deepEqual(decode(createCodec("sign", { planes: 2 }).encode(difference, shape, "linear"), shape), difference);
});

test("eight values ±a ± b ± c take three planes without error", () => {
  const values = [7, 5, 3, 1, -1, -3, -5, -7].map((value) => value / 8);
  const difference = Float32Array.from({ length: 128 }, (_, i) => values[i % 8]!);
  const shape = { rows: 1, cols: 128 };
  assert.deepEqual(decode(createCodec("sign", { planes: 3 }).encode(difference, shape, "linear"), shape), difference);
});

test("two levels of a block are the best there are", () => {
  const block = new SortedMagnitudes(128);
  const levels = new SignLevels(2);
  for (let seed = 0; seed < 20; seed++) {
    const values = laplace({ rows: 1, cols: 128 }, seed);
    block.load(values, 0, 128);
    levels.fit(block);
    const found = errorOfTwo(values, levels.scales[0]!, levels.scales[1]!);
    for (let a = 0.1; a < 3; a += 0.05) {
      for (let b = 0; b <= a; b += 0.05) {
        assert.ok(
          found <= errorOfTwo(values, a, b) * 1.0001,
          `seed ${seed}: ${levels.scales.join(" ")} loses to ${a} ${b}`,
        );
      }
    }
  }
});

test("every value takes the nearest of the eight values of three planes", () => {
  const shape = { rows: 1, cols: 128 };
  let folded = 0;
  for (let seed = 0; seed < 100; seed++) {
    // So heavy tails make s1 < s2 + s3 in most blocks: the lowest level is negative and folded over.
    const difference = gaussian(shape, seed).map((value) => value ** 5);
    const { planes } = createCodec("sign", { planes: 3 }).encode(difference, shape, "linear");
    const [a, b, c] = planes.map(({ bytes }) => Math.abs(decodePlane("q1_0", bytes, shape)[0]!)) as [
      number,
      number,
      number,
    ];
    if (a < b + c) folded += 1;
    const levels = [a + b + c, a + b - c, a - b + c, a - b - c].flatMap((level) => [level, -level]);
    const decoded = decode({ planes }, shape);
    // Codes are those of the values before levels were enlarged, and least squares had left ‖Δ̂‖² = Δ · Δ̂.
    const gain = dot(decoded, decoded) / dot(difference, decoded);
    for (const [i, value] of difference.entries()) {
      const nearest = Math.min(...levels.map((level) => Math.abs(gain * value - level)));
      assert.ok(
        Math.abs(gain * value - decoded[i]!) <= nearest + 1e-3 * (a + b + c),
        `seed ${seed}: ${value} became ${decoded[i]}`,
      );
    }
  }
  assert.ok(folded > 0, "no block had a level to fold");
});

test("the planes of a block come largest first", () => {
  const block = new SortedMagnitudes(128);
  const levels = new SignLevels(3);
  for (let seed = 0; seed < 50; seed++) {
    block.load(gaussian({ rows: 1, cols: 128 }, seed), 0, 128);
    levels.fit(block);
    const scales = [...levels.scales];
    assert.deepEqual(
      scales,
      scales.toSorted((a, b) => b - a),
    );
  }
});

test("refuses planes that it does not have, and options that it does not know", () => {
  for (const planes of [0, 5, 1.5, "two", ""]) {
    assert.throws(() => createCodec("sign", { planes }), InvalidRequest, String(planes));
  }
  assert.throws(() => createCodec("sign", { groups: 64 }), /has no option "groups"; it has planes/);
  assert.throws(() => createCodec("signs"), /known are sign, ternary, bitdelta/);
});

function dot(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, i) => sum + value * b[i]!, 0);
}

/** Squared error when each value takes the nearest of ±a ± b. */
function errorOfTwo(values: Float32Array, a: number, b: number): number {
  return values.reduce((sum, value) => {
    const magnitude = Math.abs(value);
    return sum + Math.min((magnitude - a - b) ** 2, (magnitude - Math.abs(a - b)) ** 2);
  }, 0);
}
