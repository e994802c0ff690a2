import type { MatrixShape } from "../formats/index.js";
import type { CodeBook } from "./code-book.js";

/** Codes and scales of a matrix, in the terms of a {@link CodeBook}. */
export interface Solution {
  /** One a weight, row-major. */
  readonly codes: Uint8Array;
  /** `[rows][blocks of a row][book.scales]`, each a half-precision number. */
  readonly scales: Float64Array;
}

/** What a solution has for the weight at `at` of a row-major matrix. */
export function valueAt({ codes, scales }: Solution, book: CodeBook, { cols }: MatrixShape, at: number): number {
  const { blockSize, scales: count, basis } = book;
  const [row, col] = [Math.floor(at / cols), at % cols];
  const first = (row * Math.ceil(cols / blockSize) + Math.floor(col / blockSize)) * count;
  let value = 0;
  for (let k = 0; k < count; k++) value += scales[first + k]! * basis[codes[at]! * count + k]!;
  return value;
}
