// Interleaved matrices in 16-bit floats (native/float-matrix.h), held against exact products.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Activations } from "./activations.js";
import { Arena } from "./arena.js";
import { BaseMatrix, multiplyInterleaved } from "./base-matrix.js";
import { Device } from "./device.js";
import { evaluate, noise } from "./evaluate.test.kit.js";
import { type Kernels, loadKernels } from "./kernels.js";
import { fromFloat32, toFloat32 } from "./quantize.js";

const dtypes = ["bf16", "f16"] as const;
/** Inputs, and the outputs of matrices that take them side by side; the last are more than are taken at once. */
const shapes: readonly (readonly [inputs: number, outputs: readonly number[]])[] = [
  [2, [16]],
  [34, [48, 16, 16]],
  [1030, [32]],
];
const rowCounts = [1, 2, 3, 4, 5, 6, 7, 8, 13, 67];

interface Held {
  readonly device: Device;
  readonly matrices: readonly BaseMatrix[];
  /** Of all matrices, row by row. */
  readonly values: readonly Float32Array[];
}

async function held(
  kernels: Kernels,
  dtype: (typeof dtypes)[number],
  [inputs, outputs]: (typeof shapes)[number],
  { threads = 1, storedAs = dtype as "f32" | typeof dtype } = {},
): Promise<Held> {
  const device = Device.open({ kind: "cpu", threads, kernels });
  const specs = outputs.map((count, index) => ({ name: `${index}`, dtype, shape: [inputs, count] }));
  const arena = new Arena(device, specs);
  const matrices = outputs.map((_, index) => new BaseMatrix(arena.get(`${index}`), { isInterleaved: true }));
  const values: Float32Array[] = [];
  for (const [index, matrix] of matrices.entries()) {
    const stored = fromFloat32(storedAs, noise(inputs * outputs[index]!, index), inputs);
    await matrix.writeInterleaved(device, storedAs, stored);
    const rounded = fromFloat32(dtype, toFloat32(storedAs, stored, inputs * outputs[index]!), inputs);
    values.push(...rowsOf(toFloat32(dtype, rounded, inputs * outputs[index]!), inputs));
  }
  return { device, matrices, values };
}

const rowsOf = (values: Float32Array, length: number) =>
  Array.from({ length: values.length / length }, (_, row) => values.subarray(row * length, (row + 1) * length));

function multiply({ device, matrices }: Held, x: Float32Array, inputs: number): Float32Array {
  return evaluate(device, (g, input) =>
    multiplyInterleaved(g, matrices, Activations.of(g, input("f32", [inputs, x.length / inputs], x))),
  );
}

for (const name of ["avx512vnni", "avx2", "neon", "scalar"]) {
  test(`${name} multiplies 16-bit floats without rounding either side, the same for any company and threads`, async (t) => {
    const { kernels, summary } = await loadKernels({ choice: name });
    if (!kernels) return t.skip(summary);
    for (const dtype of dtypes) {
      for (const shape of shapes) {
        const [inputs] = shape;
        const x = noise(inputs * Math.max(...rowCounts), 7).map((value) => 30 * value ** 3);
        let first: Float32Array | undefined;
        for (const threads of [1, 3]) {
          const own = await held(kernels, dtype, shape, { threads });
          using _ = own.device;
          const all = multiply(own, x, inputs);
          assert.deepEqual(all, first ?? all);
          if (first) continue;
          first = all;
          for (const rows of rowCounts) {
            assert.deepEqual(
              multiply(own, x.subarray(0, inputs * rows), inputs),
              all.subarray(0, rows * own.values.length),
            );
          }
          rowsOf(x, inputs).forEach((row, at) => {
            own.values.forEach((weights, output) => {
              const terms = Array.from(weights, (weight, i) => weight * row[i]!);
              const [exact, size] = [0, 1].map((isSize) =>
                terms.reduce((sum, term) => sum + (isSize ? Math.abs(term) : term), 0),
              ) as [number, number];
              const found = all[at * own.values.length + output]!;
              assert.ok(Math.abs(found - exact) <= 1e-5 * size, `${dtype} [${shape}] row ${at}: ${found} for ${exact}`);
            });
          });
        }
      }
    }
  });

  test(`${name} adds products of 16-bit floats to what is there, from a row on`, async (t) => {
    const { kernels, summary } = await loadKernels({ choice: name });
    if (!kernels) return t.skip(summary);
    const [inputs, outputs, rows, firstRow] = [34, 32, 11, 4];
    const own = await held(kernels, "bf16", [inputs, [outputs]]);
    using _ = own.device;
    const [x, before] = [noise(inputs * rows, 3), noise(outputs * rows, 4)];
    const products = multiply(own, x, inputs);
    const sums = evaluate(own.device, (g, input) => {
      const onto = g.add(input("f32", [outputs, rows], before), input("f32", [outputs], new Float32Array(outputs)));
      const all = Activations.of(g, input("f32", [inputs, rows], x));
      return multiplyInterleaved(g, own.matrices, all, { onto, firstRow });
    });
    const expected = before.map((value, at) => value + (at >= firstRow * outputs ? products[at]! : 0));
    assert.deepEqual(sums, expected);
  });

  test(`${name} interleaves 16-bit floats as they are, other types rounded once, and looks up the same rows`, async (t) => {
    const { kernels, summary } = await loadKernels({ choice: name });
    if (!kernels) return t.skip(summary);
    const [inputs, outputs] = [34, 48];
    for (const dtype of dtypes) {
      for (const storedAs of [dtype, "f32"] as const) {
        const own = await held(kernels, dtype, [inputs, [outputs]], { storedAs });
        using _ = own.device;
        const wanted = Array.from({ length: 40 }, (_, at) => (at * 7) % outputs);
        const found = evaluate(own.device, (g, input) =>
          own.matrices[0]!.getRows(g, input("i32", [wanted.length], wanted)),
        );
        for (const [at, row] of rowsOf(found, inputs).entries()) assert.deepEqual(row, own.values[wanted[at]!]);
      }
    }
  });
}

test("matrices of different dtypes make no one product", async (t) => {
  const { kernels, summary } = await loadKernels({ choice: "scalar" });
  if (!kernels) return t.skip(summary);
  const own = await held(kernels, "bf16", [32, [16]]);
  using _ = own.device;
  const arena = new Arena(own.device, [{ name: "other", dtype: "f16", shape: [32, 16] }]);
  const other = new BaseMatrix(arena.get("other"), { isInterleaved: true });
  assert.throws(
    () =>
      evaluate(own.device, (g, input) =>
        multiplyInterleaved(g, [...own.matrices, other], Activations.of(g, input("f32", [32, 1], noise(32, 1)))),
      ),
    /interleaved, of one dtype/,
  );
});
