import assert from "node:assert/strict";
import { test } from "node:test";
import type { PlaneDType } from "../formats/index.js";
import { paddedCols, planeBytes, signsOfTernary } from "../formats/index.js";
import { toFloat32 } from "../ggml/index.js";
import { uniformAt } from "../util/index.js";
import { gaussian } from "./codec-conformance.test.kit.js";
import { createCodec } from "./codecs.js";
import { decodePlane, writeSignBlock, writeTernaryBlock } from "./planes.js";

test("ggml reads the planes of every codec as we do", () => {
  const shape = { rows: 5, cols: 300 };
  const encoded = [
    createCodec("sign", { planes: 2 }).encode(gaussian(shape, 1), shape, "linear"),
    createCodec("ternary").encode(gaussian(shape, 2), shape, "linear"),
    createCodec("bitdelta").encode(gaussian(shape, 3), shape, "embedding"),
  ];
  for (const { dtype, bytes } of encoded.flatMap(({ planes }) => planes)) {
    const stored = paddedCols(dtype, shape.cols);
    const native = toFloat32(dtype, bytes, shape.rows * stored);
    const ours = decodePlane(dtype, bytes, shape);
    for (let row = 0; row < shape.rows; row++) {
      assert.deepEqual(
        native.subarray(row * stored, row * stored + shape.cols),
        ours.subarray(row * shape.cols, (row + 1) * shape.cols),
        `${dtype}, row ${row}`,
      );
    }
  }
});

test("a sign block comes back as written", () => {
  const bytes = new Uint8Array(36);
  const codes = Uint8Array.from({ length: 128 }, (_, i) => Math.floor(uniformAt(1, i) * 8));
  writeSignBlock(bytes, 1, 0.375, codes, 2);
  const decoded = decodePlane("q1_0", bytes, { rows: 1, cols: 256 });
  assert.ok(decoded.subarray(0, 128).every((value) => value === 0));
  assert.deepEqual(
    decoded.subarray(128),
    Float32Array.from(codes, (code) => (code & 4 ? 0.375 : -0.375)),
  );
});

test("a ternary block comes back as written", () => {
  const bytes = new Uint8Array(108);
  const trits = Uint8Array.from({ length: 256 }, (_, i) => Math.floor(uniformAt(2, i) * 3));
  writeTernaryBlock(bytes, 1, 0.5, trits);
  const decoded = decodePlane("tq1_0", bytes, { rows: 1, cols: 512 });
  assert.deepEqual(
    decoded.subarray(256),
    Float32Array.from(trits, (trit) => (trit - 1) * 0.5),
  );
});

/** The two planes of signs that slots hold for a ternary one, decoded and added. */
const sumOfHalves = (bytes: Uint8Array, shape: { rows: number; cols: number }) => {
  const [first, second] = (["first", "second"] as const).map((half) =>
    decodePlane("q1_0", signsOfTernary(bytes, shape.cols, half), shape),
  );
  return first!.map((value, at) => value + second![at]!);
};

test("a ternary plane is the sum of the two planes of signs that slots hold for it", () => {
  for (const cols of [1, 127, 128, 129, 256, 300, 385, 576]) {
    const shape = { rows: 3, cols };
    const bytes = createCodec("ternary").encode(gaussian(shape, cols), shape, "linear").planes[0]!.bytes;
    const expected = decodePlane("tq1_0", bytes, shape);
    assert.ok(cols === 1 || expected.includes(0));
    assert.deepEqual(sumOfHalves(bytes, shape), expected, `${cols} columns`);
  }
});

test("where half precision cannot halve a scale, what is zero stays zero and the rest is off by one of its steps", () => {
  const step = 2 ** -24;
  const trits = Uint8Array.from({ length: 256 }, (_, i) => i % 3);
  for (const [scale, held] of [
    [6 * step, 6 * step],
    [7 * step, 8 * step],
    [-5 * step, -4 * step],
    [step, 0],
    [0, 0],
    [65504, 65504],
  ] as const) {
    const bytes = new Uint8Array(54);
    writeTernaryBlock(bytes, 0, scale, trits);
    const sum = sumOfHalves(bytes, { rows: 1, cols: 256 });
    for (const [i, trit] of trits.entries())
      assert.ok(sum[i] === (trit - 1) * held, `${scale} × ${trit - 1}: ${sum[i]}`);
  }
});

test("what fills up the last block of a row is dropped", () => {
  for (const dtype of ["q1_0", "tq1_0", "f16"] satisfies PlaneDType[]) {
    const shape = { rows: 3, cols: 5 };
    const bytes = new Uint8Array(planeBytes(dtype, shape)).fill(0x3c);
    assert.equal(decodePlane(dtype, bytes, shape).length, 15);
  }
});
