// Matrices with planes merged into them, by the kernels of native/, held against a slow twin and against exact sums.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { DType } from "../core/index.js";
import { alignUp } from "../util/index.js";
import { Activations } from "./activations.js";
import { Arena } from "./arena.js";
import { BaseMatrix } from "./base-matrix.js";
import { Device } from "./device.js";
import { evaluate, type Input, noise, product } from "./evaluate.test.kit.js";
import type { Graph } from "./graph.js";
import { baseProduct, mergedProduct } from "./kernel-twin.test.kit.js";
import { loadKernels } from "./kernels.js";
import { type MergedProduct, multiplyMerged } from "./merged-product.js";
import { fromFloat32, toFloat32 } from "./quantize.js";

interface Case {
  readonly inputs: number;
  readonly outputs: number;
  readonly planes: number;
  readonly rows: number;
  /** How large planes are beside the matrix. */
  readonly size: number;
}

const dtypes = ["q8_0", "bf16", "f16"] as const;
const slotCount = 3;
const cases: readonly Case[] = [
  { inputs: 32, outputs: 16, planes: 1, rows: 1, size: 0.1 },
  { inputs: 576, outputs: 48, planes: 1, rows: 11, size: 0.02 },
  { inputs: 160, outputs: 32, planes: 2, rows: 8, size: 0.1 },
  { inputs: 2240, outputs: 16, planes: 3, rows: 3, size: 3 },
  { inputs: 128, outputs: 32, planes: 4, rows: 18, size: 100 },
  { inputs: 96, outputs: 16, planes: 0, rows: 5, size: 0 },
];

/** Nothing in the first group, and as little in the second as half floats have. */
function weightsOf({ inputs, outputs }: Case): Float32Array {
  return noise(inputs * outputs, 1).map((value, at) => {
    const group = Math.floor((at % inputs) / 32);
    return value * (group === 0 ? 0 : group === 1 ? 1e-5 : 1 + (at % 7));
  });
}

const names = ["avx512vbmi", "avx512vnni", "avx2", "neon", "scalar"];
for (const [name, dtype] of names.flatMap((own) => dtypes.map((form) => [own, form] as const))) {
  test(`${name} multiplies rows of one variant with its planes merged into a matrix of ${dtype}`, async (t) => {
    const { kernels, summary } = await loadKernels({ choice: name });
    if (!kernels) return t.skip(summary);
    for (const one of cases) {
      const { inputs, outputs, planes, rows } = one;
      const padded = alignUp(inputs, 128);
      const stored = fromFloat32(dtype, weightsOf(one), inputs);
      const pools = Array.from({ length: planes }, (_, plane) =>
        fromFloat32(
          "q1_0",
          noise(padded * outputs * slotCount, 2 + plane).map((v) => (v * one.size) / (plane + 1)),
          padded,
        ),
      );
      const slots = Array.from({ length: planes }, (_, plane) => (plane + 1) % slotCount);
      const [allRows, allOutputs, firstRow, firstOutput] = [rows + 3, outputs + 8, 2, 5];
      const x = noise(inputs * allRows, 9).map((value, at) => value ** 3 * (at % 31 === 3 ? 40 : 1));
      const before = noise(allOutputs * allRows, 4);
      for (const [threads, adds] of [
        [1, false],
        [3, true],
      ] as const) {
        using device = Device.open({ kind: "cpu", threads, kernels });
        using arena = new Arena(device, [
          { name: "matrix", dtype, shape: [inputs, outputs] },
          ...pools.map((_, plane) => ({
            name: `${plane}`,
            dtype: "q1_0" as const,
            shape: [padded, outputs, slotCount],
          })),
        ]);
        const matrix = new BaseMatrix(arena.get("matrix"), { isInterleaved: true });
        await matrix.writeInterleaved(device, dtype, stored);
        for (const [plane, bytes] of pools.entries()) {
          const arranged = new Uint8Array(bytes.length / slotCount);
          for (let slot = 0; slot < slotCount; slot++) {
            const at = slot * arranged.length;
            kernels.arrange.signs(arranged, bytes.subarray(at, at + arranged.length), inputs, outputs);
            arena.get(`${plane}`).write(arranged, at);
          }
        }
        const y = evaluate(device, (g, input) => {
          const zeros = input("f32", [allOutputs], new Float32Array(allOutputs));
          return multiplyMerged(g, g.add(input("f32", [allOutputs, allRows], before), zeros), {
            matrix,
            // A class that has no part in this matrix lies between.
            planes: new Map(pools.map((_, plane) => [plane < 1 ? plane : plane + 1, arena.get(`${plane}`)])),
            x: Activations.of(g, input("f32", [inputs, allRows], x)),
            run: input("i32", [planes + 3], [firstRow, rows, ...slots.slice(0, 1), 99, ...slots.slice(1)]),
            firstOutput,
            adds,
          });
        });
        const slotBytes = (pools[0]?.length ?? 0) / slotCount;
        const own = pools.map((bytes, plane) =>
          bytes.subarray(slots[plane]! * slotBytes, (slots[plane]! + 1) * slotBytes),
        );
        for (let row = 0; row < allRows; row++) {
          const isOwn = row >= firstRow && row < firstRow + rows;
          const ownX = x.subarray(row * inputs, (row + 1) * inputs);
          const products = !isOwn
            ? []
            : dtype === "q8_0"
              ? rounded(stored, own, ownX)
              : exact(dtype, stored, own, ownX);
          const scale = products.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-3);
          for (let output = 0; output < allOutputs; output++) {
            const at = row * allOutputs + output;
            const value = products[output - firstOutput];
            const wanted = value === undefined ? before[at]! : value + (adds ? before[at]! : 0);
            const error = Math.abs(y[at]! - wanted);
            assert.ok(
              error <= 2e-5 * scale + 2e-7,
              `${JSON.stringify(one)}: ${y[at]} for ${wanted} at ${row}, ${output}`,
            );
          }
        }
      }
    }
  });
}

/** In 16 bits nothing is rounded but the sums. */
function exact(dtype: DType, matrix: Uint8Array, planes: readonly Uint8Array[], x: Float32Array): number[] {
  const outputs = matrix.length / 2 / x.length;
  const weights = toFloat32(dtype, matrix, outputs * x.length);
  const padded = alignUp(x.length, 128);
  for (const plane of planes) {
    const values = toFloat32("q1_0", plane, outputs * padded);
    weights.forEach((weight, at) => {
      weights[at] = weight + values[Math.floor(at / x.length) * padded + (at % x.length)]!;
    });
  }
  return product(weights, x, x.length);
}

/** In 8 bits; without planes the matrix is what it was. */
function rounded(matrix: Uint8Array, planes: readonly Uint8Array[], x: Float32Array): number[] {
  return planes.length === 0 ? baseProduct(matrix, x) : mergedProduct(matrix, planes, x);
}

test("merging loses no more than 8 bits do, however small the planes are beside the matrix", () => {
  const [inputs, outputs] = [512, 64];
  for (const size of [0.01, 0.1, 1]) {
    // Bell-shaped weights, as models have them.
    const bell = [1, 2, 3, 4].map((seed) => noise(inputs * outputs, seed));
    const matrix = fromFloat32(
      "q8_0",
      bell[0]!.map((_, at) => bell.reduce((sum, own) => sum + own[at]!, 0)),
      inputs,
    );
    const plane = fromFloat32(
      "q1_0",
      noise(inputs * outputs, 5).map((value) => value * size),
      inputs,
    );
    const [w, d] = [toFloat32("q8_0", matrix, inputs * outputs), toFloat32("q1_0", plane, inputs * outputs)];
    // Of the plane's own direction as much must be left as there was: an x that is its signs finds all of it.
    let [kept, all] = [0, 0];
    for (let output = 0; output < outputs; output++) {
      const rows = (bytes: Uint8Array, length: number) => bytes.subarray(output * length, (output + 1) * length);
      const x = d.subarray(output * inputs, (output + 1) * inputs).map(Math.sign);
      const y = mergedProduct(rows(matrix, (inputs / 32) * 34), [rows(plane, (inputs / 128) * 18)], x)[0]!;
      kept += y - product(w.subarray(output * inputs, (output + 1) * inputs), x, inputs)[0]!;
      all += product(d.subarray(output * inputs, (output + 1) * inputs), x, inputs)[0]!;
    }
    assert.ok(Math.abs(kept / all - 1) < 0.1, `of planes of ${size}, ${kept / all} is left`);
  }
});

test("shapes that do not fit are refused before a kernel sees them", async (t) => {
  const { kernels, summary } = await loadKernels({ choice: "scalar" });
  if (!kernels) return t.skip(summary);
  using device = Device.open({ kind: "cpu", threads: 1, kernels });
  using arena = new Arena(device, [
    { name: "matrix", dtype: "q8_0", shape: [64, 16] },
    { name: "pool", dtype: "q1_0", shape: [128, 16, 2] },
    { name: "other", dtype: "q1_0", shape: [128, 32, 2] },
  ]);
  const matrix = new BaseMatrix(arena.get("matrix"), { isInterleaved: true });
  const attempt = (change: (g: Graph, input: Input) => Partial<MergedProduct>) => () =>
    evaluate(device, (g, input) =>
      multiplyMerged(g, input("f32", [16, 4], noise(64, 1)), {
        matrix,
        planes: new Map([[0, arena.get("pool")]]),
        x: Activations.of(g, input("f32", [64, 4], noise(256, 2))),
        run: input("i32", [3], [0, 4, 1]),
        firstOutput: 0,
        adds: false,
        ...change(g, input),
      }),
    );
  assert.equal(attempt(() => ({}))().length, 64);
  const plain = new BaseMatrix(arena.get("matrix"), { isInterleaved: false });
  assert.throws(
    attempt(() => ({ matrix: plain })),
    /must be interleaved/,
  );
  const x = (g: Graph, input: Input, inputs: number, rows: number) =>
    Activations.of(g, input("f32", [inputs, rows], noise(inputs * rows, 2)));
  assert.throws(
    attempt((g, input) => ({ x: x(g, input, 64, 3) })),
    /rows of x/,
  );
  assert.throws(
    attempt((g, input) => ({ x: x(g, input, 96, 4) })),
    /inner dimensions differ/,
  );
  assert.throws(
    attempt(() => ({ firstOutput: 1 })),
    /inner dimensions differ/,
  );
  assert.throws(
    attempt((_, input) => ({ run: input("f32", [3], [0, 4, 1]) })),
    /run must be i32/,
  );
  assert.throws(
    attempt(() => ({ planes: new Map([[0, arena.get("other")]]) })),
    /as large as the matrix/,
  );
  assert.throws(
    attempt(() => ({ planes: new Map([[1, arena.get("pool")]]) })),
    /one of the run/,
  );
});
