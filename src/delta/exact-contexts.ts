// In which context an element's difference is coded. It has to do with how many steps, of the size that the reference's exponent says,
// a change in its neighbourhood takes, and with what the planes say of this one:
//
//   level      log2 of the mean change in the element's run, in halves, from 0 for the lowest that counts to 23
//   diagonal   level + 2 · (255 - exponent): how large that is in steps of the element
//   hint       0 where there are no planes; otherwise 4 · class + 2 · (sum of planes < 0) + (reference < 0), the class being that of
//              |sum of planes| against the mean change:  0  up to 0.2,  1  up to 0.4,  2  up to 0.8,  3  up to 1.6,  4  above
//
// A context is a range of diagonals of one hint. All but the exponent and the sign of the reference is the element's row.

import { type BitReader, type BitWriter, CorruptCode } from "../entropy/index.js";
import type { FloatDType } from "../formats/index.js";
import { CellCounts, chooseContexts } from "./exact-context-choice.js";
import { exponentOf, UPPER_VALUES } from "./float-bits.js";

/** Levels that a tensor has at most. */
export const LEVELS = 24;
/** Contexts of a tensor at most. */
export const CONTEXTS_MAX = 256;

const CLASSES = 5;
const HINTS = 4 * CLASSES;
const EXPONENT_MAX = 255;
const DIAGONAL_BITS = 10;
/** From that of the highest exponent and the lowest level on. */
const DIAGONALS = 2 * (EXPONENT_MAX - 1) + LEVELS;
/** Rows that share a hint, but for the reference's sign. */
const SIGNED_CLASSES = 2 * CLASSES;

/** The levels of a tensor's runs: consecutive elements, as many in each but the last. */
export interface Levels {
  readonly runElements: number;
  readonly ofRun: Uint8Array;
  /** Halves of log2 that level 0 stands for, counted from that of the smallest double that is normal. */
  readonly lowest: number;
}

/** Which context each diagonal of each hint has. */
export class ContextMap {
  /** Without hints only that of hint 0 is there. */
  readonly hasHints: boolean;
  /** `[hints, diagonals]`, ascending from 0. */
  readonly #contextOf: Uint8Array;

  private constructor(hasHints: boolean, contextOf: Uint8Array) {
    this.hasHints = hasHints;
    this.#contextOf = contextOf;
  }

  get contexts(): number {
    return this.#contextOf.at(-1)! + 1;
  }

  /**
   * The contexts that code a tensor best.
   *
   * @param counts how often each symbol comes in each cell that {@link cellsOf} says
   * @param share how many elements of the tensor each counted one stands for
   * @returns these, and about how many bits the tensor's symbols and their distributions take then
   */
  static choose(
    hasHints: boolean,
    counts: CellCounts,
    share: number,
  ): { readonly map: ContextMap; readonly bits: number } {
    const { contextOf, bits } = chooseContexts(counts, hintsOf(hasHints), DIAGONALS, share);
    return { map: new ContextMap(hasHints, contextOf), bits };
  }

  /** @throws {CorruptCode} if the bits are no such map */
  static read(reader: BitReader, hasHints: boolean): ContextMap {
    const contextOf = new Uint8Array(hintsOf(hasHints) * DIAGONALS);
    let context = -1;
    for (let hint = 0; hint < contextOf.length; hint += DIAGONALS) {
      let lowest = -1;
      for (let left = reader.readGamma(); left > 0; left--) {
        const diagonal = reader.read(DIAGONAL_BITS);
        if (diagonal <= lowest || diagonal >= DIAGONALS || (lowest === -1 && diagonal !== 0)) {
          throw new CorruptCode("its contexts are not in order");
        }
        context += 1;
        if (context === CONTEXTS_MAX) throw new CorruptCode("it has more contexts than there can be");
        contextOf.fill(context, hint + diagonal, hint + DIAGONALS);
        lowest = diagonal;
      }
    }
    return new ContextMap(hasHints, contextOf);
  }

  /** For each hint how many contexts it has, in gamma code, and the lowest diagonal of each, 10 bits. */
  write(writer: BitWriter): void {
    for (let hint = 0; hint < this.#contextOf.length; hint += DIAGONALS) {
      const ofHint = this.#contextOf.subarray(hint, hint + DIAGONALS);
      const lowest = [...ofHint.keys()].filter((diagonal) => ofHint[diagonal] !== ofHint[diagonal - 1]);
      writer.writeGamma(lowest.length);
      for (const diagonal of lowest) writer.write(diagonal, DIAGONAL_BITS);
    }
  }

  /** The context of an element, times `factor`, by its row and its upper nine bits: `[rows, UPPER_VALUES]`. */
  byRow(dtype: FloatDType, factor: number): Int32Array {
    const table = cellsOf(dtype, this.hasHints);
    for (let entry = 0; entry < table.length; entry++) table[entry] = this.#contextOf[table[entry]!]! * factor;
    return table;
  }
}

/** The cell of an element, one for each diagonal of each hint, by its row and its upper nine bits: `[rows, UPPER_VALUES]`. */
export function cellsOf(dtype: FloatDType, hasHints: boolean): Int32Array {
  const rows = (hasHints ? SIGNED_CLASSES : 1) * LEVELS;
  const cells = new Int32Array(rows * UPPER_VALUES);
  // Of level 0 and the first hint.
  const first = Int32Array.from({ length: UPPER_VALUES }, (_, upper) => {
    const hint = hasHints ? upper >> 8 : 0;
    return hint * DIAGONALS + 2 * (EXPONENT_MAX - exponentOf(dtype, upper));
  });
  for (let row = 0; row < rows; row++) {
    const level = row % LEVELS;
    const more = ((2 * (row - level)) / LEVELS) * DIAGONALS + level;
    for (let upper = 0; upper < UPPER_VALUES; upper++) cells[row * UPPER_VALUES + upper] = first[upper]! + more;
  }
  return cells;
}

/** Counts of the cells that {@link cellsOf} says, all 0. */
export function emptyCounts(hasHints: boolean): CellCounts {
  return new CellCounts(hintsOf(hasHints) * DIAGONALS);
}

function hintsOf(hasHints: boolean): number {
  return hasHints ? HINTS : 1;
}

/**
 * Fills `rows` with those of `count` elements from `first` on.
 *
 * @param hints for each element of the tensor the sum of its planes; null where there are none
 */
export function fillRows(
  rows: Uint8Array,
  { runElements, ofRun, lowest }: Levels,
  hints: Float32Array | null,
  first: number,
  count: number,
): void {
  const end = first + count;
  for (let at = first; at < end; ) {
    const run = Math.floor(at / runElements);
    const to = Math.min((run + 1) * runElements, end);
    const level = ofRun[run]!;
    if (hints) fillHinted(rows.subarray(at - first), hints.subarray(at, to), level, lowest + level);
    else rows.fill(level, at - first, to - first);
    at = to;
  }
}

function fillHinted(rows: Uint8Array, hints: Float32Array, level: number, meanHalves: number): void {
  const bits = new Int32Array(hints.buffer, hints.byteOffset, hints.length);
  // In quarters of log2, as an f32's bits say them: where class 1 begins, which is four quarters wide as the next two are.
  const start = 2 * meanHalves - FLOAT_QUARTERS - 9;
  for (let i = 0; i < bits.length; i++) {
    const word = bits[i]!;
    const above = (((word >>> 21) & 1023) - start) >> 2;
    rows[i] = level + 2 * LEVELS * Math.max(0, Math.min(above + 1, CLASSES - 1)) + LEVELS * (word >>> 31);
  }
}

/** By how much the quarters of log2 in an f32's exponent and fraction fall short of a double's. */
const FLOAT_QUARTERS = 4 * (1023 - 127);

const meanDouble = new Float64Array(1);
const meanWords = new Uint32Array(meanDouble.buffer);

/** Halves of log2 of a number that is not negative, counted as {@link Levels} counts. */
export function halvesOf(mean: number): number {
  meanDouble[0] = mean;
  return meanWords[1]! >>> 19;
}
