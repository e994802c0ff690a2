import { BitWriter, entropyBits, SYMBOLS_MAX, SymbolEncoder, SymbolModel } from "../entropy/index.js";
import type { FloatDType } from "../formats/index.js";
import { assert } from "../util/index.js";
import { ChunkDifferences } from "./exact-chunk.js";
import { CHUNK_ELEMENTS, CONTEXTS_MAX, type ExactChunk, type ExactHeader, printHeader } from "./exact-header.js";
import { symbolRawBits } from "./exact-symbols.js";
import { bytesOf, exponentOf, type FloatBits } from "./float-bits.js";

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
