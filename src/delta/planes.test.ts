import assert from "node:assert/strict";
import { test } from "node:test";
import type { PlaneDType } from "../formats/index.js";
import { paddedCols, planeBytes } from "../formats/index.js";
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

test("what fills up the last block of a row is dropped", () => {
  for (const dtype of ["q1_0", "tq1_0", "f16"] satisfies PlaneDType[]) {
    const shape = { rows: 3, cols: 5 };
    const bytes = new Uint8Array(planeBytes(dtype, shape)).fill(0x3c);
    assert.equal(decodePlane(dtype, bytes, shape).length, 15);
  }
});
