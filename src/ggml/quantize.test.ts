import assert from "node:assert/strict";
import { test } from "node:test";
import { type DType, dtypes, rowBytes } from "../core/index.js";
import { bf16ToNumber, f16ToNumber, numberToBf16, numberToF16 } from "../util/index.js";
import { noise } from "./evaluate.test.kit.js";
import { fromFloat32, toFloat32 } from "./quantize.js";

/** Root mean square error over root mean square, on uniform noise, that each dtype stays below. */
const errorMax: Readonly<Record<Exclude<DType, "i32" | "i64">, number>> = {
  f32: 0,
  f16: 0.0003,
  bf16: 0.0025,
  q8_0: 0.005,
  q6_k: 0.025,
  q5_k: 0.04,
  q5_0: 0.05,
  q5_1: 0.04,
  q4_k: 0.075,
  q4_0: 0.1,
  q4_1: 0.08,
  iq4_nl: 0.1,
  iq4_xs: 0.1,
  q3_k: 0.2,
  q2_k: 0.35,
  tq2_0: 0.6,
  tq1_0: 0.6,
  q1_0: 0.6,
};

for (const [name, bound] of Object.entries(errorMax)) {
  const dtype = name as DType;

  test(`${dtype} rows survive the way there and back within ${bound} of their size`, () => {
    const [rows, rowLength] = [3, 512];
    const values = noise(rows * rowLength, 7);
    const bytes = fromFloat32(dtype, values, rowLength);
    assert.equal(bytes.byteLength, rows * rowBytes(dtype, rowLength));
    const back = toFloat32(dtype, bytes, values.length);
    const square = (sum: number, value: number) => sum + value * value;
    const error = Math.sqrt(values.map((value, at) => value - back[at]!).reduce(square, 0) / values.reduce(square, 0));
    assert.ok(error <= bound, `error ${error}`);
    assert.ok(bound === 0 || error > bound / 3, `error ${error} is so small that the bound ${bound} says nothing`);
  });

  test(`${dtype} reads bytes wherever they lie in their buffer, and zero bytes as zeros`, () => {
    const { blockSize, blockBytes } = dtypes[dtype];
    const bytes = fromFloat32(dtype, noise(blockSize * 2, 3), blockSize);
    const shifted = new Uint8Array(bytes.byteLength + 5);
    shifted.set(bytes, 3);
    const inside = shifted.subarray(3, 3 + bytes.byteLength);
    assert.deepEqual(toFloat32(dtype, inside, blockSize * 2), toFloat32(dtype, bytes, blockSize * 2));
    assert.ok(toFloat32(dtype, new Uint8Array(blockBytes), blockSize).every((value) => value === 0));
  });
}

test("the table of errors has every dtype of weights", () => {
  const weights = Object.keys(dtypes).filter((dtype) => dtype !== "i32" && dtype !== "i64");
  assert.deepEqual(Object.keys(errorMax).sort(), weights.sort());
});

test("every half float decodes to the number that util/half gives it", () => {
  const halves = Uint16Array.from({ length: 65536 }, (_, half) => half);
  const bytes = new Uint8Array(halves.buffer);
  assert.deepEqual(toFloat32("f16", bytes, 65536), Float32Array.from(halves, f16ToNumber));
  assert.deepEqual(toFloat32("bf16", bytes, 65536), Float32Array.from(halves, bf16ToNumber));
});

test("rounding to half floats is util/half's: ties, subnormals and overflow too", () => {
  const ties = [
    1 + 2 ** -11,
    1 + 3 * 2 ** -11,
    1 + 2 ** -9,
    2 ** -25,
    3 * 2 ** -25,
    2 ** -24,
    65504,
    65519,
    65520,
    -1e9,
    0,
    -0,
  ];
  const values = Float32Array.from([...ties, ...noise(2000, 11), ...noise(500, 12).map((v) => v * 1e-5)]);
  const halves = (dtype: DType) => new Uint16Array(fromFloat32(dtype, values, values.length).buffer);
  assert.deepEqual(halves("f16"), Uint16Array.from(values, numberToF16));
  assert.deepEqual(halves("bf16"), Uint16Array.from(values, numberToBf16));
});

const scaleBytes = (scale: number) => [numberToF16(scale) & 255, numberToF16(scale) >> 8];

test("a q1_0 block is a half-float scale and 128 signs, the lowest bit first", () => {
  const signs = Array.from({ length: 128 }, (_, at) => (at % 3 === 0 || at > 120 ? 1 : -1));
  const bits = Array.from({ length: 16 }, (_, byte) =>
    signs.slice(byte * 8, byte * 8 + 8).reduce((value, sign, bit) => value | (sign > 0 ? 1 << bit : 0), 0),
  );
  const block = Uint8Array.from([...scaleBytes(0.375), ...bits]);
  assert.deepEqual(
    [...toFloat32("q1_0", block, 128)],
    signs.map((sign) => sign * 0.375),
  );
});

/** Five base-3 digits in a byte, so that multiplying it by 3 pushes them out above the eighth bit, the first one first. */
const ternaryByte = (digits: readonly number[]) => {
  const number = [0, 1, 2, 3, 4].reduce((value, at) => value * 3 + (digits[at] ?? 0), 0);
  return Math.ceil((number * 256) / 243);
};

test("a tq1_0 block is 256 digits of −1, 0, 1, five to a byte, and a half-float scale", () => {
  const digits = Array.from({ length: 256 }, (_, at) => (at * at + (at >> 3)) % 3);
  // Digit n of bytes 0…31 are elements 32n + byte; of bytes 32…47, 160 + 16n + byte; the last four bytes hold four each.
  const stretch = (first: number, bytes: number, perByte: number) =>
    Array.from({ length: bytes }, (_, byte) =>
      ternaryByte(Array.from({ length: perByte }, (_, n) => digits[first + n * bytes + byte]!)),
    );
  const block = Uint8Array.from([
    ...stretch(0, 32, 5),
    ...stretch(160, 16, 5),
    ...stretch(240, 4, 4),
    ...scaleBytes(0.25),
  ]);
  assert.deepEqual(
    [...toFloat32("tq1_0", block, 256)].map((v) => v + 0),
    digits.map((digit) => (digit - 1) * 0.25 + 0),
  );
});

test("a q8_0 block is a half-float scale and 32 signed bytes", () => {
  const codes = Int8Array.from({ length: 32 }, (_, at) => at * 8 - 127);
  const block = Uint8Array.from([...scaleBytes(0.5), ...new Uint8Array(codes.buffer)]);
  assert.deepEqual(
    [...toFloat32("q8_0", block, 32)],
    [...codes].map((code) => code * 0.5),
  );
});

test("refuses bytes that are not what the elements take, rows that do not fill blocks, and whole numbers", () => {
  assert.throws(() => toFloat32("q8_0", new Uint8Array(33), 32), {
    name: "RangeError",
    message: /32 elements of q8_0 are 34 bytes, got 33/,
  });
  assert.throws(() => toFloat32("q4_k", new Uint8Array(144), 255), /A row of 255 does not fill q4_k blocks of 256/);
  assert.throws(() => fromFloat32("q8_0", new Float32Array(66), 33), /A row of 33 does not fill q8_0 blocks of 32/);
  assert.throws(() => fromFloat32("f16", new Float32Array(10), 4), /10 values are not rows of 4/);
  assert.throws(() => toFloat32("i32", new Uint8Array(4), 1), {
    name: "RangeError",
    message: /i32 holds whole numbers/,
  });
  assert.throws(() => fromFloat32("i64", new Float32Array(1), 1), {
    name: "RangeError",
    message: /i64 holds whole numbers/,
  });
});
