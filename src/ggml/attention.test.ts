// Attention of single rows by the kernels of native/, held against ggml's.

import assert from "node:assert/strict";
import { test } from "node:test";
import { attend } from "./attention.js";
import { Device } from "./device.js";
import { assertClose, evaluate, noise } from "./evaluate.test.kit.js";
import { loadKernels } from "./kernels.js";

interface Case {
  readonly headDim: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly cells: number;
  readonly sequences: number;
}

const cases: readonly Case[] = [
  { headDim: 64, heads: 9, kvHeads: 3, cells: 70, sequences: 5 },
  { headDim: 128, heads: 4, kvHeads: 4, cells: 32, sequences: 1 },
  { headDim: 16, heads: 8, kvHeads: 2, cells: 129, sequences: 3 },
];

/** Each sequence sees a window of its own; the first has whole blocks of cells that it does not see. */
function maskOf({ cells, sequences }: Case): Float32Array {
  return Float32Array.from({ length: cells * sequences }, (_, at) => {
    const [sequence, cell] = [Math.floor(at / cells), at % cells];
    const [first, end] =
      sequence === 0 ? [cells - 5, cells] : [sequence, Math.ceil((cells * (sequence + 1)) / sequences)];
    return cell >= first && cell < end ? 0 : Number.NEGATIVE_INFINITY;
  });
}

for (const name of ["avx512vnni", "avx2", "neon", "scalar"]) {
  test(`${name} attends as ggml does, and looks at nothing that is masked`, async (t) => {
    const { kernels, summary } = await loadKernels({ choice: name });
    if (!kernels) return t.skip(summary);
    for (const one of cases) {
      const { headDim, heads, kvHeads, cells, sequences } = one;
      const mask = maskOf(one);
      const cached = (seed: number, isClean: boolean) =>
        noise(headDim * cells * kvHeads * sequences, seed).map((value, at) => {
          const [cell, sequence] = [Math.floor(at / headDim) % cells, Math.floor(at / (headDim * cells * kvHeads))];
          const isMasked = mask[sequence * cells + cell] !== 0;
          return isMasked && !isClean ? Number.NaN : 3 * value;
        });
      const through = (own: typeof kernels | undefined, threads: number) => {
        using device = Device.open({ kind: "cpu", threads, kernels: own });
        return evaluate(device, (g, input) => {
          const q = input("f32", [headDim, 1, heads, sequences], noise(headDim * heads * sequences, 1));
          const k = input("f16", [headDim, cells, kvHeads, sequences], cached(2, !own));
          const v = input("f16", [headDim, cells, kvHeads, sequences], cached(3, !own));
          return attend(g, { q, k, v, mask: input("f16", [cells, 1, 1, sequences], mask), scale: 0.3 });
        });
      };
      const expected = through(undefined, 1);
      assertClose(through(kernels, 1), expected, 2e-3); // ggml multiplies in half floats
      assertClose(through(kernels, 3), expected, 2e-3);
    }
  });
}

test("queries and cells that do not fit are refused before a kernel sees them", async (t) => {
  const { kernels, summary } = await loadKernels({ choice: "scalar" });
  if (!kernels) return t.skip(summary);
  using device = Device.open({ kind: "cpu", threads: 1, kernels });
  const attempt = (keys: readonly number[], mask: readonly number[]) => () =>
    evaluate(device, (g, input) => {
      const of = (shape: readonly number[]) => input("f16", shape, new Float32Array(shape.reduce((a, b) => a * b, 1)));
      const q = input("f32", [16, 1, 4, 2], noise(128, 1));
      return attend(g, { q, k: of(keys), v: of(keys), mask: of(mask), scale: 1 });
    });
  assert.throws(attempt([32, 8, 2, 2], [8, 1, 1, 2]), /keys and values differ/);
  assert.throws(attempt([16, 8, 3, 2], [8, 1, 1, 2]), /heads or sequences do not match/);
  assert.throws(attempt([16, 8, 2, 2], [8, 1, 1, 1]), /mask does not match/);
});
