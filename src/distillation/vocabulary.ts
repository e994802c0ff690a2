// The two ends of a model, where tokens become vectors and vectors become logits. A vocabulary is long, so the output head is gone
// through in pieces; a variant may have more of it than its base, and those rows are the fine-tune's own.

import type { BindInput, Graph, Tensor } from "../ggml/index.js";
import type { RowWindow } from "./stored-weights.js";
import type { Workspace } from "./workspace.js";

/** Rows of an output head that are in memory as f32 at a time. */
export const PIECE_ROWS = 1024;

/** Rows `first … end` in pieces. */
export function piecesOf(first: number, end: number): RowWindow[] {
  const pieces: RowWindow[] = [];
  for (let at = first; at < end; at += PIECE_ROWS) pieces.push({ first: at, count: Math.min(PIECE_ROWS, end - at) });
  return pieces;
}

/** A piece of an output head in a graph: `[hidden, piece.count]` f32. */
export type HeadPiece = (g: Graph, feed: BindInput, piece: RowWindow) => Tensor;

/**
 * The logits of `x` `[rows, hidden]`, row-major. → `[rows, vocabulary]`
 *
 * @param pieces of the whole vocabulary, in order
 */
export function logitsOf(
  workspace: Workspace,
  x: Float32Array,
  head: { hidden: number; pieces: readonly RowWindow[]; at: HeadPiece },
): Float32Array {
  const { hidden, pieces } = head;
  const rows = x.length / hidden;
  const last = pieces.at(-1)!;
  const vocabulary = last.first + last.count;
  const logits = new Float32Array(rows * vocabulary);
  for (const piece of pieces) {
    const part = workspace.compute((g, feed) => {
      const product = g.mulMat(head.at(g, feed, piece), feed("f32", [hidden, rows], x)); // [piece, rows]
      g.output(product);
      return () => product.values();
    });
    for (let row = 0; row < rows; row++) {
      logits.set(part.subarray(row * piece.count, (row + 1) * piece.count), row * vocabulary + piece.first);
    }
  }
  return logits;
}

/** Columns `piece` of a row-major `[rows, vocabulary]`. */
export function columnsOf(matrix: Float32Array, rows: number, piece: RowWindow): Float32Array {
  const vocabulary = matrix.length / rows;
  const columns = new Float32Array(rows * piece.count);
  for (let row = 0; row < rows; row++) {
    const start = row * vocabulary + piece.first;
    columns.set(matrix.subarray(start, start + piece.count), row * piece.count);
  }
  return columns;
}

/** Rows of a row-major matrix by their numbers. */
export function takeRows(matrix: Float32Array, width: number, numbers: Int32Array): Float32Array {
  const taken = new Float32Array(numbers.length * width);
  numbers.forEach((number, at) => {
    taken.set(matrix.subarray(number * width, (number + 1) * width), at * width);
  });
  return taken;
}

/** Adds `rows` to the rows of `matrix` that `numbers` say; a number may come twice. */
export function addRows(matrix: Float32Array, rows: Float32Array, width: number, numbers: Int32Array): void {
  numbers.forEach((number, at) => {
    for (let i = 0; i < width; i++) matrix[number * width + i]! += rows[at * width + i]!;
  });
}
