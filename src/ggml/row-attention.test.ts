// Attention by the kernels in native/, held against one in double precision over the keys and values as they are held.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type DType, rowBytes } from "../core/index.js";
import { Arena } from "./arena.js";
import { Device } from "./device.js";
import { assertClose, evaluate, noise } from "./evaluate.test.kit.js";
import { type Kernels, loadKernels } from "./kernels.js";
import { fromFloat32, toFloat32 } from "./quantize.js";
import { attendByRow, attendsByRow } from "./row-attention.js";

/** A sequence of a step: where its region begins, how many of its tokens lie there, and how many rows it has. */
interface SequenceRows {
  readonly firstCell: number;
  readonly before: number;
  readonly rows: number;
}

interface Case {
  readonly headDim: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly dtype: DType;
  readonly window?: number;
  readonly sequences: readonly SequenceRows[];
}

const regionCells = 300;
const regions = 4;
const mixed: readonly SequenceRows[] = [
  { firstCell: 2 * regionCells, before: 0, rows: 1 },
  { firstCell: 0, before: 250, rows: 1 },
  { firstCell: 3 * regionCells, before: 17, rows: 29 },
  { firstCell: regionCells, before: 31, rows: 1 },
];
const cases: readonly Case[] = [
  { headDim: 64, heads: 6, kvHeads: 2, dtype: "f16", sequences: mixed },
  { headDim: 64, heads: 6, kvHeads: 2, dtype: "q8_0", sequences: mixed },
  { headDim: 32, heads: 4, kvHeads: 4, dtype: "f32", sequences: mixed },
  { headDim: 20, heads: 3, kvHeads: 1, dtype: "f16", sequences: mixed },
  { headDim: 80, heads: 9, kvHeads: 1, dtype: "f16", sequences: [{ firstCell: 0, before: 0, rows: 70 }] },
  { headDim: 256, heads: 2, kvHeads: 1, dtype: "f16", sequences: mixed },
  { headDim: 64, heads: 2, kvHeads: 2, dtype: "f16", window: 20, sequences: mixed },
  { headDim: 128, heads: 1, kvHeads: 1, dtype: "f32", sequences: [{ firstCell: 5, before: 0, rows: 1 }] },
];

/** Rows' positions and cells, in the order of the step. */
function rowsOf(sequences: readonly SequenceRows[]) {
  return sequences.flatMap(({ firstCell, before, rows }) =>
    Array.from({ length: rows }, (_, row) => ({ position: before + row, cell: firstCell + before + row })),
  );
}

/** Values of all cells as they are held: what belongs to nobody is not a number. */
function cached({ headDim, kvHeads, dtype, sequences }: Case, seed: number) {
  const width = headDim * kvHeads;
  const values = noise(width * regionCells * regions, seed).map((value, at) => value * (at % width === 1 ? 30 : 3));
  const bytes = fromFloat32(dtype, values, width);
  const held = toFloat32(dtype, bytes, values.length);
  const used = new Set(
    sequences.flatMap(({ firstCell, before, rows }) => Array.from({ length: before + rows }, (_, i) => firstCell + i)),
  );
  const cellBytes = rowBytes(dtype, width);
  for (let cell = 0; cell < regionCells * regions; cell++) {
    if (!used.has(cell)) bytes.fill(0xff, cell * cellBytes, (cell + 1) * cellBytes);
  }
  return { bytes, held };
}

function attend(kernels: Kernels, one: Case, threads: number, q: ArrayLike<number> = queries(one)): Float32Array {
  const { headDim, heads, kvHeads, dtype, window, sequences } = one;
  const rows = rowsOf(sequences);
  using device = Device.open({ kind: "cpu", threads, kernels });
  const shape = [headDim * kvHeads, regionCells * regions];
  using arena = new Arena(device, [
    { name: "keys", dtype, shape },
    { name: "values", dtype, shape },
  ]);
  arena.get("keys").write(cached(one, 1).bytes);
  arena.get("values").write(cached(one, 2).bytes);
  return evaluate(device, (g, input) => {
    const byHead = (name: string) =>
      g.view(arena.get(name), [headDim, kvHeads, regionCells * regions], {
        strides: [rowBytes(dtype, headDim), rowBytes(dtype, headDim * kvHeads)],
        offset: 0,
      });
    const numbers = { positions: rows.map(({ position }) => position), cells: rows.map(({ cell }) => cell) };
    return attendByRow(g, {
      q: input("f32", [headDim, heads, rows.length], q),
      keys: byHead("keys"),
      values: byHead("values"),
      positions: input("i32", [rows.length], numbers.positions),
      cells: input("i64", [rows.length], numbers.cells),
      window,
    });
  });
}

const queries = ({ headDim, heads, sequences }: Case) => noise(headDim * heads * rowsOf(sequences).length, 3);

/** The same, one row and head after the other. */
function exact(one: Case): number[] {
  const { headDim, heads, kvHeads, window = Number.POSITIVE_INFINITY, sequences } = one;
  const q = queries(one);
  const [keys, values] = [cached(one, 1).held, cached(one, 2).held];
  return rowsOf(sequences).flatMap(({ position, cell }, row) =>
    Array.from({ length: heads }, (_, head) => head).flatMap((head) => {
      const kvHead = Math.floor(head / (heads / kvHeads));
      const own = q.subarray((row * heads + head) * headDim, (row * heads + head + 1) * headDim);
      const of = (all: Float32Array, at: number) => {
        const first = (at * kvHeads + kvHead) * headDim;
        return all.subarray(first, first + headDim);
      };
      const looked = Array.from({ length: Math.min(position + 1, window) }, (_, back) => cell - back);
      const scores = looked.map((at) => of(keys, at).reduce((sum, k, d) => sum + k * own[d]!, 0) / Math.sqrt(headDim));
      const largest = Math.max(...scores);
      const weights = scores.map((score) => Math.exp(score - largest));
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      return Array.from({ length: headDim }, (_, d) =>
        looked.reduce((sum, at, i) => sum + (weights[i]! / total) * of(values, at)[d]!, 0),
      );
    }),
  );
}

for (const name of ["avx512vnni", "avx2", "neon", "scalar"]) {
  for (const one of cases) {
    const { headDim, heads, kvHeads, dtype, window } = one;
    const shape = `${heads} heads of ${headDim} over ${kvHeads} in ${dtype}${window ? `, the last ${window} cells` : ""}`;
    test(`${name} attends as arithmetic has it: ${shape}`, async (t) => {
      const { kernels, summary } = await loadKernels({ choice: name });
      if (!kernels) return t.skip(summary);
      for (const threads of [1, 3]) assertClose(attend(kernels, one, threads), exact(one), 5e-6);
    });
  }
}

for (const name of ["avx512vnni", "avx2", "neon", "scalar"]) {
  test(`${name} gives a row the same numbers, however many rows of its sequence are there`, async (t) => {
    const { kernels, summary } = await loadKernels({ choice: name });
    if (!kernels) return t.skip(summary);
    const sequence = { firstCell: 3, before: 0, rows: 90 };
    const one: Case = { headDim: 64, heads: 6, kvHeads: 2, dtype: "f16", sequences: [sequence] };
    const whole = attend(kernels, one, 1);
    const width = one.headDim * one.heads;
    for (const rows of [1, 2, 7, 16, 35]) {
      const before = sequence.rows - rows;
      const part = attend(
        kernels,
        { ...one, sequences: [{ ...sequence, before, rows }] },
        2,
        queries(one).subarray(before * width),
      );
      assert.deepEqual(part, whole.subarray(before * width), `the last ${rows} rows`);
    }
  });
}

test("heads that kernels have no room for, and shapes that do not fit, are refused before a kernel sees them", async (t) => {
  const { kernels, summary } = await loadKernels({ choice: "scalar" });
  if (!kernels) return t.skip(summary);
  assert.equal(attendsByRow({ kernels }, 256), true);
  assert.equal(attendsByRow({ kernels }, 257), false);
  assert.equal(attendsByRow({ kernels: undefined }, 64), false);
  using device = Device.open({ kind: "cpu", threads: 1, kernels });
  const attempt = (headDim: number, heads: number, kvHeads: number, positions: number) => () =>
    evaluate(device, (g, input) =>
      attendByRow(g, {
        q: input("f32", [headDim, heads, 2], noise(headDim * heads * 2, 1)),
        keys: input("f32", [headDim, kvHeads, 4], noise(headDim * kvHeads * 4, 2)),
        values: input("f32", [headDim, kvHeads, 4], noise(headDim * kvHeads * 4, 3)),
        positions: input("i32", [positions], new Array(positions).fill(0)),
        cells: input("i64", [2], [0, 1]),
        window: undefined,
      }),
    );
  assert.throws(attempt(260, 1, 1, 2), /no kernels for heads of 260/);
  assert.throws(attempt(32, 3, 2, 2), /heads differ/);
  assert.throws(attempt(32, 2, 2, 1), /one i32 position a row/);
});
