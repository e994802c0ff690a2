// Planes as the kernels arrange them, held against the drawing in native/sign-planes.h, written out.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { paddedCols, planeBytes, signsOfTernary } from "../formats/index.js";
import { loadKernels } from "../ggml/index.js";
import { uniformAt } from "../util/index.js";
import { blobsOf, putFormed } from "./piece-content.js";

const { kernels, summary } = await loadKernels();
const skip = kernels ? false : summary;
const marginBytes = 64;
const halves = ["first", "second"] as const;

interface Shape {
  readonly inputs: number;
  readonly outputs: number;
}

/** A plane of `q1_0` rows in strips of 16 outputs. */
function inStrips(rows: Uint8Array, { inputs, outputs }: Shape): Uint8Array {
  const [groups, blocks] = [Math.ceil(inputs / 32), Math.ceil(inputs / 128)];
  const strips = new Uint8Array(rows.length);
  for (let output = 0; output < outputs; output++) {
    const [strip, lane] = [Math.floor(output / 16), output % 16];
    for (let block = 0; block < blocks; block++) {
      const to = ((strip * blocks + block) * 16 + lane) * 2;
      const from = (output * blocks + block) * 18;
      strips.set(rows.subarray(from, from + 2), to);
    }
    for (let i = 0; i < groups * 32; i++) {
      const from = (output * blocks + Math.floor(i / 128)) * 18 + 2 + ((i % 128) >> 3);
      const group = outputs * blocks * 2 + (strip * groups + Math.floor(i / 32)) * 64;
      const bit = (i % 4) + (i % 32 < 16 ? 0 : 4);
      strips[group + Math.floor((i % 16) / 4) * 16 + lane]! |= ((rows[from]! >> (i % 8)) & 1) << bit;
    }
  }
  return strips;
}

/** What a pool's place of a plane holds; nothing beside it may have been written. */
function arranged(bytes: Uint8Array, shape: Shape, half?: (typeof halves)[number]): Uint8Array {
  const end = marginBytes + planeBytes("q1_0", { rows: shape.outputs, cols: shape.inputs });
  const memory = new Uint8Array(end + marginBytes).fill(0x5a);
  const ternary = half && { half, cols: paddedCols("q1_0", shape.inputs) };
  putFormed(memory.subarray(marginBytes, end), bytes, { kind: "plane", ternary, strips: shape }, kernels!.arrange);
  for (const margin of [memory.subarray(0, marginBytes), memory.subarray(end)])
    assert.ok(margin.every((byte) => byte === 0x5a));
  return memory.subarray(marginBytes, end);
}

const bytesAtRandom = (length: number, seed: number) =>
  Uint8Array.from({ length }, (_, at) => uniformAt(seed, at) * 256);

const planes = fc.record({
  inputs: fc.integer({ min: 1, max: 800 }),
  outputs: fc.integer({ min: 1, max: 4 }).map((strips) => 16 * strips),
  seed: fc.nat(1000),
});

test("planes of signs, whatever their bytes, are arranged as they are drawn", { skip }, () => {
  fc.assert(
    fc.property(planes, ({ seed, ...shape }) => {
      const bytes = bytesAtRandom(planeBytes("q1_0", { rows: shape.outputs, cols: shape.inputs }), seed);
      assert.deepEqual(arranged(bytes, shape), inStrips(bytes, shape));
    }),
    { numRuns: 60 },
  );
});

test("ternary planes, whatever their bytes, are arranged as the signs that JavaScript makes of them", { skip }, () => {
  fc.assert(
    fc.property(planes, ({ seed, ...shape }) => {
      const bytes = bytesAtRandom(planeBytes("tq1_0", { rows: shape.outputs, cols: shape.inputs }), seed);
      for (const half of halves) {
        const rows = signsOfTernary(bytes, shape.inputs, half);
        assert.deepEqual(arranged(bytes, shape, half), inStrips(rows, shape), half);
      }
    }),
    { numRuns: 60 },
  );
});

test("every byte in every place, and every scale, is arranged as JavaScript reads it", { skip }, () => {
  const shape = { inputs: 256, outputs: 1 << 16 };
  const bytes = Uint8Array.from({ length: 54 * shape.outputs }, (_, at) => {
    const [row, place] = [Math.floor(at / 54), at % 54];
    return place < 52 ? row + place : row >> (place === 52 ? 0 : 8);
  });
  for (const half of halves) {
    const expected = inStrips(signsOfTernary(bytes, shape.inputs, half), shape);
    assert.equal(Buffer.compare(arranged(bytes, shape, half), expected), 0, half);
  }
});

test("rows that a variant of fewer words lacks are zeros", { skip }, () => {
  const shape = { inputs: 300, outputs: 48 };
  for (const [dtype, half] of [
    ["q1_0", undefined],
    ["tq1_0", "first"],
    ["tq1_0", "second"],
  ] as const) {
    const bytes = bytesAtRandom(planeBytes(dtype, { rows: shape.outputs, cols: shape.inputs }), 1);
    const fewer = planeBytes(dtype, { rows: 21, cols: shape.inputs });
    const zeros = bytes.map((byte, at) => (at < fewer ? byte : 0));
    assert.deepEqual(arranged(bytes.subarray(0, fewer), shape, half), arranged(zeros, shape, half));
  }
});

test("a blob that several pieces are made of is listed once, with all of them", () => {
  const piece = (blob: string, half: (typeof halves)[number]) => {
    const ternary = { half, cols: 128 };
    return { content: { kind: "blob", blob, form: { kind: "plane", ternary, strips: undefined } } } as const;
  };
  const nothing = { content: { kind: "bytes", bytes: new Uint8Array(0) } } as const;
  const pieces = [piece("b", "first"), nothing, piece("a", "first"), piece("b", "second")];
  const listed = blobsOf(pieces).map(({ blob, uses }) => [blob, uses.map((use) => use.piece)]);
  assert.deepEqual(listed, [
    ["b", [0, 3]],
    ["a", [2]],
  ]);
});
