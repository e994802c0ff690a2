// Planes decoded by the kernels, held against what JavaScript makes of the same code.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { dtypes, KindredError, rowBytes } from "../core/index.js";
import { codeBlocks, decodePlaneCode, type MatrixShape, type PlaneDType, storePlane } from "../formats/index.js";
import { loadKernels, openPlaneDecoder } from "../ggml/index.js";
import { alignUp, uniformAt } from "../util/index.js";
import { planeDecoding } from "./plane-decoding.js";

const { kernels, summary } = await loadKernels();
const skip = kernels ? false : summary;
const decode = kernels && openPlaneDecoder(kernels.file);
const planeTypes: readonly PlaneDType[] = ["q1_0", "tq1_0", "q4_0", "f16"];
const marginBytes = 64;

/** What a decoder leaves in the place of a plane; undefined where it refuses. It must not have written to anything else. */
function decoded(dtype: PlaneDType, { rows, cols }: MatrixShape, fill: (into: Uint8Array) => boolean) {
  const end = marginBytes + rows * rowBytes(dtype, alignUp(cols, dtypes[dtype].blockSize));
  const memory = new Uint8Array(end + marginBytes).fill(0x5a);
  const isDecoded = fill(memory.subarray(marginBytes, end));
  for (const margin of [memory.subarray(0, marginBytes), memory.subarray(end)])
    assert.ok(margin.every((byte) => byte === 0x5a));
  return isDecoded ? memory : undefined;
}

/** Lets both decode, and says whether they did. */
function assertSame(dtype: PlaneDType, shape: MatrixShape, code: Uint8Array, what: string): boolean {
  const own = decoded(dtype, shape, (into) => decode!({ ...shape, ...codeBlocks(dtype) }, code, into));
  const expected = decoded(dtype, shape, (into) => {
    try {
      decodePlaneCode({ dtype, shape }, code, into);
      return true;
    } catch (error) {
      assert.ok(error instanceof KindredError && error.code === "corrupt_code");
      return false;
    }
  });
  assert.deepEqual(own, expected, what);
  return own !== undefined;
}

/** A plane whose bytes are below `values`, the small ones more frequent, and from place `fixed` of a row on always the same; undefined where it is stored plain. */
function coded(dtype: PlaneDType, shape: MatrixShape, options: { values: number; fixed: number; seed: number }) {
  const { values, fixed, seed } = options;
  const bytesOfRow = rowBytes(dtype, alignUp(shape.cols, dtypes[dtype].blockSize));
  const bytes = Uint8Array.from({ length: shape.rows * bytesOfRow }, (_, i) =>
    i % bytesOfRow < fixed * bytesOfRow ? uniformAt(seed, i) * uniformAt(seed + 1, i) * values : 7,
  );
  const { blob, stored } = storePlane("w", 0, dtype, shape, bytes);
  return blob.code && stored;
}

const planes = fc.record({
  dtype: fc.constantFrom(...planeTypes),
  shape: fc.record({ rows: fc.integer({ min: 1, max: 40 }), cols: fc.integer({ min: 1, max: 700 }) }),
  values: fc.integer({ min: 1, max: 256 }),
  fixed: fc.constantFrom(1, 0.9, 0),
  seed: fc.nat(1000),
});

test("planes of every type and shape come out as JavaScript decodes them", { skip }, () => {
  fc.assert(
    fc.property(planes, ({ dtype, shape, ...options }) => {
      const code = coded(dtype, shape, options);
      if (code) assert.ok(assertSame(dtype, shape, code, `${dtype} ${shape.rows} x ${shape.cols}`));
    }),
    { numRuns: 80 },
  );
});

test("planes of several parts come out as JavaScript decodes them", { skip }, () => {
  for (const [dtype, cols] of [
    ["tq1_0", 700],
    ["q1_0", 576],
    ["f16", 100_000],
  ] as const) {
    const shape = { rows: Math.ceil(700_000 / cols), cols };
    const code = coded(dtype, shape, { values: 150, fixed: 1, seed: 1 });
    assert.ok(code);
    assert.ok(assertSame(dtype, shape, code, dtype));
  }
});

test("damaged code is refused by both or decodes to the same bytes, and nothing else is written to", {
  skip,
}, () => {
  for (const dtype of planeTypes) {
    const shape = { rows: 9, cols: 300 };
    const code = coded(dtype, shape, { values: 30, fixed: 0.9, seed: 2 });
    assert.ok(code);
    for (let length = 0; length < code.length; length += 29) {
      assertSame(dtype, shape, code.slice(0, length), `${dtype}, ${length} bytes`);
    }
    for (let seed = 0; seed < 150; seed++) {
      const damaged = code.slice();
      // Most of what can be told from it stands at the beginning.
      const place = seed % 2 === 0 ? uniformAt(seed, 1) : uniformAt(seed, 1) ** 8;
      damaged[Math.floor(place * code.length)]! ^= 1 << (uniformAt(seed, 2) * 8);
      assertSame(dtype, shape, damaged, `${dtype}, seed ${seed}`);
    }
  }
});

test("lanes that begin in no state are refused by both", { skip }, () => {
  const shape = { rows: 9, cols: 300 };
  const code = coded("tq1_0", shape, { values: 30, fixed: 0.9, seed: 5 });
  assert.ok(code);
  const view = new DataView(code.buffer, code.byteOffset);
  const states = 4 + view.getUint32(0, true);
  for (const state of [0, (1 << 15) - 1, 2 ** 31, 2 ** 32 - 1]) {
    for (let lane = 0; lane < 4; lane++) {
      const damaged: Uint8Array<ArrayBuffer> = Uint8Array.from(code);
      new DataView(damaged.buffer).setUint32(states + 4 * lane, state, true);
      assert.equal(assertSame("tq1_0", shape, damaged, `lane ${lane} in ${state}`), false);
    }
  }
});

test("bytes at random are refused by both or decode to the same", { skip }, () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...planeTypes),
      fc.uint8Array({ maxLength: 400 }),
      fc.nat(60),
      (dtype, bytes, header) => {
        const code = Uint8Array.of(header, 0, 0, 0, ...bytes);
        assertSame(dtype, { rows: 5, cols: 200 }, code, dtype);
      },
    ),
    { numRuns: 300 },
  );
});

test("what the kernels refuse is refused with a sentence, with or without them", { skip }, () => {
  const shape = { rows: 9, cols: 300 };
  const code = coded("tq1_0", shape, { values: 30, fixed: 1, seed: 4 })!.subarray(0, -1);
  for (const file of [kernels!.file, null]) {
    const into = new Uint8Array(9 * rowBytes("tq1_0", 512));
    assert.throws(() => planeDecoding(file)({ dtype: "tq1_0", shape }, code, into), /its parts are cut off/);
  }
});
