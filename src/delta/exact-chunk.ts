import { type BitWriter, SYMBOLS_MAX } from "../entropy/index.js";
import type { CellCounts } from "./exact-context-choice.js";
import { fillRows, type Levels } from "./exact-contexts.js";
import { CHUNK_ELEMENTS } from "./exact-header.js";
import { rawBitsOf, symbolOf, symbolRawBits } from "./exact-symbols.js";
import { differenceOf, type FloatBits, magnitudeMaskOf, UPPER_VALUES, upperShiftOf } from "./float-bits.js";

/** What the differences of a tensor's elements are coded by. */
export interface ChunkSources {
  readonly reference: FloatBits;
  readonly tuned: FloatBits;
  /** For each element the sum of its planes; null where there are none. */
  readonly hints: Float32Array | null;
  readonly levels: Levels;
  readonly droppedBits: number;
}

/** The differences of one chunk, as what is coded of them. One object serves all chunks of a tensor. */
export class ChunkDifferences {
  /** Symbols and contexts that are there: the chunk's elements, or after {@link keepEvents} those that differ. */
  length = 0;
  /** Elements that differ. */
  events = 0;
  readonly symbols = new Uint8Array(CHUNK_ELEMENTS);
  readonly contexts = new Uint8Array(CHUNK_ELEMENTS);
  /** Of the gap before each event. */
  readonly gapSymbols = new Uint8Array(CHUNK_ELEMENTS);
  readonly #gaps = new Int32Array(CHUNK_ELEMENTS);
  readonly #differences = new Int32Array(CHUNK_ELEMENTS);
  readonly #rows = new Uint8Array(CHUNK_ELEMENTS);
  readonly #sources: ChunkSources;
  readonly #mask: number;
  readonly #upperShift: number;

  constructor(sources: ChunkSources) {
    this.#sources = sources;
    this.#mask = magnitudeMaskOf(sources.reference);
    this.#upperShift = upperShiftOf(sources.reference);
  }

  /** Adds to `counts` how often each symbol comes in each cell of chunk `index`; `cellOf` is `[rows, UPPER_VALUES]`. */
  countCells(index: number, cellOf: Int32Array, counts: CellCounts): void {
    const { reference, tuned, hints, levels, droppedBits } = this.#sources;
    const first = index * CHUNK_ELEMENTS;
    const end = Math.min(first + CHUNK_ELEMENTS, reference.length);
    fillRows(this.#rows, levels, hints, first, end - first);
    const rows = this.#rows;
    const mask = this.#mask;
    const shift = this.#upperShift;
    for (let i = first; i < end; i++) {
      const from = reference[i]!;
      const to = tuned[i]!;
      const cell = cellOf[rows[i - first]! * UPPER_VALUES + ((from >>> shift) & (UPPER_VALUES - 1))]!;
      const symbol = from === to ? 0 : symbolOf(differenceOf(from, to, mask, droppedBits));
      counts.add(cell, symbol);
    }
  }

  /** Looks at chunk `index`; `contextOf` is `[rows, UPPER_VALUES]`. */
  load(index: number, contextOf: Int32Array): void {
    const { reference, tuned, hints, levels, droppedBits } = this.#sources;
    const first = index * CHUNK_ELEMENTS;
    const length = Math.min(CHUNK_ELEMENTS, tuned.length - first);
    fillRows(this.#rows, levels, hints, first, length);
    const { symbols, gapSymbols, contexts } = this;
    const differences = this.#differences;
    const gaps = this.#gaps;
    const rows = this.#rows;
    const mask = this.#mask;
    const shift = this.#upperShift;
    let events = 0;
    let last = -1;
    for (let i = 0; i < length; i++) {
      const from = reference[first + i]!;
      const to = tuned[first + i]!;
      contexts[i] = contextOf[rows[i]! * UPPER_VALUES + ((from >>> shift) & (UPPER_VALUES - 1))]!;
      const difference = from === to ? 0 : differenceOf(from, to, mask, droppedBits);
      differences[i] = difference;
      symbols[i] = symbolOf(difference);
      if (difference === 0) continue;
      gaps[events] = i - last - 1;
      gapSymbols[events] = symbolOf(i - last - 1);
      events += 1;
      last = i;
    }
    this.length = length;
    this.events = events;
  }

  /** How often each symbol comes in each context, and each gap's symbol. */
  count(contexts: number): { readonly differences: Uint32Array; readonly gaps: Uint32Array } {
    const differences = new Uint32Array(contexts * SYMBOLS_MAX);
    const gaps = new Uint32Array(SYMBOLS_MAX);
    for (let i = 0; i < this.length; i++) differences[this.contexts[i]! * SYMBOLS_MAX + this.symbols[i]!]! += 1;
    for (let i = 0; i < this.events; i++) gaps[this.gapSymbols[i]!]! += 1;
    return { differences, gaps };
  }

  /** Drops the elements that do not differ. */
  keepEvents(): void {
    let kept = 0;
    for (let i = 0; i < this.length; i++) {
      if (this.#differences[i] === 0) continue;
      this.#differences[kept] = this.#differences[i]!;
      this.symbols[kept] = this.symbols[i]!;
      this.contexts[kept] = this.contexts[i]!;
      kept += 1;
    }
    this.length = kept;
  }

  writeRawBits(writer: BitWriter): void {
    writeRawBits(writer, this.#differences, this.symbols, this.length);
  }

  writeGapBits(writer: BitWriter): void {
    writeRawBits(writer, this.#gaps, this.gapSymbols, this.events);
  }
}

function writeRawBits(writer: BitWriter, numbers: Int32Array, symbols: Uint8Array, count: number): void {
  for (let i = 0; i < count; i++) {
    const symbol = symbols[i]!;
    const bits = symbolRawBits[symbol]!;
    if (bits > 0) writer.write(rawBitsOf(numbers[i]!, symbol), bits);
  }
}
