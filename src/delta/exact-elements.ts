// The loop that all speed hangs on: symbols of 16-bit elements, from the four lanes of entropy/rans.ts, straight into the tensor. Two
// elements lie in a word of it. A difference that has no raw bits is added to its half of the word; the sum holds as long as the sign
// stays, since nothing is carried out of the half then. What else there is, one element in a hundred, is redone by itself.
//
// The value of a symbol in its places' entries (entropy/rans.ts) is:
//
//   d + 64     of a symbol without raw bits: 1 … 127
//   symbol     of one with raw bits: from 128 on, so the entry is negative

import { CorruptCode, PROBABILITY_BITS, STATE_MIN, SYMBOLS_MAX, type SymbolStream, wordsOf } from "../entropy/index.js";
import { FIRST_WITH_RAW_BITS, symbolBases, symbolRawBits } from "./exact-symbols.js";
import { stepFrom } from "./float-bits.js";

const VALUE_OF_ZERO = 64;
/** That of both halves of a word. */
const VALUES_OF_ZERO = VALUE_OF_ZERO * 0x10001;
const SIGNS = 0x80008000;
const PLACE_MASK = (1 << PROBABILITY_BITS) - 1;
/** A call's elements: V8 compiles a loop that is often called sooner and better than one that is long. */
const CALL_ELEMENTS = 8192;
const HALF_MAGNITUDE = 0x7fff;
const REDO_WORDS = 5;

/** The value of each symbol, as drawn above. */
export const valueOfSymbol = Uint8Array.from({ length: SYMBOLS_MAX }, (_, symbol) =>
  symbol < FIRST_WITH_RAW_BITS ? symbolBases[symbol]! + VALUE_OF_ZERO : symbol,
);

/** The raw bits of a chunk, in the order in which they are taken. */
export class RawBits {
  readonly #words: Uint32Array;
  #taken = 0;

  constructor(bytes: Uint8Array) {
    this.#words = wordsOf(bytes);
  }

  /** Those that follow a symbol; 0 beyond the last, which {@link close} finds out. */
  take(symbol: number): number {
    const at = this.#taken;
    const count = symbolRawBits[symbol]!;
    this.#taken += count;
    // A window of 32 bits over two words.
    const low = this.#words[at >>> 5]! >>> (at & 31);
    const high = (this.#words[(at >>> 5) + 1]! << 1) << (31 - (at & 31));
    return (low | high) & ((1 << count) - 1);
  }

  /** @throws {CorruptCode} if what was taken is not what was there */
  close(): void {
    // The last word is the one that wordsOf adds.
    if (Math.ceil(this.#taken / 32) === this.#words.length - 1) return;
    throw new CorruptCode("its raw bits do not end where they should");
  }
}

/** The bits of an element whose reference has `bits`, and whose symbol was found at a place with this entry. */
export function changedBits(
  bits: number,
  entry: number,
  raw: RawBits,
  magnitudeMask: number,
  droppedBits: number,
): number {
  const value = entry >>> 24;
  if (value < FIRST_WITH_RAW_BITS) return stepFrom(bits, value - VALUE_OF_ZERO, magnitudeMask, droppedBits);
  const rest = raw.take(value);
  const difference = value & 1 ? symbolBases[value]! - rest : symbolBases[value]! + rest;
  return stepFrom(bits, difference | 0, magnitudeMask, droppedBits);
}

/** What elements are decoded by. */
export interface ElementTables {
  readonly places: Int32Array;
  /** Where the places of a context begin, `[rows, UPPER_VALUES]`. */
  readonly contextOf: Int32Array;
  /** Of each element; there is room for a multiple of 4. */
  readonly rows: Uint8Array;
}

/** Decodes 16-bit elements. */
export class HalvesDecoder {
  /** Of the quads of a call that are to be redone: their number, and the entries of their four elements. */
  readonly #redo = new Int32Array((CALL_ELEMENTS / 4) * REDO_WORDS);

  /** Decodes as many elements as all lanes have; none where the tensor does not lie in whole words. Returns how many. */
  decode(tensor: Int16Array, stream: SymbolStream, raw: RawBits, { places, contextOf, rows }: ElementTables): number {
    if (tensor.byteOffset % 4 !== 0) return 0;
    const count = tensor.length - (tensor.length % 4);
    const pairs = new Int32Array(tensor.buffer, tensor.byteOffset, count / 2);
    const rowsOfQuads = new Int32Array(rows.buffer, rows.byteOffset, count / 4);
    for (let from = 0; from < count; from += CALL_ELEMENTS) {
      const to = Math.min(from + CALL_ELEMENTS, count);
      const end = decodeQuads(pairs, stream, places, contextOf, rowsOfQuads, this.#redo, from / 4, to / 4);
      this.#redoQuads(pairs, raw, end);
    }
    return count;
  }

  #redoQuads(pairs: Int32Array, raw: RawBits, end: number): void {
    const redo = this.#redo;
    for (let i = 0; i < end; i += REDO_WORDS) {
      const pair = redo[i]! * 2;
      pairs[pair] = changedPair(pairs[pair]!, redo[i + 1]!, redo[i + 2]!, raw);
      pairs[pair + 1] = changedPair(pairs[pair + 1]!, redo[i + 3]!, redo[i + 4]!, raw);
    }
  }
}

/** Quads `from` to `to`, but for those that it puts into `redo`. Returns the end of these. */
function decodeQuads(
  pairs: Int32Array,
  stream: SymbolStream,
  places: Int32Array,
  contextOf: Int32Array,
  rows: Int32Array,
  redo: Int32Array,
  from: number,
  to: number,
): number {
  const { states, words } = stream;
  const stateMin = STATE_MIN;
  let x0 = states[0]!;
  let x1 = states[1]!;
  let x2 = states[2]!;
  let x3 = states[3]!;
  let at = stream.wordsUsed;
  let end = 0;
  for (let quad = from; quad < to; quad++) {
    const row = rows[quad]!;
    const pair0 = pairs[2 * quad]!;
    const pair1 = pairs[2 * quad + 1]!;
    const p0 = places[contextOf[((row & 255) << 9) | ((pair0 >>> 7) & 511)]! | (x0 & PLACE_MASK)]!;
    const p1 = places[contextOf[((row & 0xff00) << 1) | (pair0 >>> 23)]! | (x1 & PLACE_MASK)]!;
    const p2 = places[contextOf[((row >>> 7) & 0x1fe00) | ((pair1 >>> 7) & 511)]! | (x2 & PLACE_MASK)]!;
    const p3 = places[contextOf[((row >>> 15) & 0x1fe00) | (pair1 >>> 23)]! | (x3 & PLACE_MASK)]!;
    x0 = (Math.imul((p0 & PLACE_MASK) + 1, x0 >>> 12) + ((p0 >>> 12) & PLACE_MASK)) | 0;
    x1 = (Math.imul((p1 & PLACE_MASK) + 1, x1 >>> 12) + ((p1 >>> 12) & PLACE_MASK)) | 0;
    x2 = (Math.imul((p2 & PLACE_MASK) + 1, x2 >>> 12) + ((p2 >>> 12) & PLACE_MASK)) | 0;
    x3 = (Math.imul((p3 & PLACE_MASK) + 1, x3 >>> 12) + ((p3 >>> 12) & PLACE_MASK)) | 0;
    // `low` is -1 where a state fell below the least, else 0: whether it did cannot be predicted, so it is computed with.
    const low0 = (x0 - stateMin) >> 31;
    x0 = (x0 << (low0 & 16)) | (words[at]! & low0);
    at = (at - low0) | 0;
    const low1 = (x1 - stateMin) >> 31;
    x1 = (x1 << (low1 & 16)) | (words[at]! & low1);
    at = (at - low1) | 0;
    const low2 = (x2 - stateMin) >> 31;
    x2 = (x2 << (low2 & 16)) | (words[at]! & low2);
    at = (at - low2) | 0;
    const low3 = (x3 - stateMin) >> 31;
    x3 = (x3 << (low3 & 16)) | (words[at]! & low3);
    at = (at - low3) | 0;
    const sum0 = (pair0 + (p0 >>> 24) + ((p1 >>> 24) << 16) - VALUES_OF_ZERO) | 0;
    const sum1 = (pair1 + (p2 >>> 24) + ((p3 >>> 24) << 16) - VALUES_OF_ZERO) | 0;
    if ((((sum0 ^ pair0) | (sum1 ^ pair1)) & SIGNS) === 0 && (p0 | p1 | p2 | p3) >= 0) {
      pairs[2 * quad] = sum0;
      pairs[2 * quad + 1] = sum1;
    } else {
      redo[end] = quad;
      redo[end + 1] = p0;
      redo[end + 2] = p1;
      redo[end + 3] = p2;
      redo[end + 4] = p3;
      end += REDO_WORDS;
    }
  }
  states[0] = x0;
  states[1] = x1;
  states[2] = x2;
  states[3] = x3;
  stream.wordsUsed = at;
  return end;
}

/** Two elements in a word, each by itself. */
function changedPair(pair: number, entry0: number, entry1: number, raw: RawBits): number {
  const low = changedBits((pair << 16) >> 16, entry0, raw, HALF_MAGNITUDE, 0);
  const high = changedBits(pair >> 16, entry1, raw, HALF_MAGNITUDE, 0);
  return (low & 0xffff) | (high << 16);
}
