// Products with factors by the kernels in native/ and by ggml's operations, held against each other and against exact ones.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type DType, dtypes } from "../core/index.js";
import { alignUp } from "../util/index.js";
import { Activations } from "./activations.js";
import { Arena } from "./arena.js";
import { Device } from "./device.js";
import { assertClose, evaluate, noise, product } from "./evaluate.test.kit.js";
import { addFactors } from "./factor-product.js";
import { factorProduct } from "./kernel-twin.test.kit.js";
import { type Kernels, loadKernels } from "./kernels.js";
import { fromFloat32, toFloat32 } from "./quantize.js";

/** Rows from the second on have factors, the last has none: slots of those between. Outputs are in the middle of a row of y. */
interface Case {
  readonly dtype: DType;
  readonly inputs: number;
  readonly rank: number;
  readonly outputs: number;
  readonly slots: readonly number[];
}

const slotCount = 5;
const outputsAround = 3;
const cases: readonly Case[] = [
  { dtype: "f16", inputs: 576, rank: 16, outputs: 192, slots: [4, 0, 4, 1, 2] },
  { dtype: "f16", inputs: 36, rank: 8, outputs: 5, slots: [1, 3] },
  { dtype: "f16", inputs: 600, rank: 3, outputs: 1, slots: [2] },
  { dtype: "f16", inputs: 1100, rank: 21, outputs: 30, slots: Array.from({ length: 40 }, (_, row) => (row * row) % 3) },
  { dtype: "q8_0", inputs: 200, rank: 32, outputs: 18, slots: [0, 1, 2, 3, 4, 3] },
  { dtype: "q8_0", inputs: 544, rank: 40, outputs: 7, slots: Array.from({ length: 21 }, () => 2) },
  { dtype: "q4_0", inputs: 576, rank: 96, outputs: 33, slots: [3, 3, 0] },
  { dtype: "q4_0", inputs: 64, rank: 600, outputs: 9, slots: [4, 2, 4, 4, 4, 4] },
];

/** Activations as models have them: some rows and some inputs much larger than others, and a row of zeros. */
function activations(inputs: number, rows: number): Float32Array {
  return noise(inputs * rows, 7).map((value, at) => {
    const [row, input] = [Math.floor(at / inputs), at % inputs];
    return row % 6 === 5 ? 0 : value * 10 ** ((row % 5) - 2) * (input % 97 === 3 ? 40 : 1);
  });
}

/** Rows filled up to whole blocks, as they are stored and as they decode. */
function matrixOf(dtype: DType, rows: number, length: number, seed: number) {
  const columns = alignUp(length, dtypes[dtype].blockSize);
  const values = noise(columns * rows, seed).map((value, at) =>
    at % columns < length ? value / Math.sqrt(length) : 0,
  );
  const bytes = fromFloat32(dtype, values, columns);
  return { columns, bytes, weights: toFloat32(dtype, bytes, values.length) };
}

/** What is added to rows of y from the second on, as far as their outputs go. */
function compute(kernels: Kernels | undefined, { dtype, inputs, rank, outputs, slots }: Case, threads = 1) {
  const down = matrixOf(dtype, rank * slotCount, inputs, 1);
  const up = matrixOf(dtype, outputs * slotCount, rank, 2);
  const [width, height] = [outputs + 2 * outputsAround, slots.length + 2];
  const x = activations(inputs, height);
  const before = noise(width * height, 3);
  using device = Device.open({ kind: "cpu", threads, kernels });
  using arena = new Arena(device, [
    { name: "down", dtype, shape: [down.columns, rank, slotCount] },
    { name: "up", dtype, shape: [up.columns, outputs, slotCount] },
  ]);
  const [downPool, upPool] = [arena.get("down"), arena.get("up")];
  downPool.write(down.bytes);
  upPool.write(up.bytes);
  const y = evaluate(device, (g, input) => {
    // The product wants a result of its own to write to, not an input.
    const base = g.add(input("f32", [width, height], before), input("f32", [width], new Float32Array(width)));
    return addFactors(g, base, {
      down: downPool,
      up: upPool,
      x: Activations.of(g, input("f32", [inputs, height], x)),
      ids: input("i32", [slots.length], slots),
      firstRow: 1,
      firstOutput: outputsAround,
    });
  });
  const added = y.map((value, at) => value - before[at]!);
  const rows = Array.from({ length: height }, (_, row) => added.subarray(row * width, (row + 1) * width));
  const slotOf = ({ columns, weights }: typeof down, slot: number) => {
    const size = weights.length / slotCount;
    return { columns, weights: weights.subarray(slot * size, (slot + 1) * size) };
  };
  const wide = (values: ArrayLike<number>, columns: number) =>
    Float32Array.from({ length: columns }, (_, i) => values[i] ?? 0);
  const ofRows = <T>(make: (down: ReturnType<typeof slotOf>, up: ReturnType<typeof slotOf>, x: Float32Array) => T) =>
    slots.map((slot, row) =>
      make(slotOf(down, slot), slotOf(up, slot), x.subarray((row + 1) * inputs, (row + 2) * inputs)),
    );
  return {
    y,
    around: [
      rows[0]!,
      rows.at(-1)!,
      ...rows.flatMap((row) => [row.subarray(0, outputsAround), row.subarray(-outputsAround)]),
    ],
    rows: rows.slice(1, -1).map((row) => row.subarray(outputsAround, -outputsAround)),
    exact: ofRows((a, b, own) => {
      const low = product(a.weights, wide(own, a.columns), a.columns);
      return product(b.weights, wide(low, b.columns), b.columns);
    }),
    twin: ofRows((a, b, own) => factorProduct(a, b, own)),
  };
}

const length = (values: ArrayLike<number>) => Math.hypot(...Array.from(values));

for (const name of ["avx512vnni", "avx2", "neon", "scalar"]) {
  test(`${name} adds to each row the product with its own factors, and to rows and outputs without nothing`, async (t) => {
    const { kernels, summary } = await loadKernels({ choice: name });
    if (!kernels) return t.skip(summary);
    for (const one of cases) {
      const { rows, twin, around } = compute(kernels, one);
      assert.ok(around.every((values) => values.every((value) => value === 0)));
      // What was there before has magnitude 1 and rounds to 2^-24 of that.
      for (const [row, expected] of twin.entries()) {
        const scale = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
        const difference = expected.map((value, at) => Math.abs(value - rows[row]![at]!));
        assert.ok(Math.max(...difference) <= 2e-5 * scale + 2e-7, `${JSON.stringify(one)} row ${row}`);
      }
    }
  });

  test(`${name} gives a row the same to the last bit on any number of threads, whoever shares its slot`, async (t) => {
    const { kernels, summary } = await loadKernels({ choice: name });
    if (!kernels) return t.skip(summary);
    for (const one of cases) {
      const { y, rows } = compute(kernels, one);
      assert.deepEqual(compute(kernels, one, 3).y, y);
      // The first rows without those after them.
      for (const count of [1, Math.min(3, one.slots.length)]) {
        const fewer = compute(kernels, { ...one, slots: one.slots.slice(0, count) });
        for (let row = 0; row < count; row++) assertClose(fewer.rows[row]!, rows[row]!, 0);
      }
    }
  });

  test(`${name} is at least as close to exact products as ggml is`, async (t) => {
    const { kernels, summary } = await loadKernels({ choice: name });
    if (!kernels) return t.skip(summary);
    // Where ggml rounds activations to 8 bits too.
    for (const one of cases.filter(({ dtype }) => dtype !== "f16")) {
      const errors = (own: Kernels | undefined) => {
        const { rows, exact } = compute(own, one);
        return exact.map((expected, row) => {
          const error = length(expected.map((value, at) => value - rows[row]![at]!));
          return length(expected) < 0.01 ? 0 : error / length(expected);
        });
      };
      const [ours, ggml] = [length(errors(kernels)), length(errors(undefined))];
      assert.ok(ours <= 1.03 * ggml, `${JSON.stringify(one)}: ${ours} against ${ggml}`);
    }
  });
}

test("other dtypes go through ggml's operations, with kernels as without", async () => {
  const { kernels } = await loadKernels();
  for (const own of [kernels, undefined]) {
    const { rows, exact } = compute(own, { dtype: "f32", inputs: 64, rank: 5, outputs: 6, slots: [1, 0, 1] });
    for (const [row, expected] of exact.entries()) {
      assert.ok(expected.every((value, at) => Math.abs(value - rows[row]![at]!) < 1e-5 * (1 + Math.abs(value))));
    }
  }
});

test("shapes that do not fit are refused before a kernel sees them", async (t) => {
  const { kernels, summary } = await loadKernels({ choice: "scalar" });
  if (!kernels) return t.skip(summary);
  using device = Device.open({ kind: "cpu", threads: 1, kernels });
  using arena = new Arena(device, [
    { name: "down", dtype: "f16", shape: [100, 8, 2] },
    { name: "up", dtype: "f16", shape: [8, 4, 2] },
    { name: "long", dtype: "f16", shape: [9, 4, 2] },
    { name: "blocks", dtype: "q8_0", shape: [32, 4, 2] },
  ]);
  const attempt =
    (place: { inputs?: number; up?: string; rows?: number; firstRow?: number; firstOutput?: number }) => () =>
      evaluate(device, (g, input) => {
        const { inputs = 100, up = "up", rows = 3, firstRow = 0, firstOutput = 0 } = place;
        return addFactors(g, input("f32", [5, 3], noise(15, 1)), {
          down: arena.get("down"),
          up: arena.get(up),
          x: Activations.of(g, input("f32", [inputs, rows], noise(inputs * rows, 2))),
          ids: input("i32", [2], [0, 0]),
          firstRow,
          firstOutput,
        });
      });
  assert.doesNotThrow(attempt({ firstRow: 1, firstOutput: 1 }));
  assert.throws(attempt({ inputs: 101 }), /factors differ/);
  assert.throws(attempt({ up: "long" }), /factors differ/);
  assert.throws(attempt({ up: "blocks" }), /factors differ/);
  assert.throws(attempt({ firstOutput: 2 }), /outputs do not fit from 2 on/);
  assert.throws(attempt({ rows: 2 }), /the rows of x/);
  assert.throws(attempt({ firstRow: 2 }), /rows do not fit from 2 on/);
});
