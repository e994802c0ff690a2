import { computeOnce, Device, GraphMemory } from "../ggml/index.js";
import { assert } from "../util/index.js";

/** A matrix in memory, row-major. */
export interface Matrix {
  readonly rows: number;
  readonly cols: number;
  readonly values: Float32Array;
}

let device: Device | undefined;

/**
 * `a · bᵀ` in single precision, by ggml on this thread alone: rows of a against rows of b, both `[…, n]`. → `[a.rows, b.rows]`
 * Matrices are copied in and the result out; the same operands give the same bits on one kind of CPU.
 */
export function timesTransposed(a: Matrix, b: Matrix): Matrix {
  assert(a.cols === b.cols, `rows of ${a.cols} and of ${b.cols} have no product`);
  const { rows } = a;
  const cols = b.rows;
  if (rows * cols * a.cols === 0) return { rows, cols, values: new Float32Array(rows * cols) };
  device ??= Device.open({ kind: "cpu", threads: 1 });
  using memory = new GraphMemory(device);
  const values = computeOnce({ device, memory }, (g, input) =>
    g.mulMat(input("f32", [b.cols, b.rows], b.values), input("f32", [a.cols, a.rows], a.values)),
  );
  return { rows, cols, values };
}

/** The rows of a matrix as columns. */
export function transposed({ rows, cols, values }: Matrix): Matrix {
  const turned = new Float32Array(values.length);
  const tile = 32;
  for (let top = 0; top < rows; top += tile) {
    for (let left = 0; left < cols; left += tile) {
      const bottom = Math.min(rows, top + tile);
      const right = Math.min(cols, left + tile);
      for (let row = top; row < bottom; row++) {
        for (let col = left; col < right; col++) turned[col * rows + row] = values[row * cols + col]!;
      }
    }
  }
  return { rows: cols, cols: rows, values: turned };
}

/** A part of a matrix, copied: rows `top … bottom` and columns `left … right`, without the last ones. */
export function windowOf(
  { cols, values }: Matrix,
  { top, bottom, left, right }: { top: number; bottom: number; left: number; right: number },
): Matrix {
  if (left === 0 && right === cols)
    return { rows: bottom - top, cols, values: values.subarray(top * cols, bottom * cols) };
  const width = right - left;
  const part = new Float32Array((bottom - top) * width);
  for (let row = top; row < bottom; row++) {
    part.set(values.subarray(row * cols + left, row * cols + right), (row - top) * width);
  }
  return { rows: bottom - top, cols: width, values: part };
}
