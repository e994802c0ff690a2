// The factor V of a second moment H: upper triangular, V·Vᵀ = H, so that ‖e·V‖² = e·H·eᵀ for a row of errors e, and element j of e·V
// depends on the errors up to j alone.
//
//             0         start   end       cols        Blocks of columns from the last to the first. The columns behind a block say a part
//           0 ┌───────────┬──────┬─────────┐          of H's own, which is one product:
//             │           │  V   │  known  │
//       start │           ├──────┤         │            A = H[0…end, start…end] − V[0…end, end…] · V[start…end, end…]ᵀ
//             │           │   ╲  │         │
//         end │           └──────┴─────────┤          The rest, A = V · V[start…end, start…end]ᵀ, is solved row by row from below, in
//             │                      ╲     │          double precision.
//             └────────────────────────────┘

import type { Matrix } from "./products.js";
import { timesTransposed, windowOf } from "./products.js";

const blockCols = 64;

/**
 * The upper triangular V with `V·Vᵀ = h`, for a symmetric positive `h` of which the diagonal is about one. What rounding would make
 * indefinite gets a pivot of a millionth of its diagonal. O(n³) in products.
 */
export function upperFactor(h: Matrix): Matrix {
  const { rows, cols } = h;
  const factor: Matrix = { rows, cols, values: new Float32Array(rows * cols) };
  for (let start = (Math.ceil(cols / blockCols) - 1) * blockCols; start >= 0; start -= blockCols) {
    const end = Math.min(cols, start + blockCols);
    const rest = restOf(h, factor, start, end);
    solveBlock(rest, start, end);
    for (let row = 0; row < end; row++) {
      factor.values.set(rest.subarray(row * (end - start), (row + 1) * (end - start)), row * cols + start);
    }
  }
  return factor;
}

/** A, `[end, end - start]`. */
function restOf(h: Matrix, factor: Matrix, start: number, end: number): Float64Array {
  const rest = Float64Array.from(windowOf(h, { top: 0, bottom: end, left: start, right: end }).values);
  if (end === h.cols) return rest;
  const known = windowOf(factor, { top: 0, bottom: end, left: end, right: h.cols });
  const { values } = timesTransposed(known, windowOf(known, { top: start, bottom: end, left: 0, right: known.cols }));
  for (let at = 0; at < rest.length; at++) rest[at]! -= values[at]!;
  return rest;
}

/** Turns A into V, in place; what is below V's diagonal becomes zero. */
function solveBlock(rest: Float64Array, start: number, end: number): void {
  const width = end - start;
  for (let row = end - 1; row >= 0; row--) {
    const diagonal = row - start;
    const own = rest.subarray(row * width, (row + 1) * width);
    for (let j = width - 1; j >= Math.max(diagonal, 0); j--) {
      const other = rest.subarray((start + j) * width, (start + j + 1) * width);
      let sum = own[j]!;
      for (let k = j + 1; k < width; k++) sum -= own[k]! * other[k]!;
      own[j] = j === diagonal ? Math.sqrt(Math.max(sum, own[j]! * 1e-6, Number.MIN_VALUE)) : sum / other[j]!;
    }
    if (diagonal > 0) own.fill(0, 0, diagonal);
  }
}
