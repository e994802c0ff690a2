import { type DType, dtypes } from "../core/index.js";
import { type MatrixShape, paddedCols } from "../formats/index.js";

/**
 * Walks the blocks of a matrix in the order in which a plane of `dtype` stores them, row by row.
 *
 * @param visit gets the block's index in the plane, where its values start in the matrix, and how many there are: fewer
 *   than a block holds at the end of a row that blocks do not divide
 */
export function visitBlocks(
  dtype: DType,
  { rows, cols }: MatrixShape,
  visit: (index: number, start: number, count: number) => void,
): void {
  const { blockSize } = dtypes[dtype];
  const rowBlocks = paddedCols(dtype, cols) / blockSize;
  for (let row = 0; row < rows; row++) {
    for (let block = 0; block < rowBlocks; block++) {
      const column = block * blockSize;
      visit(row * rowBlocks + block, row * cols + column, Math.min(blockSize, cols - column));
    }
  }
}
