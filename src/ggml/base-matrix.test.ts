// Interleaved matrices in the kernels of native/, held against a slow twin, and against ggml's operations.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { DType } from "../core/index.js";
import { Activations } from "./activations.js";
import { Arena } from "./arena.js";
import { BaseMatrix, multiplyInterleaved } from "./base-matrix.js";
import { Device } from "./device.js";
import { assertClose, evaluate, type Input, noise } from "./evaluate.test.kit.js";
import type { Graph } from "./graph.js";
import { baseProduct } from "./kernel-twin.test.kit.js";
import { type Kernels, loadKernels } from "./kernels.js";
import { fromFloat32, toFloat32 } from "./quantize.js";
import type { Tensor } from "./tensor.js";

/** Inputs, and the outputs of matrices that take them side by side. */
const shapes: readonly (readonly [inputs: number, outputs: readonly number[]])[] = [
  [32, [16]],
  [160, [48, 16, 16]],
  [576, [64, 32]],
  [1184, [48]],
];
const rowCounts = [67, 1, 2, 3, 4, 5, 6, 7, 16, 33];

/** Heavy-tailed: some rows and some inputs are much larger than others, and one row is nothing. */
function activations(inputs: number, rows: number): Float32Array {
  return noise(inputs * rows, 7).map((value, at) => {
    const [row, input] = [Math.floor(at / inputs), at % inputs];
    return row === 5 ? 0 : value ** 3 * 10 ** ((row % 5) - 2) * (input % 31 === 3 ? 40 : 1);
  });
}

const weightsOf = (inputs: number, outputs: number, seed: number) =>
  noise(inputs * outputs, seed).map((value, at) => value * 0.05 * (1 + (at % 1024) / 300));

/** A device with these kernels, and matrices on it that were stored in `dtype`. */
async function interleaved(kernels: Kernels, dtype: DType, inputs: number, outputs: readonly number[], threads = 1) {
  const device = Device.open({ kind: "cpu", threads, kernels });
  const specs = outputs.map((count, index) => ({ name: `${index}`, dtype: "q8_0" as const, shape: [inputs, count] }));
  const arena = new Arena(device, specs);
  const stored = outputs.map((count, index) => fromFloat32(dtype, weightsOf(inputs, count, index), inputs));
  const matrices = outputs.map((_, index) => new BaseMatrix(arena.get(`${index}`), { isInterleaved: true }));
  for (const [index, matrix] of matrices.entries()) await matrix.writeInterleaved(device, dtype, stored[index]!);
  return { device, matrices, stored };
}

const rowsOf = (values: Float32Array, length: number) =>
  Array.from({ length: values.length / length }, (_, row) => values.subarray(row * length, (row + 1) * length));

function assertNear(actual: ArrayLike<number>, expected: readonly number[], what: string): void {
  const scale = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-6);
  const difference = expected.map((value, at) => Math.abs(value - actual[at]!));
  assert.ok(Math.max(...difference) <= 2e-5 * scale, `${what}: ${Math.max(...difference)} of ${scale}`);
}

for (const name of ["avx512vnni", "avx2", "neon", "scalar"]) {
  test(`${name} multiplies any number of rows with matrices side by side, each as if it were alone`, async (t) => {
    const { kernels, summary } = await loadKernels({ choice: name });
    if (!kernels) return t.skip(summary);
    for (const [inputs, outputs] of shapes) {
      const all = outputs.reduce((sum, count) => sum + count, 0);
      const x = activations(inputs, Math.max(...rowCounts));
      let expected: number[][] | undefined;
      let first: Float32Array[] | undefined;
      for (const threads of [1, 3]) {
        const { device, matrices, stored } = await interleaved(kernels, "q8_0", inputs, outputs, threads);
        using _ = device;
        expected ??= rowsOf(x, inputs).map((own) => stored.flatMap((bytes) => baseProduct(bytes, own)));
        for (const rows of rowCounts) {
          const y = evaluate(device, (g, input) => {
            const own = input("f32", [inputs, rows], x.subarray(0, inputs * rows));
            return multiplyInterleaved(g, matrices, Activations.of(g, own));
          });
          first ??= rowsOf(y, all);
          for (const [row, own] of rowsOf(y, all).entries()) {
            assert.deepEqual(own, first[row], `[${inputs}, ${outputs}] row ${row} of ${rows} by ${threads} threads`);
            assertNear(own, expected[row]!, `[${inputs}, ${outputs}] row ${row} of ${rows}`);
          }
        }
      }
    }
  });

  test(`${name} adds the product to what is there`, async (t) => {
    const { kernels, summary } = await loadKernels({ choice: name });
    if (!kernels) return t.skip(summary);
    const [inputs, outputs, rows] = [96, 32, 11];
    const { device, matrices, stored } = await interleaved(kernels, "q8_0", inputs, [outputs]);
    using _ = device;
    const [x, before] = [noise(inputs * rows, 3), noise(outputs * rows, 4)];
    const y = evaluate(device, (g, input) => {
      const onto = g.add(input("f32", [outputs, rows], before), input("f32", [outputs], new Float32Array(outputs)));
      return multiplyInterleaved(g, matrices, Activations.of(g, input("f32", [inputs, rows], x)), { onto });
    });
    const expected = rowsOf(x, inputs).flatMap((own) => baseProduct(stored[0]!, own));
    assertNear(
      y,
      expected.map((value, at) => value + before[at]!),
      "sum",
    );
  });

  test(`${name} interleaves every stored type as ggml rounds it, and looks up the same rows`, async (t) => {
    const { kernels, summary } = await loadKernels({ choice: name });
    if (!kernels) return t.skip(summary);
    const [inputs, outputs] = [160, 32];
    for (const dtype of ["f32", "f16", "bf16", "q8_0", "q4_0"] as const) {
      const { device, matrices, stored } = await interleaved(kernels, dtype, inputs, [outputs]);
      using _ = device;
      const values = toFloat32(dtype, stored[0]!, inputs * outputs);
      const expected = toFloat32("q8_0", fromFloat32("q8_0", values, inputs), values.length);
      const wanted = Array.from({ length: 40 }, (_, at) => (at * 7) % outputs);
      const found = evaluate(device, (g, input) => matrices[0]!.getRows(g, input("i32", [wanted.length], wanted)));
      let different = 0;
      found.forEach((value, at) => {
        const own = expected[wanted[Math.floor(at / inputs)]! * inputs + (at % inputs)]!;
        if (value !== own) different += 1;
        assert.ok(Math.abs(value - own) <= 0.01, `${dtype} has ${value} for ${own}`); // a tie may go the other way
      });
      assert.ok(different <= found.length / 500, `${dtype} differs in ${different} of ${found.length}`);
      if (dtype === "q8_0") assert.equal(different, 0);
    }
  });

  test(`${name} norms and gates what it quantises as ggml's operations do`, async (t) => {
    const { kernels, summary } = await loadKernels({ choice: name });
    if (!kernels) return t.skip(summary);
    const [inputs, rows] = [160, 9];
    const { device, matrices } = await interleaved(kernels, "q8_0", inputs, [16]);
    using _ = device;
    const x = noise(inputs * rows, 3).map((value) => 30 * value);
    const inputsOf: Record<string, (g: Graph, tensor: (values: Float32Array) => Tensor) => Activations> = {
      "one scale": (g, tensor) => Activations.normed(g, tensor(x), tensor(noise(inputs, 4)), 1e-5),
      "a scale a row": (g, tensor) => Activations.normed(g, tensor(x), tensor(noise(inputs * rows, 5)), 0.5),
      gated: (g, tensor) => Activations.gated(g, tensor(x), tensor(noise(inputs * rows, 6))),
    };
    for (const [what, make] of Object.entries(inputsOf)) {
      const through = (isFused: boolean) =>
        evaluate(device, (g, input) => {
          const own = make(g, (values) => input("f32", [inputs, values.length / inputs], values));
          return multiplyInterleaved(g, matrices, isFused ? own : Activations.of(g, own.values));
        });
      // A value on the border between two steps may fall to either side.
      assertClose(through(true), through(false), 2e-3);
      assert.ok(
        through(true).some((value) => value !== 0),
        what,
      );
    }
  });
}

test("shapes that do not fit are refused before a kernel sees them", async (t) => {
  const { kernels, summary } = await loadKernels({ choice: "scalar" });
  if (!kernels) return t.skip(summary);
  const { device, matrices } = await interleaved(kernels, "q8_0", 64, [16, 32]);
  using _ = device;
  const attempt = (build: (g: Graph, input: Input) => Tensor) => () => evaluate(device, build);
  const x = (g: Graph, input: Input, inputs = 64) => Activations.of(g, input("f32", [inputs, 2], noise(inputs * 2, 1)));
  assert.throws(
    attempt((g, input) => multiplyInterleaved(g, matrices, x(g, input, 32))),
    /inner dimensions differ/,
  );
  assert.throws(
    attempt((g, input) => multiplyInterleaved(g, [], x(g, input))),
    /matrices must be interleaved/,
  );
  const onto = (g: Graph, input: Input) =>
    multiplyInterleaved(g, matrices, x(g, input), { onto: input("f32", [16, 2], noise(32, 1)) });
  assert.throws(attempt(onto), /what is added to must be 48 × 2/);
  const plain = [new BaseMatrix(matrices[0]!.tensor, { isInterleaved: false })];
  assert.throws(
    attempt((g, input) => multiplyInterleaved(g, plain, x(g, input))),
    /matrices must be interleaved/,
  );
  assert.throws(
    attempt((g, input) => matrices[0]!.getRows(g, input("f32", [2], [0, 1]))),
    /rows must be i32 numbers/,
  );
});

test("matrices are interleaved where kernels are, in 8 or 16 bits, and strips are full", async (t) => {
  const { kernels, summary } = await loadKernels({ choice: "scalar" });
  if (!kernels) return t.skip(summary);
  using device = Device.open({ kind: "cpu", threads: 1, kernels });
  using without = Device.open({ kind: "cpu", threads: 1 });
  assert.equal(BaseMatrix.canInterleave(device, "q8_0", [32, 48]), true);
  assert.equal(BaseMatrix.canInterleave(device, "bf16", [2, 48]), true);
  assert.equal(BaseMatrix.canInterleave(device, "q8_0", [32, 40]), false);
  assert.equal(BaseMatrix.canInterleave(device, "f16", [33, 48]), false);
  assert.equal(BaseMatrix.canInterleave(device, "q4_0", [32, 48]), false);
  assert.equal(BaseMatrix.canInterleave(without, "q8_0", [32, 48]), false);
});
