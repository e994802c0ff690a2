import assert from "node:assert/strict";
import { test } from "node:test";
import { bf16ToNumber, f16ToNumber, numberToBf16, numberToF16 } from "./half.js";

const isNaNHalf = (half: number) => (half & 0x7c00) === 0x7c00 && (half & 0x3ff) !== 0;
const isNaNBrain = (half: number) => (half & 0x7f80) === 0x7f80 && (half & 0x7f) !== 0;

test("every half float is the nearest to the number it stands for", () => {
  for (let half = 0; half < 65536; half++) {
    if (isNaNHalf(half)) assert.ok(isNaNHalf(numberToF16(f16ToNumber(half))), `${half}`);
    else assert.equal(numberToF16(f16ToNumber(half)), half);
    if (isNaNBrain(half)) assert.ok(isNaNBrain(numberToBf16(bf16ToNumber(half))), `${half}`);
    else assert.equal(numberToBf16(bf16ToNumber(half)), half);
  }
});

test("a number half-way between two neighbours goes to the even one, any other to the nearer", () => {
  for (let half = 0; half < 0x7bff; half++) {
    const [low, high] = [f16ToNumber(half), f16ToNumber(half + 1)];
    const middle = (low + high) / 2;
    assert.equal(numberToF16(middle), half % 2 === 0 ? half : half + 1);
    assert.equal(numberToF16(Math.fround(middle - (high - low) / 16)), half);
    assert.equal(numberToF16(-Math.fround(middle + (high - low) / 16)), (half + 1) | 0x8000);
  }
});

const knownHalves: readonly [number, number][] = [
  [0, 0],
  [-0, 0x8000],
  [1, 0x3c00],
  [-2, 0xc000],
  [65504, 0x7bff],
  [65519.99, 0x7bff],
  [65520, 0x7c00],
  [1e9, 0x7c00],
  [Number.POSITIVE_INFINITY, 0x7c00],
  [Number.NEGATIVE_INFINITY, 0xfc00],
  [2 ** -24, 1],
  [2 ** -25, 0],
  [2 ** -14, 0x400],
  [1 / 3, 0x3555],
];

for (const [value, half] of knownHalves) {
  test(`${Object.is(value, -0) ? "-0" : value} is the half float ${half.toString(16)}`, () =>
    assert.equal(numberToF16(value), half));
}

test("bfloat16 is the upper half of a float32, rounded to even", () => {
  assert.equal(numberToBf16(1), 0x3f80);
  assert.equal(numberToBf16(1 + 2 ** -8), 0x3f80);
  assert.equal(numberToBf16(1 + 3 * 2 ** -8), 0x3f82);
  assert.equal(numberToBf16(-1 / 3), 0xbeab);
  assert.equal(numberToBf16(3.4e38), 0x7f80);
  assert.equal(bf16ToNumber(0xc2c8), -100);
});
