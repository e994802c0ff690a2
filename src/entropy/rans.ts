// Symbols in as many bits as their probabilities ask for: range asymmetric numeral systems (J. Duda, "Asymmetric numeral
// systems", arXiv 1311.2540) with static tables, in four interleaved lanes.
//
// A state x in [2^15, 2^31) stands for the symbols still to come. To put a symbol that takes the places [c, c + f) of 4096
// in front of them:
//
//   if x >= f · 2^19:  write the low 16 bits of x, x = x >> 16
//   x = (x div f) · 4096 + c + x mod f
//
// so that x mod 4096 names the symbol. Symbol i belongs to lane i mod 4; lanes share the stream of words, each taken at the
// moment at which its lane needs it. The encoder goes from the last symbol to the first, all lanes beginning at 2^15, which
// is where the decoder must end: damage shows there, or not at all, and is what checksums are for.
//
//   byte 0     4         8         12        16
//   ┌──────────┬─────────┬─────────┬─────────┬────────────────────────────┐
//   │ lane 0   │ lane 1  │ lane 2  │ lane 3  │ words, u16, as many as are │
//   │ u32      │ u32     │ u32     │ u32     │ needed; then 0 or 2 zeros  │
//   └──────────┴─────────┴─────────┴─────────┴────────────────────────────┘

import { assert } from "../util/index.js";
import { CorruptCode } from "./corrupt-code.js";
import { PROBABILITY_BITS, SYMBOLS_MAX, type SymbolModel } from "./symbol-model.js";

/** A state below this takes a word. */
export const STATE_MIN = 1 << 15;
const STATES_BYTES = 16;
const PLACE_MASK = 4095;
const RUN_SYMBOLS = 4096;

/** Writes symbols, each under its context's distribution. */
export class SymbolEncoder {
  /** First place of each symbol, `[contexts, SYMBOLS_MAX]`. */
  readonly #starts: Uint16Array;
  readonly #frequencies: Uint16Array;

  constructor({ contexts, frequencies }: SymbolModel) {
    this.#frequencies = frequencies;
    this.#starts = new Uint16Array(frequencies.length);
    for (let context = 0; context < contexts; context++) {
      let start = 0;
      for (let i = context * SYMBOLS_MAX; i < (context + 1) * SYMBOLS_MAX; i++) {
        this.#starts[i] = start;
        start += frequencies[i]!;
      }
    }
  }

  /** Codes the first `count` of `symbols`, symbol i in `contexts[i]`, each of which the model must know there. */
  encode(symbols: Uint8Array, contexts: Uint8Array, count: number): Uint8Array {
    // A symbol takes 12 bits at most, so one word.
    const words = new Uint16Array(count);
    const states = new Int32Array(4).fill(STATE_MIN);
    let at = count;
    for (let i = count - 1; i >= 0; i--) {
      const entry = contexts[i]! * SYMBOLS_MAX + symbols[i]!;
      const frequency = this.#frequencies[entry]!;
      assert(frequency > 0, `Symbol ${symbols[i]} is not in the model's context ${contexts[i]}`);
      let x = states[i & 3]!;
      if (x >>> 19 >= frequency) {
        words[--at] = x & 0xffff;
        x >>>= 16;
      }
      const quotient = (x / frequency) | 0;
      states[i & 3] = (quotient << PROBABILITY_BITS) + this.#starts[entry]! + (x - quotient * frequency);
    }
    const bytes = new Uint8Array(STATES_BYTES + Math.ceil((count - at) / 2) * 4);
    bytes.set(new Uint8Array(states.buffer));
    bytes.set(new Uint8Array(words.buffer, at * 2), STATES_BYTES);
    return bytes;
  }
}

/**
 * For each place of each context, `[contexts, 4096]`, what a decoder needs to know of the symbol that takes it:
 *
 *   bit 31       24            12             0
 *   ┌──────────────┬────────────┬──────────────┐
 *   │ value of the │ place -    │ frequency of │
 *   │ symbol       │ its first  │ the symbol-1 │
 *   └──────────────┴────────────┴──────────────┘
 *
 * @param values for each symbol a byte, which may be the symbol itself
 */
export function placesOf({ contexts, frequencies }: SymbolModel, values: Uint8Array): Int32Array {
  const places = new Int32Array(contexts << PROBABILITY_BITS);
  for (let context = 0; context < contexts; context++) {
    let at = context << PROBABILITY_BITS;
    for (let symbol = 0; symbol < SYMBOLS_MAX; symbol++) {
      const frequency = frequencies[context * SYMBOLS_MAX + symbol]!;
      const first = (values[symbol]! << 24) | (frequency - 1);
      for (let i = 0; i < frequency; i++) places[at++] = first | (i << PROBABILITY_BITS);
    }
  }
  return places;
}

/** Code on its way through the four lanes. One object serves any number of codes, one after the other. */
export class SymbolStream {
  /** Of the four lanes. */
  readonly states = new Int32Array(4);
  /** The words of the code, and zeros after them: for each symbol one can be asked for, and damaged code may ask for more than it has. */
  words = new Uint16Array(1 << 15);
  wordsUsed = 0;
  #wordBytes = 0;

  /** @throws {CorruptCode} if `bytes` are more or less than the code of so many symbols can be */
  open(bytes: Uint8Array, symbols: number): void {
    if (bytes.length < STATES_BYTES || bytes.length % 4 !== 0) throw new CorruptCode("its symbols are cut off");
    new Uint8Array(this.states.buffer).set(bytes.subarray(0, STATES_BYTES));
    if (this.states.some((x) => x < STATE_MIN)) throw new CorruptCode("its lanes begin in no state");
    this.#wordBytes = bytes.length - STATES_BYTES;
    if (this.#wordBytes > symbols * 2 + 2) throw new CorruptCode("it has more bytes than its symbols can take");
    if (this.words.length < symbols + 2) this.words = new Uint16Array(symbols + 2);
    new Uint8Array(this.words.buffer).set(bytes.subarray(STATES_BYTES));
    this.words.fill(0, this.#wordBytes / 2, symbols + 2);
    this.wordsUsed = 0;
  }

  /** Takes symbol `index` in a context whose places begin at `row` of `places`: the entry of its place. */
  take(places: Int32Array, row: number, index: number): number {
    const lane = index & 3;
    const x = this.states[lane]!;
    const entry = places[row | (x & PLACE_MASK)]!;
    const next = stateAfter(entry, x);
    const isLow = next < STATE_MIN;
    this.states[lane] = isLow ? (next << 16) | this.words[this.wordsUsed]! : next;
    if (isLow) this.wordsUsed += 1;
    return entry;
  }

  /** @throws {CorruptCode} if what was taken is not what was written, as far as that shows */
  close(): void {
    if (Math.ceil(this.wordsUsed / 2) * 4 !== this.#wordBytes || this.states.some((x) => x !== STATE_MIN)) {
      throw new CorruptCode("its symbols do not end where they should");
    }
  }
}

/** Reads what a {@link SymbolEncoder} of the same model wrote. Its tables take 16 KiB a context. */
export class SymbolDecoder {
  readonly #places: Int32Array;
  readonly #stream = new SymbolStream();

  constructor(model: SymbolModel) {
    this.#places = placesOf(model, everySymbol);
  }

  /**
   * Fills the first `count` of `symbols`, symbol i in `contexts[i]`.
   *
   * @throws {CorruptCode} if `bytes` are not all, or more than, the code of so many symbols
   */
  decode(bytes: Uint8Array, contexts: Uint8Array, symbols: Uint8Array, count: number): void {
    assert(contexts.length >= count && symbols.length >= count, `${count} symbols do not fit`);
    const stream = this.#stream;
    stream.open(bytes, count);
    const lanesEnd = count - (count % 4);
    for (let from = 0; from < lanesEnd; from += RUN_SYMBOLS) {
      decodeLanes(this.#places, stream, contexts, symbols, from, Math.min(from + RUN_SYMBOLS, lanesEnd));
    }
    for (let i = lanesEnd; i < count; i++) {
      symbols[i] = stream.take(this.#places, contexts[i]! << PROBABILITY_BITS, i) >>> 24;
    }
    stream.close();
  }
}

/** Symbols that are their own values. */
const everySymbol = Uint8Array.from({ length: SYMBOLS_MAX }, (_, symbol) => symbol);

/** A lane's state behind the symbol whose entry this is, before it takes a word. */
function stateAfter(entry: number, x: number): number {
  const frequency = (entry & PLACE_MASK) + 1;
  return (Math.imul(frequency, x >>> PROBABILITY_BITS) + ((entry >>> PROBABILITY_BITS) & PLACE_MASK)) | 0;
}

/**
 * Symbols `from` to `to` of all four lanes, both multiples of 4. A plain function of arrays and numbers, called often for a few thousand
 * symbols each, is what V8 compiles best and soonest.
 */
function decodeLanes(
  places: Int32Array,
  stream: SymbolStream,
  contexts: Uint8Array,
  symbols: Uint8Array,
  from: number,
  to: number,
): void {
  const { states, words } = stream;
  let x0 = states[0]!;
  let x1 = states[1]!;
  let x2 = states[2]!;
  let x3 = states[3]!;
  let at = stream.wordsUsed;
  // `low` is -1 where a state fell below 2^15, else 0: whether it did cannot be predicted, so it is computed with.
  for (let i = from; i < to; i += 4) {
    const p0 = places[(contexts[i]! << 12) | (x0 & PLACE_MASK)]!;
    const p1 = places[(contexts[i + 1]! << 12) | (x1 & PLACE_MASK)]!;
    const p2 = places[(contexts[i + 2]! << 12) | (x2 & PLACE_MASK)]!;
    const p3 = places[(contexts[i + 3]! << 12) | (x3 & PLACE_MASK)]!;
    symbols[i] = p0 >>> 24;
    symbols[i + 1] = p1 >>> 24;
    symbols[i + 2] = p2 >>> 24;
    symbols[i + 3] = p3 >>> 24;
    x0 = stateAfter(p0, x0);
    x1 = stateAfter(p1, x1);
    x2 = stateAfter(p2, x2);
    x3 = stateAfter(p3, x3);
    const low0 = (x0 - STATE_MIN) >> 31;
    x0 = (x0 << (low0 & 16)) | (words[at]! & low0);
    at -= low0;
    const low1 = (x1 - STATE_MIN) >> 31;
    x1 = (x1 << (low1 & 16)) | (words[at]! & low1);
    at -= low1;
    const low2 = (x2 - STATE_MIN) >> 31;
    x2 = (x2 << (low2 & 16)) | (words[at]! & low2);
    at -= low2;
    const low3 = (x3 - STATE_MIN) >> 31;
    x3 = (x3 << (low3 & 16)) | (words[at]! & low3);
    at -= low3;
  }
  states[0] = x0;
  states[1] = x1;
  states[2] = x2;
  states[3] = x3;
  stream.wordsUsed = at;
}
