import type { Sequence } from "../core/index.js";
import { assert } from "../util/index.js";

/**
 * The words of a sequence that penalties are for, and how often each was generated. What a sequence hears is added as it comes, so
 * that a draw costs nothing for what was heard long ago.
 */
export class HeardWords {
  /** Whether words of the prompt count, which are in the list with 0 times until they are generated. */
  readonly #withPrompt: boolean;
  readonly #wordsMax: number;
  readonly #places = new Map<number, number>();
  /** Pairs of a word and its times, with room for more. */
  #pairs = new Int32Array(64);
  #heard: number;

  /** @param wordsMax words from there on are none of the vocabulary */
  constructor(sequence: Sequence, options: { withPrompt: boolean; wordsMax: number }) {
    this.#withPrompt = options.withPrompt;
    this.#wordsMax = options.wordsMax;
    this.#heard = this.#withPrompt ? 0 : sequence.spec.prompt.length;
  }

  /** Pairs of a word and how often it was generated, up to the sequence's last token; good until the next call. */
  hear({ spec, tokens }: Sequence): Int32Array {
    assert(this.#heard <= tokens.length, `sequence ${spec.id} has lost tokens`);
    for (; this.#heard < tokens.length; this.#heard++) {
      const word = tokens[this.#heard]!;
      if (word >= this.#wordsMax) continue;
      const place = this.#placeOf(word);
      if (this.#heard >= spec.prompt.length) this.#pairs[place + 1]! += 1;
    }
    return this.#pairs.subarray(0, 2 * this.#places.size);
  }

  #placeOf(word: number): number {
    const known = this.#places.get(word);
    if (known !== undefined) return known;
    const place = 2 * this.#places.size;
    if (place === this.#pairs.length) {
      const longer = new Int32Array(2 * place);
      longer.set(this.#pairs);
      this.#pairs = longer;
    }
    this.#places.set(word, place);
    this.#pairs[place] = word;
    return place;
  }
}
