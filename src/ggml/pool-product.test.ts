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
import { addPoolProduct, fitsStrips, lookUpPlanes } from "./pool-product.js";
import { fromFloat32, toFloat32 } from "./quantize.js";

/** Rows from the second on have planes, the last has none: slots of those between. */
interface Case {
  readonly inputs: number;
  readonly outputs: number;
  readonly slots: readonly number[];
}

const slotCount = 5;
const cases: readonly Case[] = [
  { inputs: 128, outputs: 16, slots: [3] },
  { inputs: 576, outputs: 48, slots: [4, 0, 4, 1, 2] },
  { inputs: 40, outputs: 16, slots: [1, 1] },
  { inputs: 200, outputs: 64, slots: [0, 1, 2, 3, 4] },
  { inputs: 1536, outputs: 32, slots: Array.from({ length: 40 }, (_, row) => (row * row) % 3) },
  { inputs: 300, outputs: 144, slots: Array.from({ length: 35 }, () => 2) },
];

/** All slots' bytes as a device has them. */
function inSlots(kernels: Kernels | undefined, rows: Uint8Array, inputs: number, outputs: number): Uint8Array {
  if (!kernels || !fitsStrips("q1_0", outputs)) return rows;
  const slotBytes = (alignUp(inputs, 128) / 128) * 18 * outputs;
  const arranged = new Uint8Array(rows.length);
  for (let at = 0; at < rows.length; at += slotBytes) {
    kernels.arrange.signs(arranged.subarray(at, at + slotBytes), rows.subarray(at, at + slotBytes), inputs, outputs);
  }
  return arranged;
}

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
  arena.get("pool").write(inSlots(kernels, bytes, inputs, outputs));
  const y = evaluate(device, (g, input) => {
    // The product wants a result of its own to write to, not an input.
    const base = g.add(
      input("f32", [outputs, slots.length + 2], before),
      input("f32", [outputs], new Float32Array(outputs)),
    );
    const ids = input("i32", [slots.length], slots);
    const around = activations(inputs, slots.length + 2);
    around.set(x, inputs);
    const tabled = { firstRow: 1, rows: slots.length };
    const rows = Activations.of(g, input("f32", [inputs, slots.length + 2], around), tabled);
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

for (const name of ["avx512vbmi", "avx512vnni", "avx2", "neon", "scalar"]) {
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

test("rows of planes are looked up alike in strips and in rows", async () => {
  const { kernels } = await loadKernels({ choice: "scalar" });
  const [inputs, outputs] = [200, 48];
  const bytes = fromFloat32("q1_0", noise(256 * outputs * 3, 5), 256);
  const places = [0, 47, 2 * 48 + 17, 48 + 15, 17];
  const decoded = toFloat32("q1_0", bytes, 256 * outputs * 3);
  const expected = places.flatMap((place) => [...decoded.subarray(place * 256, place * 256 + inputs)]);
  for (const own of [kernels, undefined]) {
    using device = Device.open({ kind: "cpu", threads: 2, kernels: own });
    using arena = new Arena(device, [{ name: "pool", dtype: "q1_0", shape: [256, outputs, 3] }]);
    arena.get("pool").write(inSlots(own, bytes, inputs, outputs));
    const rows = evaluate(device, (g, input) =>
      // A result of its own, without gaps.
      g.add(
        lookUpPlanes(g, arena.get("pool"), input("i32", [places.length], places), inputs),
        input("f32", [inputs], new Float32Array(inputs)),
      ),
    );
    assert.deepEqual([...rows], expected);
  }
});

test("planes of outputs that 16 does not divide go through ggml's operations, with kernels as without", async () => {
  const { kernels } = await loadKernels();
  const one = { inputs: 200, outputs: 37, slots: [4, 0, 4, 1, 2] };
  assert.deepEqual(compute(kernels, one, 1).rows, compute(undefined, one, 1).rows);
});

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
  using arena = new Arena(device, [{ name: "pool", dtype: "q1_0", shape: [256, 16, 2] }]);
  const attempt =
    (
      inputs: number,
      outputs: number,
      place: { firstRow: number; firstOutput?: number; rows?: number; tabled?: number },
    ) =>
    () =>
      evaluate(device, (g, input) => {
        const rows = place.rows ?? 3;
        return addPoolProduct(g, input("f32", [outputs, 3], noise(outputs * 3, 1)), {
          pool: arena.get("pool"),
          x: Activations.of(g, input("f32", [inputs, rows], noise(inputs * rows, 2)), {
            firstRow: 0,
            rows: place.tabled ?? rows,
          }),
          ids: input("i32", [2], [0, 0]),
          firstRow: place.firstRow,
          firstOutput: place.firstOutput ?? 0,
        });
      });
  assert.throws(attempt(100, 16, { firstRow: 0 }), /inner dimensions differ/);
  assert.throws(attempt(200, 15, { firstRow: 0 }), /inner dimensions differ/);
  assert.throws(attempt(200, 17, { firstRow: 0, firstOutput: 2 }), /inner dimensions differ/);
  assert.throws(attempt(200, 16, { firstRow: 0, rows: 2 }), /the rows of x/);
  assert.throws(attempt(200, 16, { firstRow: 2 }), /rows do not fit from 2 on/);
  assert.throws(attempt(200, 16, { firstRow: 1, tabled: 2 }), /not all 2 rows from 1 on have tables/);
  assert.throws(attempt(200, 16, { firstRow: 0, tabled: 4 }), /there are no 4 rows from 0 on/);
});
