import type { MatrixShape } from "../formats/index.js";
import { upperFactor } from "./moment-factor.js";
import { type Matrix, timesTransposed, transposed, windowOf } from "./products.js";

/** Weights of which some are kept, and how many. */
const GROUP = 4;
const KEPT = 2;
/** Columns that are decided one by one, before what they lose is told to all later ones by one product. */
const BLOCK_COLS = 64;

/** A matrix that is to become whole multiples of a scale a row, two of every four of them zero. */
export interface SparseProblem {
  /** Row-major. */
  readonly difference: Float32Array;
  readonly shape: MatrixShape;
  /** One a row, 0 where a row is. */
  readonly scales: Float64Array;
  /** The largest multiple; the lowest is one further from zero. */
  readonly highest: number;
}

/** The multiples of every weight for itself: of four, the two largest. */
export function nearestSparse({ difference, shape: { rows, cols }, scales, highest }: SparseProblem): Int8Array {
  const multiples = new Int8Array(rows * cols);
  const costs = new Float64Array(GROUP);
  for (let row = 0; row < rows; row++) {
    const end = (row + 1) * cols;
    for (let first = row * cols; first < end; first += GROUP) {
      const count = Math.min(GROUP, end - first);
      for (let j = 0; j < count; j++) costs[j] = Math.abs(difference[first + j]!);
      for (let j = 0; j < count; j++) {
        if (isKept(costs, j, count)) multiples[first + j] = multipleOf(difference[first + j]!, scales[row]!, highest);
      }
    }
  }
  return multiples;
}

/**
 * The multiples of SparseGPT (arXiv 2301.00774): columns are decided one after the other, and what each loses is made up for by the later
 * ones. With V the factor of the moment, V·Vᵀ = H, errors e of a row cost ‖e·V‖². Element j of e·V has no part of what comes after j, so the
 * weight there is decided to make it small: this comes to the same as updates by the inverse of H (Chen et al. 2025, arXiv 2507.18553),
 * and takes no inverse. O(rows · cols²) in products, and O(rows · cols) times half a block beside them.
 *
 * @param moment H, `[cols, cols]`, symmetric positive, its diagonal about one
 */
export function compensatedSparse(
  { difference, shape, scales, highest }: SparseProblem,
  moment: Float32Array,
): Int8Array {
  const { rows, cols } = shape;
  const factor = upperFactor({ rows: cols, cols, values: moment });
  const turned = transposed(factor);
  const multiples = new Int8Array(rows * cols);
  const errors: Matrix = { rows, cols, values: new Float32Array(rows * cols) };
  for (let start = 0; start < cols; start += BLOCK_COLS) {
    const end = Math.min(cols, start + BLOCK_COLS);
    const width = end - start;
    const earlier = windowOf(errors, { top: 0, bottom: rows, left: 0, right: start });
    // What earlier errors make of e·V here.
    const made = timesTransposed(earlier, windowOf(turned, { top: start, bottom: end, left: 0, right: start }));
    const local = windowOf(factor, { top: start, bottom: end, left: start, right: end });
    const block = new SparseBlock(Float64Array.from(local.values), width, highest);
    for (let row = 0; row < rows; row++) {
      if (scales[row] === 0) continue;
      const at = row * cols + start;
      block.decide(
        difference.subarray(at, at + width),
        made.values.subarray(row * width, (row + 1) * width),
        scales[row]!,
      );
      multiples.set(block.multiples, at);
      errors.values.set(block.errors, at);
    }
  }
  return multiples;
}

/** A block of columns, of one row after the other. */
class SparseBlock {
  readonly multiples: Int8Array;
  readonly errors: Float64Array;
  readonly #width: number;
  readonly #highest: number;
  /** V within the block, `[width, width]`. */
  readonly #factor: Float64Array;
  /** e·V as far as it is known. */
  readonly #made: Float64Array;
  readonly #free = new Float64Array(GROUP);
  readonly #costs = new Float64Array(GROUP);

  constructor(factor: Float64Array, width: number, highest: number) {
    this.#factor = factor;
    this.#width = width;
    this.#highest = highest;
    this.#made = new Float64Array(width);
    this.multiples = new Int8Array(width);
    this.errors = new Float64Array(width);
  }

  /** @param made what the columns before make of e·V */
  decide(wanted: Float32Array, made: Float32Array, scale: number): void {
    this.#made.set(made);
    for (let first = 0; first < this.#width; first += GROUP) {
      const count = Math.min(GROUP, this.#width - first);
      this.#weigh(wanted, first, count);
      for (let j = 0; j < count; j++)
        this.#decideOne(first + j, wanted[first + j]!, scale, isKept(this.#costs, j, count));
    }
  }

  /** What it would cost to leave out each weight of a group, were the others free to make up for what came before. */
  #weigh(wanted: Float32Array, first: number, count: number): void {
    for (let j = 0; j < count; j++) {
      const pivot = this.#factor[(first + j) * this.#width + first + j]!;
      let made = this.#made[first + j]!;
      for (let i = 0; i < j; i++) made += this.#free[i]! * this.#factor[(first + i) * this.#width + first + j]!;
      this.#free[j] = -made / pivot;
      this.#costs[j] = Math.abs(wanted[first + j]! * pivot + made);
    }
  }

  #decideOne(column: number, wanted: number, scale: number, kept: boolean): void {
    const made = this.#made;
    const factor = this.#factor;
    const width = this.#width;
    const row = column * width;
    const target = wanted + made[column]! / factor[row + column]!;
    const multiple = kept ? multipleOf(target, scale, this.#highest) : 0;
    const error = wanted - multiple * scale;
    this.multiples[column] = multiple;
    this.errors[column] = error;
    for (let k = column + 1; k < width; k++) made[k]! += error * factor[row + k]!;
  }
}

/** Of a group's costs, the one at `j` is among the largest; of equal ones the first count as larger. */
function isKept(costs: Float64Array, j: number, count: number): boolean {
  let larger = 0;
  for (let i = 0; i < count; i++) if (costs[i]! > costs[j]! || (i < j && costs[i] === costs[j])) larger++;
  return larger < KEPT;
}

function multipleOf(value: number, scale: number, highest: number): number {
  return scale === 0 ? 0 : Math.min(highest, Math.max(-highest - 1, Math.round(value / scale)));
}
