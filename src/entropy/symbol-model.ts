// How often each symbol comes in each context, as integers that sum up to 4096 for a context, or are all 0 for one that is
// never used. Stored as bits (bits.ts), context after context: the gamma code of frequency + 1 for symbol 0, 1, 2, … until
// the sum is reached; an unused context is a single 1 bit after a 0 bit, a used one follows a 1 bit.

import { assert } from "../util/index.js";
import type { BitReader, BitWriter } from "./bits.js";
import { CorruptCode } from "./corrupt-code.js";

/** Binary digits of a probability. */
export const PROBABILITY_BITS = 12;
/** What the frequencies of a context sum up to. */
export const FREQUENCY_TOTAL = 1 << PROBABILITY_BITS;
/** Symbols are numbers below this. */
export const SYMBOLS_MAX = 256;

/** The distribution of symbols in each of some contexts. */
export class SymbolModel {
  readonly contexts: number;
  /** `[contexts, SYMBOLS_MAX]`: how many of {@link FREQUENCY_TOTAL} each symbol takes. */
  readonly frequencies: Uint16Array;

  private constructor(contexts: number, frequencies: Uint16Array) {
    this.contexts = contexts;
    this.frequencies = frequencies;
  }

  /** The model that codes symbols best that come `counts` times: `[contexts, SYMBOLS_MAX]`. */
  static fit(counts: Uint32Array): SymbolModel {
    assert(counts.length % SYMBOLS_MAX === 0, `${counts.length} counts are not a row of ${SYMBOLS_MAX} a context`);
    const contexts = counts.length / SYMBOLS_MAX;
    const frequencies = new Uint16Array(counts.length);
    for (let context = 0; context < contexts; context++) {
      const row = context * SYMBOLS_MAX;
      quantise(counts.subarray(row, row + SYMBOLS_MAX), frequencies.subarray(row, row + SYMBOLS_MAX));
    }
    return new SymbolModel(contexts, frequencies);
  }

  /** @throws {CorruptCode} if the bits are not a model of so many contexts */
  static read(reader: BitReader, contexts: number): SymbolModel {
    const frequencies = new Uint16Array(contexts * SYMBOLS_MAX);
    for (let context = 0; context < contexts; context++) {
      if (reader.read(1) === 0) continue;
      let rest = FREQUENCY_TOTAL;
      for (let symbol = 0; rest > 0; symbol++) {
        if (symbol === SYMBOLS_MAX) throw new CorruptCode("its frequencies sum up to too little");
        const frequency = reader.readGamma() - 1;
        if (frequency > rest) throw new CorruptCode("its frequencies sum up to too much");
        frequencies[context * SYMBOLS_MAX + symbol] = frequency;
        rest -= frequency;
      }
    }
    return new SymbolModel(contexts, frequencies);
  }

  write(writer: BitWriter): void {
    for (let context = 0; context < this.contexts; context++) {
      const row = this.frequencies.subarray(context * SYMBOLS_MAX, (context + 1) * SYMBOLS_MAX);
      const isUsed = row.some((frequency) => frequency > 0);
      writer.write(Number(isUsed), 1);
      let rest = isUsed ? FREQUENCY_TOTAL : 0;
      for (let symbol = 0; rest > 0; symbol++) {
        writer.writeGamma(row[symbol]! + 1);
        rest -= row[symbol]!;
      }
    }
  }

  /** Bits that so many symbols take in this model, without the model's own. */
  bitsFor(counts: Uint32Array): number {
    let bits = 0;
    for (let i = 0; i < counts.length; i++) {
      if (counts[i]! > 0) bits += counts[i]! * (PROBABILITY_BITS - Math.log2(this.frequencies[i]!));
    }
    return bits;
  }
}

/** Bits of an ideal code for symbols that come `counts` times in one context. */
export function entropyBits(counts: Uint32Array): number {
  let total = 0;
  let bits = 0;
  for (let i = 0; i < counts.length; i++) {
    const count = counts[i]!;
    if (count === 0) continue;
    total += count;
    bits -= count * Math.log2(count);
  }
  return total === 0 ? 0 : bits + total * Math.log2(total);
}

/**
 * Scales counts to frequencies, at least 1 for what occurs. What rounding leaves over or lacks goes to or comes from the
 * most frequent symbols, to which it matters least.
 */
function quantise(counts: Uint32Array, into: Uint16Array): void {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total === 0) return;
  let rest = FREQUENCY_TOTAL;
  for (let symbol = 0; symbol < SYMBOLS_MAX; symbol++) {
    if (counts[symbol] === 0) continue;
    into[symbol] = Math.max(1, Math.round((counts[symbol]! * FREQUENCY_TOTAL) / total));
    rest -= into[symbol]!;
  }
  while (rest !== 0) {
    let largest = 0;
    for (let symbol = 1; symbol < SYMBOLS_MAX; symbol++) if (into[symbol]! > into[largest]!) largest = symbol;
    // No more at a time than keeps the order of the most frequent roughly as it is.
    const step = rest > 0 ? rest : Math.max(rest, -Math.ceil(into[largest]! / 8));
    into[largest]! += step;
    rest -= step;
  }
}
