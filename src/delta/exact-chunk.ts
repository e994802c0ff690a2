import { type BitWriter, SYMBOLS_MAX } from "../entropy/index.js";
import type { FloatDType } from "../formats/index.js";
import { CHUNK_ELEMENTS } from "./exact-header.js";
import { rawBitsOf, symbolOf, symbolRawBits } from "./exact-symbols.js";
import { contextsByUpper, type FloatBits, keyOf, lookUpUpper, magnitudeMaskOf } from "./float-bits.js";

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
  readonly #contextOfUpper: Uint8Array;
  readonly #droppedBits: number;

  constructor(dtype: FloatDType, contextOf: Uint8Array, droppedBits: number) {
    this.#contextOfUpper = contextsByUpper(dtype, contextOf);
    this.#droppedBits = droppedBits;
  }

  load(reference: FloatBits, tuned: FloatBits): void {
    lookUpUpper(reference, this.#contextOfUpper, this.contexts);
    const { symbols, gapSymbols } = this;
    const differences = this.#differences;
    const gaps = this.#gaps;
    const droppedBits = this.#droppedBits;
    const mask = magnitudeMaskOf(reference);
    let events = 0;
    let last = -1;
    for (let i = 0; i < tuned.length; i++) {
      // Of f32's keys, modulo their number: the nearer way round.
      const difference = (keyOf(tuned[i]!, mask, droppedBits) - keyOf(reference[i]!, mask, droppedBits)) | 0;
      differences[i] = difference;
      symbols[i] = symbolOf(difference);
      if (difference === 0) continue;
      gaps[events] = i - last - 1;
      gapSymbols[events] = symbolOf(i - last - 1);
      events += 1;
      last = i;
    }
    this.length = tuned.length;
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
