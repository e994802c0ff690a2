import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { dtypes } from "../core/index.js";
import { CorruptCode } from "../entropy/index.js";
import { uniformAt } from "../util/index.js";
import { type MatrixShape, type PlaneDType, planeBytes } from "./delta-tensor.js";
import { CODE_SAVING_MIN, decodePlaneCode, encodePlaneCode, storePlane } from "./plane-code.js";

const planeTypes: readonly PlaneDType[] = ["q1_0", "tq1_0", "q4_0", "f16"];

test("a coded plane decodes to the same bytes, whatever its type and shape", () => {
  const shapes = fc.record({ rows: fc.integer({ min: 1, max: 40 }), cols: fc.integer({ min: 1, max: 700 }) });
  fc.assert(
    fc.property(fc.constantFrom(...planeTypes), shapes, fc.nat(256), fc.nat(), (dtype, shape, values, seed) => {
      const plane = randomPlane(dtype, shape, values + 1, seed);
      const code = encodePlaneCode(dtype, shape, plane);
      if (code) assert.deepEqual(decode(dtype, shape, code), plane);
    }),
    { numRuns: 60 },
  );
});

test("planes of many parts decode to the same bytes", () => {
  const shape = { rows: 900, cols: 1100 };
  const plane = randomPlane("tq1_0", shape, 120, 1);
  const code = encodePlaneCode("tq1_0", shape, plane);
  assert.ok(code);
  assert.deepEqual(decode("tq1_0", shape, code), plane);
});

test("padding beyond the last column costs nothing", () => {
  for (const [dtype, cols] of [
    ["q1_0", 576],
    ["tq1_0", 576],
  ] as const) {
    const shape = { rows: 576, cols };
    const bytes = incompressible(dtype, shape);
    const code = encodePlaneCode(dtype, shape, bytes);
    assert.ok(code);
    const bits = (code.length * 8) / (shape.rows * shape.cols);
    const { blockSize, blockBytes } = dtypes[dtype];
    // What the codes themselves need, a scale for each begun block, and what describes the code.
    const needed = (dtype === "q1_0" ? 1 : Math.log2(3)) + (Math.ceil(cols / blockSize) * 16) / cols;
    assert.ok(
      bits < needed * 1.02,
      `${dtype}: ${bits} bits a weight, ${needed} are needed, ${(blockBytes * 8) / blockSize} in blocks`,
    );
  }
});

test("is stored plain where coding saves less than a twentieth", () => {
  const shape = { rows: 64, cols: 1024 };
  const bytes = incompressible("q1_0", shape);
  assert.equal(encodePlaneCode("q1_0", shape, bytes), null);
  const plain = storePlane("w", 0, "q1_0", shape, bytes);
  assert.equal(plain.stored, bytes);
  assert.equal(plain.blob.code, undefined);

  const coded = storePlane("w", 0, "tq1_0", { rows: 64, cols: 300 }, incompressible("tq1_0", { rows: 64, cols: 300 }));
  assert.equal(coded.blob.code?.byteLength, coded.stored.length);
  assert.ok(coded.stored.length <= coded.blob.byteLength * (1 - CODE_SAVING_MIN));
});

test("the same plane gives the same bytes", () => {
  const shape = { rows: 30, cols: 700 };
  const code = encodePlaneCode("tq1_0", shape, randomPlane("tq1_0", shape, 20, 3));
  assert.deepEqual(code, encodePlaneCode("tq1_0", shape, randomPlane("tq1_0", shape, 20, 3)));
});

test("damaged code is refused or decodes to another plane, and never hangs", () => {
  const shape = { rows: 20, cols: 300 };
  const code = encodePlaneCode("tq1_0", shape, randomPlane("tq1_0", shape, 30, 2))!;
  for (let length = 0; length < code.length; length += 13) {
    assert.throws(() => decode("tq1_0", shape, code.subarray(0, length)), CorruptCode, `${length} bytes`);
  }
  for (let seed = 0; seed < 300; seed++) {
    const damaged = code.slice();
    const bit = Math.floor(uniformAt(seed, 1) * code.length * 8);
    damaged[bit >> 3]! ^= 1 << (bit & 7);
    try {
      decode("tq1_0", shape, damaged);
    } catch (error) {
      assert.ok(error instanceof CorruptCode, `seed ${seed}: ${error}`);
    }
  }
});

function decode(dtype: PlaneDType, shape: MatrixShape, code: Uint8Array): Uint8Array {
  const plane = new Uint8Array(planeBytes(dtype, shape));
  decodePlaneCode({ dtype, shape }, code, plane);
  return plane;
}

/** Bytes below `values`, the small ones more frequent. */
function randomPlane(dtype: PlaneDType, shape: MatrixShape, values: number, seed: number): Uint8Array {
  const length = planeBytes(dtype, shape);
  return Uint8Array.from({ length }, (_, i) => uniformAt(seed, i) * uniformAt(seed + 1, i) * values);
}

/** A plane as a codec makes it: codes that nothing predicts, scales of one size, and the same codes beyond the last column. */
function incompressible(dtype: "q1_0" | "tq1_0", shape: MatrixShape): Uint8Array {
  const { blockSize, blockBytes } = dtypes[dtype];
  const bytes = new Uint8Array(planeBytes(dtype, shape));
  const rowBlocks = Math.ceil(shape.cols / blockSize);
  for (let block = 0; block < bytes.length / blockBytes; block++) {
    const live = Math.min(blockSize, shape.cols - (block % rowBlocks) * blockSize);
    const code = (j: number) => (j < live ? uniformAt(5, block * blockSize + j) : 0.5);
    const at = block * blockBytes;
    if (dtype === "q1_0") {
      for (let j = 0; j < 128; j++) bytes[at + 2 + (j >> 3)]! |= Number(j < live && code(j) < 0.5) << (j & 7);
    } else {
      let first = 0;
      for (const [start, width, digits] of [
        [0, 32, 5],
        [32, 16, 5],
        [48, 4, 4],
      ] as const) {
        for (let m = 0; m < width; m++) {
          let number = 0;
          for (let digit = 0; digit < 5; digit++) {
            number = number * 3 + (digit < digits ? Math.floor(code(first + m + digit * width) * 3) : 0);
          }
          bytes[at + start + m] = Math.ceil((number * 256) / 243);
        }
        first += width * digits;
      }
    }
    const scale = at + (dtype === "q1_0" ? 0 : 52);
    bytes[scale] = uniformAt(6, block) * 256;
    bytes[scale + 1] = 0x14 + uniformAt(7, block) * 4;
  }
  return bytes;
}
