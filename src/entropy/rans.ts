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

const STATE_MIN = 1 << 15;
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

/** Reads what a {@link SymbolEncoder} of the same model wrote. Its tables take 16 KiB a context. */
export class SymbolDecoder {
  /** For each place of each context: symbol | frequency - 1 << 8 | place - start << 20. */
  readonly #places: Int32Array;
  #words = new Uint16Array(1 << 15);

  constructor({ contexts, frequencies }: SymbolModel) {
    const places = new Int32Array(contexts << PROBABILITY_BITS);
    for (let context = 0; context < contexts; context++) {
      let at = context << PROBABILITY_BITS;
      for (let symbol = 0; symbol < SYMBOLS_MAX; symbol++) {
        const frequency = frequencies[context * SYMBOLS_MAX + symbol]!;
        const entry = symbol | ((frequency - 1) << 8);
        for (let i = 0; i < frequency; i++) places[at++] = entry | (i << 20);
      }
    }
    this.#places = places;
  }

  /**
   * Fills the first `count` of `symbols`, symbol i in `contexts[i]`.
   *
   * @throws {CorruptCode} if `bytes` are not all, or more than, the code of so many symbols
   */
  decode(bytes: Uint8Array, contexts: Uint8Array, symbols: Uint8Array, count: number): void {
    assert(contexts.length >= count && symbols.length >= count, `${count} symbols do not fit`);
    if (bytes.length < STATES_BYTES || bytes.length % 4 !== 0) throw new CorruptCode("its symbols are cut off");
    const states = new Int32Array(4);
    new Uint8Array(states.buffer).set(bytes.subarray(0, STATES_BYTES));
    const wordBytes = bytes.length - STATES_BYTES;
    if (wordBytes > count * 2 + 2) throw new CorruptCode("it has more bytes than its symbols can take");
    // A word for each symbol can be asked for; damaged bytes may ask for more than there are, and read zeros.
    if (this.#words.length < count + 2) this.#words = new Uint16Array(count + 2);
    const words = this.#words;
    new Uint8Array(words.buffer).set(bytes.subarray(STATES_BYTES));
    words.fill(0, wordBytes / 2, count + 2);

    let used = 0;
    const lanesEnd = count - (count % 4);
    for (let from = 0; from < lanesEnd; from += RUN_SYMBOLS) {
      const to = Math.min(from + RUN_SYMBOLS, lanesEnd);
      used = decodeLanes(this.#places, words, states, contexts, symbols, from, to, used);
    }
    for (let i = lanesEnd; i < count; i++) used = this.#decodeLast(words, states, contexts[i]!, symbols, i, used);
    if (Math.ceil(used / 2) * 4 !== wordBytes || states.some((x) => x !== STATE_MIN)) {
      throw new CorruptCode("its symbols do not end where they should");
    }
  }

  /** One symbol of those after the last that all lanes have. Returns how many words are used then. */
  #decodeLast(
    words: Uint16Array,
    states: Int32Array,
    context: number,
    symbols: Uint8Array,
    i: number,
    used: number,
  ): number {
    const x = states[i & 3]!;
    const place = this.#places[(context << PROBABILITY_BITS) | (x & PLACE_MASK)]!;
    symbols[i] = place;
    const next = (Math.imul(((place >>> 8) & PLACE_MASK) + 1, x >>> PROBABILITY_BITS) + (place >>> 20)) | 0;
    const isLow = next < STATE_MIN;
    states[i & 3] = isLow ? (next << 16) | words[used]! : next;
    return isLow ? used + 1 : used;
  }
}

/**
 * Symbols `from` to `to` of all four lanes, both multiples of 4. Returns how many words are used then. A plain function of arrays and
 * numbers, called often for a few thousand symbols each, is what V8 compiles best and soonest.
 */
function decodeLanes(
  places: Int32Array,
  words: Uint16Array,
  states: Int32Array,
  contexts: Uint8Array,
  symbols: Uint8Array,
  from: number,
  to: number,
  used: number,
): number {
  let x0 = states[0]!;
  let x1 = states[1]!;
  let x2 = states[2]!;
  let x3 = states[3]!;
  let at = used;
  // `need` is 1 where a state fell below 2^15: whether it did cannot be predicted, so it is computed with.
  for (let i = from; i < to; i += 4) {
    const p0 = places[(contexts[i]! << 12) | (x0 & PLACE_MASK)]!;
    const p1 = places[(contexts[i + 1]! << 12) | (x1 & PLACE_MASK)]!;
    const p2 = places[(contexts[i + 2]! << 12) | (x2 & PLACE_MASK)]!;
    const p3 = places[(contexts[i + 3]! << 12) | (x3 & PLACE_MASK)]!;
    symbols[i] = p0;
    symbols[i + 1] = p1;
    symbols[i + 2] = p2;
    symbols[i + 3] = p3;
    x0 = (Math.imul(((p0 >>> 8) & PLACE_MASK) + 1, x0 >>> 12) + (p0 >>> 20)) | 0;
    x1 = (Math.imul(((p1 >>> 8) & PLACE_MASK) + 1, x1 >>> 12) + (p1 >>> 20)) | 0;
    x2 = (Math.imul(((p2 >>> 8) & PLACE_MASK) + 1, x2 >>> 12) + (p2 >>> 20)) | 0;
    x3 = (Math.imul(((p3 >>> 8) & PLACE_MASK) + 1, x3 >>> 12) + (p3 >>> 20)) | 0;
    const need0 = (x0 - STATE_MIN) >>> 31;
    x0 = (x0 << (need0 << 4)) | (words[at]! & -need0);
    at += need0;
    const need1 = (x1 - STATE_MIN) >>> 31;
    x1 = (x1 << (need1 << 4)) | (words[at]! & -need1);
    at += need1;
    const need2 = (x2 - STATE_MIN) >>> 31;
    x2 = (x2 << (need2 << 4)) | (words[at]! & -need2);
    at += need2;
    const need3 = (x3 - STATE_MIN) >>> 31;
    x3 = (x3 << (need3 << 4)) | (words[at]! & -need3);
    at += need3;
  }
  states[0] = x0;
  states[1] = x1;
  states[2] = x2;
  states[3] = x3;
  return at;
}
