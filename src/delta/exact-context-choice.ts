import { FREQUENCY_TOTAL, PROBABILITY_BITS, SYMBOLS_MAX } from "../entropy/index.js";

/** Contexts that are chosen at most: tables of more would not stay in a core's cache while they decode. */
const CONTEXTS_CHOSEN_MAX = 96;
/** A context has to save more bits than this and those of its distribution: its table takes the time of a thousand elements to make. */
const CONTEXT_BITS = 512;

/** How often each symbol comes in each cell: one for each diagonal of each hint, few of which there are. */
export class CellCounts {
  /** For each cell 0, or its number among those that there are, from 1 on. */
  readonly #numbers: Uint16Array;
  #counts = new Uint32Array(64 * SYMBOLS_MAX);
  #cells = 0;

  constructor(cells: number) {
    this.#numbers = new Uint16Array(cells);
  }

  add(cell: number, symbol: number): void {
    const number = this.#numbers[cell]! || this.#number(cell);
    this.#counts[(number - 1) * SYMBOLS_MAX + symbol]! += 1;
  }

  /** Those of a cell; null where it never came. */
  of(cell: number): Uint32Array | null {
    const number = this.#numbers[cell]!;
    return number === 0 ? null : this.#counts.subarray((number - 1) * SYMBOLS_MAX, number * SYMBOLS_MAX);
  }

  #number(cell: number): number {
    this.#cells += 1;
    this.#numbers[cell] = this.#cells;
    if (this.#cells * SYMBOLS_MAX > this.#counts.length) {
      const larger = new Uint32Array(this.#counts.length * 2);
      larger.set(this.#counts);
      this.#counts = larger;
    }
    return this.#cells;
  }
}

/** Neighbouring diagonals that share a distribution. */
interface Segment {
  readonly hint: number;
  /** One beyond its last diagonal. */
  end: number;
  readonly counts: Float64Array;
  bits: number;
  /** Bits saved by merging it with the next. */
  gain: number;
}

/**
 * Merges neighbouring diagonals of each hint until contexts pay for themselves.
 *
 * @param counts of cells `[hints, diagonals]`
 * @param share how many elements of the tensor each counted one stands for
 * @returns contexts, `[hints, diagonals]`, ascending from 0; and about how many bits the symbols and their distributions take then
 */
export function chooseContexts(
  counts: CellCounts,
  hints: number,
  diagonals: number,
  share: number,
): { readonly contextOf: Uint8Array; readonly bits: number } {
  const segments: Segment[] = [];
  for (let hint = 0; hint < hints; hint++) segments.push(...segmentsOf(counts, hint, diagonals, share));
  for (let i = 0; i < segments.length; i++) updateGain(segments, i);
  for (;;) {
    let best = 0;
    for (let i = 1; i < segments.length; i++) if (segments[i]!.gain > segments[best]!.gain) best = i;
    const { gain } = segments[best]!;
    if (gain === Number.NEGATIVE_INFINITY || (gain <= 0 && segments.length <= CONTEXTS_CHOSEN_MAX)) break;
    const [into, next] = [segments[best]!, segments[best + 1]!];
    into.bits += next.bits - gain;
    into.end = next.end;
    addInto(into.counts, next.counts);
    segments.splice(best + 1, 1);
    updateGain(segments, best);
    if (best > 0) updateGain(segments, best - 1);
  }
  const contextOf = new Uint8Array(hints * diagonals);
  let start = 0;
  for (const [context, { hint, end }] of segments.entries()) {
    contextOf.fill(context, start, hint * diagonals + end);
    start = hint * diagonals + end;
  }
  return { contextOf, bits: segments.reduce((sum, { bits }) => sum + bits, 0) };
}

/** One for each diagonal that comes, reaching up to the next; one for a hint that never comes. */
function segmentsOf(counts: CellCounts, hint: number, diagonals: number, share: number): Segment[] {
  const segments: Segment[] = [];
  for (let diagonal = 0; diagonal < diagonals; diagonal++) {
    const last = segments.at(-1);
    const counted = counts.of(hint * diagonals + diagonal);
    if (last && !counted) {
      last.end = diagonal + 1;
      continue;
    }
    const own = Float64Array.from(counted ?? new Uint32Array(SYMBOLS_MAX), (count) => count * share);
    // Diagonals before the first that comes go with it.
    if (last?.bits === 0) segments.pop();
    segments.push({ hint, end: diagonal + 1, counts: own, bits: bitsOf(own), gain: 0 });
  }
  return segments;
}

function updateGain(segments: Segment[], index: number): void {
  const segment = segments[index]!;
  const next = segments[index + 1];
  if (next?.hint !== segment.hint) {
    segment.gain = Number.NEGATIVE_INFINITY;
    return;
  }
  const together = segment.counts.slice();
  addInto(together, next.counts);
  segment.gain = segment.bits + next.bits - bitsOf(together);
}

/** Bits of a context: of its symbols, its distribution, and {@link CONTEXT_BITS}. 0 where there are no symbols. */
function bitsOf(counts: Float64Array): number {
  let total = 0;
  let last = 0;
  for (let symbol = 0; symbol < SYMBOLS_MAX; symbol++) {
    if (counts[symbol] === 0) continue;
    total += counts[symbol]!;
    last = symbol;
  }
  if (total === 0) return 0;
  let bits = CONTEXT_BITS;
  for (let symbol = 0; symbol <= last; symbol++) {
    const count = counts[symbol]!;
    const frequency = count === 0 ? 0 : Math.max(1, Math.round((count / total) * FREQUENCY_TOTAL));
    if (count > 0) bits += count * (PROBABILITY_BITS - Math.log2(frequency));
    // Of its gamma code.
    bits += 2 * (31 - Math.clz32(frequency + 1)) + 1;
  }
  return bits;
}

function addInto(sums: Float64Array, counts: Float64Array): void {
  for (let i = 0; i < sums.length; i++) sums[i]! += counts[i]!;
}
