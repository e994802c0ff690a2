import { roundToHalf } from "./planes.js";
import type { SortedMagnitudes } from "./sorted-magnitudes.js";

// A block in K sign planes takes the 2^K values ±s1 ±s2 … ±sK. They mirror each other around zero, so the block is
// solved on magnitudes with 2^(K-1) levels; for K = 3 and s1 ≥ s2 + s3:
//
//        s1-s2-s3   s1-s2+s3   s1+s2-s3   s1+s2+s3
//   ──0─────●───────────●──────────●──────────●─────→ |x|
//               ↑            ↑           ↑              thresholds, half-way
//   code  + - -       + - +      + + -      + + +       (bit k set: plane k adds)
//
// A negative x has the complement of its magnitude's code. Where s1 < s2 + s3 the lowest level is negative: then its
// mirror image is the level and the complement its code.

export type PlaneCount = 1 | 2 | 3 | 4;

/** Rounds of reassigning and refitting; three planes settle in fewer almost always. */
const ROUNDS_MAX = 16;

/**
 * The scales of one block in K sign planes, and the levels that they make. One object serves many blocks: `fit` and
 * read. Scales are what half precision holds, codes are the nearest to those, largest scale first.
 */
export class SignLevels {
  /** s1 ≥ s2 ≥ … ≥ 0, each a half-precision number. */
  readonly scales: Float64Array;
  /** `thresholds[i]` is where magnitudes pass from level i to i + 1. */
  readonly thresholds: Float64Array;
  /** Code of each level for a positive value: bit k set where plane k adds its scale. */
  readonly codes: Uint8Array;

  readonly #planes: PlaneCount;
  readonly #values: Float64Array;
  readonly #best: Float64Array;
  /** Normal equations of the least-squares refit: a K × (K + 1) matrix, the right-hand side last. */
  readonly #equations: Float64Array;

  constructor(planes: PlaneCount) {
    const levels = 2 ** (planes - 1);
    this.#planes = planes;
    this.scales = new Float64Array(planes);
    this.thresholds = new Float64Array(levels - 1);
    this.codes = new Uint8Array(levels);
    this.#values = new Float64Array(levels);
    this.#best = new Float64Array(planes);
    this.#equations = new Float64Array(planes * (planes + 1));
  }

  /**
   * Finds the scales with the least squared error for a block: of all for one and two planes, for three a local one.
   * Returns that error.
   */
  fit(block: SortedMagnitudes): number {
    this.scales.fill(0);
    if (this.#planes === 1) this.scales[0] = block.mean;
    else this.#splitInTwo(block);
    const bestError = this.#roundScales(block);
    if (this.#planes < 3) return bestError;

    // The best two planes with the third taking what they leave: a third plane is never a loss.
    this.#best.set(this.scales);
    this.#refine(block);
    const error = this.#roundScales(block);
    if (error < bestError) return error;
    this.scales.set(this.#best);
    this.#arrange();
    return bestError;
  }

  /**
   * The best two levels L < H of magnitudes are the means of the smaller and the larger part of some split, which is
   * found by trying each; s1 ± s2 are those levels.
   */
  #splitInTwo(block: SortedMagnitudes): void {
    let bestGain = -1;
    for (let split = 1; split < block.count; split++) {
      const low = block.sumBetween(0, split);
      const high = block.sumBetween(split, block.count);
      const gain = (low * low) / split + (high * high) / (block.count - split);
      if (gain <= bestGain) continue;
      bestGain = gain;
      const lowLevel = low / split;
      const highLevel = high / (block.count - split);
      this.scales[0] = (highLevel + lowLevel) / 2;
      this.scales[1] = (highLevel - lowLevel) / 2;
    }
    if (block.count === 1) this.scales[0] = block.mean;
  }

  /** Alternates nearest levels and least-squares scales until the scales stand still. */
  #refine(block: SortedMagnitudes): void {
    for (let round = 0; round < ROUNDS_MAX; round++) {
      this.#arrange();
      this.#collectEquations(block);
      if (!this.#solveEquations()) return;
    }
  }

  /** Rounds the scales, the last one refitted to what the rounded others leave. Returns the squared error. */
  #roundScales(block: SortedMagnitudes): number {
    const last = this.#planes - 1;
    for (let k = 0; k < last; k++) this.scales[k] = roundToHalf(this.scales[k]!);
    this.#arrange();
    this.#collectEquations(block);
    const width = this.#planes + 1;
    let target = this.#equations[last * width + this.#planes]!;
    for (let k = 0; k < last; k++) target -= this.#equations[last * width + k]! * this.scales[k]!;
    this.scales[last] = roundToHalf(Math.max(0, target / block.count));
    this.#arrange();
    return this.#squaredError(block);
  }

  /** Sorts the scales and lists the levels that they make, ascending, with their codes and thresholds. */
  #arrange(): void {
    const { scales, codes, thresholds } = this;
    const values = this.#values;
    sortDescending(scales);
    const all = (1 << this.#planes) - 1;
    for (let level = 0; level < values.length; level++) {
      let value = scales[0]!;
      let code = 1;
      for (let k = 1; k < this.#planes; k++) {
        // Level 0 subtracts every other scale, the last level adds every one, and the larger scales weigh more.
        const adds = (level >> (this.#planes - 1 - k)) & 1;
        value += adds ? scales[k]! : -scales[k]!;
        code |= adds << k;
      }
      values[level] = Math.abs(value);
      codes[level] = value < 0 ? all ^ code : code;
    }
    for (let i = 0; i < thresholds.length; i++) thresholds[i] = (values[i]! + values[i + 1]!) / 2;
  }

  #collectEquations(block: SortedMagnitudes): void {
    const planes = this.#planes;
    const equations = this.#equations.fill(0);
    let from = 0;
    for (let level = 0; level < this.codes.length; level++) {
      const to = level < this.thresholds.length ? block.countUpTo(this.thresholds[level]!) : block.count;
      const code = this.codes[level]!;
      const sum = block.sumBetween(from, to);
      for (let i = 0; i < planes; i++) {
        const sign = (code >> i) & 1 ? 1 : -1;
        const row = i * (planes + 1);
        for (let j = 0; j < planes; j++) equations[row + j]! += ((code >> j) & 1 ? sign : -sign) * (to - from);
        equations[row + planes]! += sign * sum;
      }
      from = to;
    }
  }

  /** Solves for the scales by elimination; false where the codes in use leave them undetermined, or nothing moves. */
  #solveEquations(): boolean {
    const planes = this.#planes;
    const width = planes + 1;
    const m = this.#equations;
    for (let i = 0; i < planes; i++) {
      // Positive semidefinite, so no pivoting: a vanishing pivot means that two planes always agree.
      const pivot = m[i * width + i]!;
      if (pivot < 1e-9) return false;
      for (let row = i + 1; row < planes; row++) {
        const factor = m[row * width + i]! / pivot;
        for (let j = i; j < width; j++) m[row * width + j]! -= factor * m[i * width + j]!;
      }
    }
    let moved = false;
    for (let i = planes - 1; i >= 0; i--) {
      let value = m[i * width + planes]!;
      for (let j = i + 1; j < planes; j++) value -= m[i * width + j]! * m[j * width + planes]!;
      m[i * width + planes] = value / m[i * width + i]!;
    }
    for (let i = 0; i < planes; i++) {
      const scale = Math.abs(m[i * width + planes]!);
      if (Math.abs(scale - this.scales[i]!) > 1e-7 * this.scales[0]!) moved = true;
      this.scales[i] = scale;
    }
    return moved;
  }

  #squaredError(block: SortedMagnitudes): number {
    let error = block.sumOfSquares;
    let from = 0;
    for (let level = 0; level < this.codes.length; level++) {
      const to = level < this.thresholds.length ? block.countUpTo(this.thresholds[level]!) : block.count;
      const value = this.#values[level]!;
      error += (to - from) * value * value - 2 * value * block.sumBetween(from, to);
      from = to;
    }
    return error;
  }
}

function sortDescending(values: Float64Array): void {
  for (let i = 1; i < values.length; i++) {
    for (let j = i; j > 0 && values[j]! > values[j - 1]!; j--) {
      const larger = values[j]!;
      values[j] = values[j - 1]!;
      values[j - 1] = larger;
    }
  }
}
