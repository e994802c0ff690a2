import { dtypes } from "../core/index.js";
import { type FactorDType, type MatrixShape, paddedCols } from "../formats/index.js";
import { fromFloat32, toFloat32 } from "../ggml/index.js";
import { alignUp } from "../util/index.js";
import type { Factors } from "./codec.js";
import { bestUp } from "./low-rank.js";
import { type Matrix, timesTransposed, transposed } from "./products.js";

/** Ranks of blocks come in these: rows of `up` are then whole blocks. */
export const RANK_STEP = 32;

/** Bits that one more rank takes, for a matrix of this shape. */
export function bitsPerRank(dtype: FactorDType, { rows, cols }: MatrixShape): number {
  const { blockSize, blockBytes } = dtypes[dtype];
  return (8 * blockBytes * (rows + paddedCols(dtype, cols))) / blockSize;
}

/**
 * Quantises a low-rank approximation: first `down`, then the `up` that is best for what has become of it.
 *
 * @param e what is approximated, `[rows, cols]`
 * @param directions rows of `down`, as long as their singular values; filled up with zero rows to a whole {@link RANK_STEP}
 * @returns undefined where there is no direction
 */
export function encodeFactors(
  e: Matrix,
  directions: Matrix,
  dtype: FactorDType,
  moment?: Float32Array,
): Factors | undefined {
  if (directions.rows === 0) return undefined;
  const rank = alignUp(directions.rows, RANK_STEP);
  const length = paddedCols(dtype, e.cols);
  const padded = new Float32Array(rank * length);
  const balance = balanceOf(e, directions);
  for (let k = 0; k < directions.rows; k++) {
    for (let i = 0; i < e.cols; i++) padded[k * length + i] = directions.values[k * e.cols + i]! * balance;
  }
  const down = fromFloat32(dtype, padded, length);
  const up = fromFloat32(dtype, bestUp(e, unpadded(dtype, down, rank, e.cols), moment).values, rank);
  return { dtype, rank, down, up };
}

/** Adds `up · down` to `into`, row-major `[rows, cols]`. O(rows · cols · rank). */
export function addFactors(into: Float32Array, { dtype, rank, down, up }: Factors, { rows, cols }: MatrixShape): void {
  const left = unpadded(dtype, up, rows, rank);
  const { values } = timesTransposed(left, transposed(unpadded(dtype, down, rank, cols)));
  for (let i = 0; i < into.length; i++) into[i]! += values[i]!;
}

/** Decodes rows that were filled up to whole blocks. */
function unpadded(dtype: FactorDType, bytes: Uint8Array, rows: number, cols: number): Matrix {
  const length = paddedCols(dtype, cols);
  const decoded = toFloat32(dtype, bytes, rows * length);
  if (length === cols) return { rows, cols, values: decoded };
  const values = new Float32Array(rows * cols);
  for (let row = 0; row < rows; row++) values.set(decoded.subarray(row * length, row * length + cols), row * cols);
  return { rows, cols, values };
}

/**
 * A power of two for `down`, whose inverse goes to `up`, that makes both of one size: scales of blocks are half floats, which tell
 * numbers below 1e-5 badly apart. Columns of `up` have length 1, the first direction has the first singular value's.
 */
function balanceOf({ rows, cols }: Matrix, directions: Matrix): number {
  const first = Math.hypot(...directions.values.subarray(0, cols));
  return 2 ** Math.round(Math.log2(Math.sqrt(Math.sqrt(cols / rows) / first)));
}
