import { BitWriter, entropyBits, SYMBOLS_MAX, SymbolEncoder, SymbolModel } from "../entropy/index.js";
import type { FloatDType } from "../formats/index.js";
import { assert } from "../util/index.js";
import { ChunkDifferences, type ChunkSources } from "./exact-chunk.js";
import { ContextMap, cellsOf, emptyCounts, type Levels } from "./exact-contexts.js";
import { CHUNK_ELEMENTS, type ExactChunk, printHeader } from "./exact-header.js";
import { chooseRun, encodeLevels, measureLevels, oneLevel } from "./exact-levels.js";
import { symbolRawBits } from "./exact-symbols.js";
import { bytesOf, type FloatBits } from "./float-bits.js";

/** Contexts are chosen by at most so many chunks of a tensor. */
const CHUNKS_SEEN_MAX = 64;

/** What {@link encodeExact} codes. */
export interface ExactPair {
  readonly dtype: FloatDType;
  readonly reference: FloatBits;
  readonly tuned: FloatBits;
  /** Elements of a row. */
  readonly cols: number;
  /** For each element the sum of its planes; null where there are none. The decoder gets the same. */
  readonly hints: Float32Array | null;
}

/**
 * Codes what turns `reference` into `tuned`; `decodeExact` does. A function of its arguments alone. O(elements).
 *
 * @returns null where both are the same
 */
export function encodeExact(pair: ExactPair): Uint8Array | null {
  const { reference, tuned } = pair;
  assert(reference.length === tuned.length, `${reference.length} elements cannot turn into ${tuned.length}`);
  return tuned.every((bits, i) => bits === reference[i]) ? null : new TensorEncoder(pair).encode();
}

/** Levels to code a tensor with, and what follows from them. */
interface Plan {
  readonly levels: Levels;
  readonly chunk: ChunkDifferences;
  readonly map: ContextMap;
  /** About how many bits that takes. */
  readonly bits: number;
}

/** Chooses contexts by what every few chunks hold, which is enough to go by. */
function planFor(dtype: FloatDType, sources: ChunkSources): Plan {
  const { tuned, hints, levels } = sources;
  const hasHints = hints !== null;
  const chunk = new ChunkDifferences(sources);
  const chunks = Math.ceil(tuned.length / CHUNK_ELEMENTS);
  const step = Math.ceil(chunks / CHUNKS_SEEN_MAX);
  const counts = emptyCounts(hasHints);
  const cellOf = cellsOf(dtype, hasHints);
  for (let index = 0; index < chunks; index += step) chunk.countCells(index, cellOf, counts);
  const { map, bits } = ContextMap.choose(hasHints, counts, step);
  return { levels, chunk, map, bits: bits + encodeLevels(levels).bytes.length * 8 };
}

/** How the chunks of a tensor that are in one mode come out: what its model is made from. */
interface ModeCounts {
  readonly dense: Uint32Array;
  readonly sparse: Uint32Array;
  readonly gaps: Uint32Array;
}

/** Three visits to every chunk: one that counts what contexts are made from, one that decides its mode and counts symbols, one that codes them. */
class TensorEncoder {
  readonly #tuned: FloatBits;
  readonly #droppedBits: number;
  readonly #levels: Levels;
  readonly #map: ContextMap;
  /** `[rows, UPPER_VALUES]`. */
  readonly #contextOf: Int32Array;
  readonly #chunk: ChunkDifferences;
  readonly #modes: readonly ExactChunk["mode"][];
  readonly #counts: ModeCounts;

  constructor({ dtype, reference, tuned, cols, hints }: ExactPair) {
    this.#tuned = tuned;
    this.#droppedBits = dtype === "f32" ? commonZeroBits(reference, tuned) : 0;
    const measured = measureLevels(dtype, reference, tuned, chooseRun(cols));
    const [plan, other] = [measured, oneLevel(measured, tuned.length)].map((levels) =>
      planFor(dtype, { reference, tuned, hints, levels, droppedBits: this.#droppedBits }),
    ) as [Plan, Plan];
    const { levels, chunk, map } = other.bits < plan.bits ? other : plan;
    this.#levels = levels;
    this.#chunk = chunk;
    this.#map = map;
    this.#contextOf = map.byRow(dtype, 1);
    this.#counts = {
      dense: new Uint32Array(this.#map.contexts * SYMBOLS_MAX),
      sparse: new Uint32Array(this.#map.contexts * SYMBOLS_MAX),
      gaps: new Uint32Array(SYMBOLS_MAX),
    };
    this.#modes = Array.from({ length: Math.ceil(tuned.length / CHUNK_ELEMENTS) }, (_, index) => this.#count(index));
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
    const levels = encodeLevels(this.#levels);
    const parts: Uint8Array[] = [levels.bytes];
    const chunks = this.#modes.map((mode, index) => this.#encodeChunk(index, mode, encoders, parts));
    const header = printHeader({
      droppedBits: this.#droppedBits,
      runElements: this.#levels.runElements,
      lowestLevel: this.#levels.lowest,
      levelBytes: levels.bytes.length,
      contexts: this.#map,
      models: { levels: levels.model, dense, sparse, gaps },
      chunks,
    });
    return concat([header, ...parts]);
  }

  /** Decides the mode of a chunk: what is smallest by its own statistics. Adds these to the mode's. */
  #count(index: number): ExactChunk["mode"] {
    const chunk = this.#chunk;
    chunk.load(index, this.#contextOf);
    if (chunk.events === 0) return "copy";
    const { differences: counts, gaps } = chunk.count(this.#map.contexts);
    const withoutZeros = counts.slice();
    for (let i = 0; i < withoutZeros.length; i += SYMBOLS_MAX) withoutZeros[i] = 0;
    const denseBits = bitsOf(counts);
    // Two symbols an event: beyond half of the elements, SPARSE has more of them than DENSE and is never worth its time.
    const isSparse = chunk.events * 2 <= chunk.length;
    const sparseBits = isSparse ? bitsOf(withoutZeros) + bitsOf(gaps) : Number.POSITIVE_INFINITY;
    if (Math.min(denseBits, sparseBits) >= this.#part(index).byteLength * 8) return "raw";
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
    if (mode === "raw") {
      const tuned = this.#part(index);
      parts.push(bytesOf(tuned), new Uint8Array(-tuned.byteLength & 3));
      return { mode };
    }
    const chunk = this.#chunk;
    chunk.load(index, this.#contextOf);
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

  #part(index: number): FloatBits {
    return this.#tuned.subarray(index * CHUNK_ELEMENTS, (index + 1) * CHUNK_ELEMENTS);
  }
}

/** The largest number of low bits that are 0 in all elements: 16 where bf16 was stored as f32. */
function commonZeroBits(...tensors: readonly FloatBits[]): number {
  let seen = 0;
  for (const elements of tensors) for (let i = 0; i < elements.length; i++) seen |= elements[i]!;
  // The lowest bit that is set anywhere; where none is, everything is +0 and no bit matters.
  return seen === 0 ? 0 : 31 - Math.clz32(seen & -seen);
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
