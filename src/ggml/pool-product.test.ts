// Products with pools by the kernels in native/ and by ggml's operations, held against each other and against exact ones.

import assert from "node:assert/strict";
import { test } from "node:test";
import { alignUp } from "../util/index.js";
import { Activations } from "./activations.js";
import { Arena } from "./arena.js";
import { Device } from "./device.js";
import { assertClose, evaluate, noise, product } from "./evaluate.test.kit.js";
import { signProduct } from "./kernel-twin.test.kit.js";
import { type Kernels, loadKernels } from "./kernels.js";
import { addPoolProduct } from "./pool-product.js";
import { fromFloat32, toFloat32 } from "./quantize.js";

/** Rows from the second on have planes, the last has none: slots of those between. */
interface Case {
  readonly inputs: number;
  readonly outputs: number;
  readonly slots: readonly number[];
}

const slotCount = 5;
const cases: readonly Case[] = [
  { inputs: 128, outputs: 4, slots: [3] },
  { inputs: 576, outputs: 37, slots: [4, 0, 4, 1, 2] },
  { inputs: 40, outputs: 3, slots: [1, 1] },
  { inputs: 200, outputs: 1, slots: [0, 1, 2, 3, 4] },
  { inputs: 1536, outputs: 24, slots: Array.from({ length: 40 }, (_, row) => (row * row) % 3) },
  { inputs: 300, outputs: 130, slots: Array.from({ length: 35 }, () => 2) },
];

/** Activations as models have them: some rows and some inputs much larger than others, and a row of zeros. */
function activations(inputs: number, rows: number): Float32Array {
  return noise(inputs * rows, 7).map((value, at) => {
    const [row, input] = [Math.floor(at / inputs), at % inputs];
    return row % 6 === 5 ? 0 : value * 10 ** ((row % 5) - 2) * (input % 97 === 3 ? 40 : 1);
  });
}

function compute(kernels: Kernels | undefined, { inputs, outputs, slots }: Case, threads: number) {
  const padded = alignUp(inputs, 128);
  const planes = noise(padded * outputs * slotCount, 1).map((value, at) => value * 0.02 * (1 + (at % 1024) / 700));
  const bytes = fromFloat32("q1_0", planes, padded);
  const decoded = toFloat32("q1_0", bytes, planes.length);
  const x = activations(inputs, slots.length);
  const before = noise(outputs * (slots.length + 2), 3);
  using device = Device.open({ kind: "cpu", threads, kernels });
  using arena = new Arena(device, [{ name: "pool", dtype: "q1_0", shape: [padded, outputs, slotCount] }]);
  arena.get("pool").write(bytes);
  const y = evaluate(device, (g, input) => {
    // The product wants a result of its own to write to, not an input.
    const base = g.add(
      input("f32", [outputs, slots.length + 2], before),
      input("f32", [outputs], new Float32Array(outputs)),
    );
    const ids = input("i32", [slots.length], slots);
    const around = activations(inputs, slots.length + 2);
    around.set(x, inputs);
    const rows = Activations.of(g, input("f32", [inputs, slots.length + 2], around));
    return addPoolProduct(g, base, { pool: arena.get("pool"), x: rows, ids, firstRow: 1, firstOutput: 0 });
  });
  const added = y.map((value, at) => value - before[at]!);
  const rowOf = (row: number) => x.subarray(row * inputs, (row + 1) * inputs);
  const slotBytes = bytes.length / slotCount;
  const exact = slots.map((slot, row) => {
    const wide = new Float32Array(padded);
    wide.set(rowOf(row));
    return product(decoded.subarray(slot * padded * outputs, (slot + 1) * padded * outputs), wide, padded);
  });
  const twin = slots.map((slot, row) =>
    signProduct(bytes.subarray(slot * slotBytes, (slot + 1) * slotBytes), rowOf(row)),
  );
  const rows = Array.from({ length: slots.length + 2 }, (_, row) => added.subarray(row * outputs, (row + 1) * outputs));
  return { rows, exact, twin };
}

const length = (values: ArrayLike<number>) => Math.hypot(...Array.from(values));
const relativeError = (actual: ArrayLike<number>, expected: readonly number[]) =>
  length(expected.map((value, at) => value - actual[at]!)) / Math.max(length(expected), 1e-6);

for (const name of ["avx512vnni", "avx2", "neon", "scalar"]) {
  test(`${name} adds to each row the product with its own plane, and to rows without one nothing`, async (t) => {
    const { kernels, summary } = await loadKernels({ choice: name });
    if (!kernels) return t.skip(summary);
    for (const one of cases) {
      for (const threads of [1, 3]) {
        const { rows, twin } = compute(kernels, one, threads);
        assert.ok([...rows[0]!, ...rows.at(-1)!].every((value) => value === 0));
        // What was there before has magnitude 1 and rounds to 2^-24 of that.
        for (const [index, expected] of twin.entries()) {
          const scale = 1e-5 + expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
          const difference = expected.map((value, at) => Math.abs(value - rows[index + 1]![at]!));
          assert.ok(Math.max(...difference) <= 2e-5 * scale + 2e-7, `${JSON.stringify(one)} row ${index}`);
        }
      }
    }
  });

  test(`${name} is about as close to exact products as ggml is`, async (t) => {
    const { kernels, summary } = await loadKernels({ choice: name });
    if (!kernels) return t.skip(summary);
    const errors = (own: Kernels | undefined) =>
      cases.flatMap((one) => {
        const { rows, exact } = compute(own, one, 1);
        return exact.map((expected, row) => (length(expected) < 0.01 ? 0 : relativeError(rows[row + 1]!, expected)));
      });
    const [ours, ggml] = [errors(kernels), errors(undefined)];
    assert.ok(length(ours) <= 1.03 * length(ggml), `${length(ours)} against ${length(ggml)}`);
  });
}

test("other dtypes go through ggml's operations, with kernels as without", async () => {
  const { kernels } = await loadKernels();
  const [inputs, outputs] = [64, 6];
  const [w, x, before] = [noise(inputs * outputs * 2, 1), noise(inputs, 2), noise(outputs, 3)];
  const through = (own: Kernels | undefined) => {
    using device = Device.open({ kind: "cpu", threads: 1, kernels: own });
    using arena = new Arena(device, [{ name: "pool", dtype: "f32", shape: [inputs, outputs, 2] }]);
    arena.get("pool").write(w);
    return evaluate(device, (g, input) => {
      const y = g.add(input("f32", [outputs], before), input("f32", [outputs], new Float32Array(outputs)));
      const ids = input("i32", [1], [1]);
      const rows = Activations.of(g, input("f32", [inputs, 1], x));
      return addPoolProduct(g, y, { pool: arena.get("pool"), x: rows, ids, firstRow: 0, firstOutput: 0 });
    });
  };
  const expected = product(w.subarray(inputs * outputs), x, inputs).map((value, at) => value + before[at]!);
  assertClose(through(kernels), expected, 1e-5);
  assertClose(through(undefined), expected, 1e-5);
});

test("shapes that do not fit are refused before a kernel sees them", async (t) => {
  const { kernels, summary } = await loadKernels({ choice: "scalar" });
  if (!kernels) return t.skip(summary);
  using device = Device.open({ kind: "cpu", threads: 1, kernels });
  using arena = new Arena(device, [{ name: "pool", dtype: "q1_0", shape: [256, 4, 2] }]);
  const attempt =
    (inputs: number, outputs: number, place: { firstRow: number; firstOutput?: number; rows?: number }) => () =>
      evaluate(device, (g, input) =>
        addPoolProduct(g, input("f32", [outputs, 3], noise(outputs * 3, 1)), {
          pool: arena.get("pool"),
          x: Activations.of(g, input("f32", [inputs, place.rows ?? 3], noise(inputs * (place.rows ?? 3), 2))),
          ids: input("i32", [2], [0, 0]),
          firstRow: place.firstRow,
          firstOutput: place.firstOutput ?? 0,
        }),
      );
  assert.throws(attempt(100, 4, { firstRow: 0 }), /inner dimensions differ/);
  assert.throws(attempt(200, 3, { firstRow: 0 }), /inner dimensions differ/);
  assert.throws(attempt(200, 5, { firstRow: 0, firstOutput: 2 }), /inner dimensions differ/);
  assert.throws(attempt(200, 4, { firstRow: 0, rows: 2 }), /the rows of x/);
  assert.throws(attempt(200, 4, { firstRow: 2 }), /rows do not fit from 2 on/);
});
