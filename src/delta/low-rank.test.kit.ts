// Matrices of which the singular values are known.

import type { MatrixShape } from "../formats/index.js";
import { gaussian } from "./codec-conformance.test.kit.js";
import { orthonormal } from "./dense.js";

/** A matrix with these singular values, and random singular vectors. */
export function withSpectrum({ rows, cols }: MatrixShape, spectrum: readonly number[], seed = 1): Float32Array {
  const vectors = (length: number, own: number) =>
    orthonormal(spectrum.map((_, k) => Float64Array.from(gaussian({ rows: 1, cols: length }, own + k))));
  const [left, right] = [vectors(rows, 1000 * seed), vectors(cols, 1000 * seed + 500)];
  const values = new Float32Array(rows * cols);
  for (let row = 0; row < rows; row++) {
    for (let col = 0; col < cols; col++) {
      let sum = 0;
      for (const [k, size] of spectrum.entries()) sum += size * left[k]![row]! * right[k]![col]!;
      values[row * cols + col] = sum;
    }
  }
  return values;
}

/** A matrix of this rank whose elements are about 1. */
export function lowRankNoise(shape: MatrixShape, rank: number): Float32Array {
  return withSpectrum(shape, new Array(rank).fill(Math.sqrt((shape.rows * shape.cols) / rank)));
}
