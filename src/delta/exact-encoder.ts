import { BitWriter, entropyBits, SYMBOLS_MAX, SymbolEncoder, SymbolModel } from "../entropy/index.js";
import type { FloatDType } from "../formats/index.js";
import { assert } from "../util/index.js";
import { CHUNK_ELEMENTS, CONTEXTS_MAX, type ExactChunk, type ExactHeader, printHeader } from "./exact-header.js";
import { rawBitsOf, symbolOf, symbolRawBits } from "./exact-symbols.js";
import {
  bytesOf,
  contextsByUpper,
  exponentOf,
  type FloatBits,
  keyOf,
  lookUpUpper,
  magnitudeMaskOf,
} from "./float-bits.js";

/** A context of fewer elements would cost more to describe than it saves. */
const CONTEXT_ELEMENTS_MIN = 2048;

/**
 * Codes what turns `reference` into `tuned`; `decodeExact` does. A function of its arguments alone. O(elements).
 *
 * @returns null where both are the same
 */
export function encodeExact(dtype: FloatDType, reference: FloatBits, tuned: FloatBits): Uint8Array | null {
  assert(reference.length === tuned.length, `${reference.length} elements cannot turn into ${tuned.length}`);
  const encoder = new TensorEncoder(dtype, reference, tuned);
  return encoder.isCopy ? null : encoder.encode();
}

/** How the chunks of a tensor that are in one mode come out: what its model is made from. */
interface ModeCounts {
  readonly dense: Uint32Array;
  readonly sparse: Uint32Array;
  readonly gaps: Uint32Array;
}

/** Two visits to every chunk: one that decides its mode and counts symbols, one that codes them. */
class TensorEncoder {
  readonly #reference: FloatBits;
  readonly #tuned: FloatBits;
  readonly #chunk: ChunkDifferences;
  readonly #contexts: number;
  readonly #contextOf: Uint8Array;
  readonly #droppedBits: number;
  readonly #modes: readonly ExactChunk["mode"][];
  readonly #counts: ModeCounts;

  constructor(dtype: FloatDType, reference: FloatBits, tuned: FloatBits) {
    this.#reference = reference;
    this.#tuned = tuned;
    this.#droppedBits = commonZeroBits(reference, tuned);
    this.#contextOf = chooseContexts(dtype, reference);
    this.#contexts = this.#contextOf.at(-1)! + 1;
    this.#chunk = new ChunkDifferences(dtype, this.#contextOf, this.#droppedBits);
    this.#counts = {
      dense: new Uint32Array(this.#contexts * SYMBOLS_MAX),
      sparse: new Uint32Array(this.#contexts * SYMBOLS_MAX),
      gaps: new Uint32Array(SYMBOLS_MAX),
    };
    this.#modes = Array.from({ length: Math.ceil(tuned.length / CHUNK_ELEMENTS) }, (_, index) => this.#count(index));
  }

  get isCopy(): boolean {
    return this.#modes.every((mode) => mode === "copy");
  }

  encode(): Uint8Array {
    const dense = SymbolModel.fit(this.#counts.dense);
    const sparse = SymbolModel.fit(this.#counts.sparse);
    const gaps = SymbolModel.fit(this.#counts.gaps);
    const encoders = {
      dense: new SymbolEncoder(dense),
      sparse: new SymbolEncoder(sparse),
      gaps: new SymbolEncoder(gaps),
    };
    const chunks: ExactChunk[] = [];
    const parts: Uint8Array[] = [];
    for (const [index, mode] of this.#modes.entries()) {
      const chunk = this.#encodeChunk(index, mode, encoders, parts);
      chunks.push(chunk);
    }
    const header: ExactHeader = {
      droppedBits: this.#droppedBits,
      contextOf: this.#contextOf,
      dense,
      sparse,
      gaps,
      chunks,
    };
    return concat([printHeader(header), ...parts]);
  }

  /** Decides the mode of a chunk: what is smallest by its own statistics. Adds these to the mode's. */
  #count(index: number): ExactChunk["mode"] {
    const chunk = this.#chunk;
    chunk.load(this.#part(this.#reference, index), this.#part(this.#tuned, index));
    if (chunk.events === 0) return "copy";
    const { differences: counts, gaps } = chunk.count(this.#contexts);
    const withoutZeros = counts.slice();
    for (let i = 0; i < withoutZeros.length; i += SYMBOLS_MAX) withoutZeros[i] = 0;
    const denseBits = bitsOf(counts);
    // Two symbols an event: beyond half of the elements, SPARSE has more of them than DENSE and is never worth its time.
    const isSparse = chunk.events * 2 <= chunk.length;
    const sparseBits = isSparse ? bitsOf(withoutZeros) + bitsOf(gaps) : Number.POSITIVE_INFINITY;
    if (Math.min(denseBits, sparseBits) >= this.#part(this.#tuned, index).byteLength * 8) return "raw";
    if (sparseBits < denseBits) {
      addInto(this.#counts.sparse, withoutZeros);
      addInto(this.#counts.gaps, gaps);
      return "sparse";
    }
    addInto(this.#counts.dense, counts);
    return "dense";
  }

  #encodeChunk(
    index: number,
    mode: ExactChunk["mode"],
    encoders: Readonly<Record<keyof ModeCounts, SymbolEncoder>>,
    parts: Uint8Array[],
  ): ExactChunk {
    if (mode === "copy") return { mode };
    const tuned = this.#part(this.#tuned, index);
    if (mode === "raw") {
      parts.push(bytesOf(tuned), new Uint8Array(-tuned.byteLength & 3));
      return { mode };
    }
    const chunk = this.#chunk;
    chunk.load(this.#part(this.#reference, index), tuned);
    const raw = new BitWriter();
    if (mode === "dense") {
      const symbols = encoders.dense.encode(chunk.symbols, chunk.contexts, chunk.length);
      chunk.writeRawBits(raw);
      const rawBytes = raw.finish();
      parts.push(symbols, rawBytes);
      return { mode, symbolBytes: symbols.length, rawBytes: rawBytes.length };
    }
    chunk.keepEvents();
    const gaps = encoders.gaps.encode(chunk.gapSymbols, new Uint8Array(chunk.length), chunk.events);
    const symbols = encoders.sparse.encode(chunk.symbols, chunk.contexts, chunk.length);
    chunk.writeGapBits(raw);
    chunk.writeRawBits(raw);
    const rawBytes = raw.finish();
    parts.push(gaps, symbols, rawBytes);
    return {
      mode,
      events: chunk.events,
      gapBytes: gaps.length,
      symbolBytes: symbols.length,
      rawBytes: rawBytes.length,
    };
  }

  #part(elements: FloatBits, index: number): FloatBits {
    return elements.subarray(index * CHUNK_ELEMENTS, (index + 1) * CHUNK_ELEMENTS);
  }
}

/** The differences of one chunk, as what is coded of them. One object serves all chunks of a tensor. */
class ChunkDifferences {
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

/** The largest number of low bits that are 0 in all elements: 16 where bf16 was stored as f32. */
function commonZeroBits(...tensors: readonly FloatBits[]): number {
  let seen = 0;
  for (const elements of tensors) for (let i = 0; i < elements.length; i++) seen |= elements[i]!;
  // The lowest bit that is set anywhere; where none is, everything is +0 and no bit matters.
  return seen === 0 ? 0 : 31 - Math.clz32(seen & -seen);
}

/** Neighbouring exponents share a context until it has enough elements. By exponent, the contexts count from 0. */
function chooseContexts(dtype: FloatDType, reference: FloatBits): Uint8Array {
  const counts = new Uint32Array(CONTEXTS_MAX);
  const shift = reference instanceof Int32Array ? 23 : 7;
  for (let i = 0; i < reference.length; i++) counts[exponentOf(dtype, reference[i]! >>> shift)]! += 1;
  const contextOf = new Uint8Array(CONTEXTS_MAX);
  let context = 0;
  let inContext = 0;
  let left = reference.length;
  for (let exponent = 0; exponent < CONTEXTS_MAX; exponent++) {
    if (inContext >= CONTEXT_ELEMENTS_MIN && left >= CONTEXT_ELEMENTS_MIN) {
      context += 1;
      inContext = 0;
    }
    contextOf[exponent] = context;
    inContext += counts[exponent]!;
    left -= counts[exponent]!;
  }
  return contextOf;
}

/** Bits of symbols that come so often in each context, coded by their own statistics, and of the raw bits after them. */
function bitsOf(counts: Uint32Array): number {
  let bits = 0;
  for (let row = 0; row < counts.length; row += SYMBOLS_MAX)
    bits += entropyBits(counts.subarray(row, row + SYMBOLS_MAX));
  for (let i = 0; i < counts.length; i++) bits += counts[i]! * symbolRawBits[i % SYMBOLS_MAX]!;
  return bits;
}

function addInto(sums: Uint32Array, counts: Uint32Array): void {
  for (let i = 0; i < sums.length; i++) sums[i]! += counts[i]!;
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
