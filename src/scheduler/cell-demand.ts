import type { Sequence } from "../core/index.js";

/** Answers that are remembered, and how many say enough of the next one. */
const answersMax = 128;
const answersMin = 8;
/** Tokens that an answer is taken to have before that. */
const guessedTokens = 64;
/** Cells by which a sequence grows that came to the end of those it had. */
const growthCells = 16;

/**
 * How many cells sequences have memory for. Most answers end long before they come to what they may have, so a sequence is let in with
 * memory for an answer such as the last ones were, and grows from there; one that may have little more than that gets it all at once.
 */
export class CellDemand {
  readonly #contextLength: number;
  readonly #preemptionsMax: number;
  /** Tokens that the last answers had, the latest last. */
  readonly #answers: number[] = [];

  /** @param limits.preemptionsMax after so many a sequence is let in with memory for all that it may come to need */
  constructor(limits: { readonly contextLength: number; readonly preemptionsMax: number }) {
    this.#contextLength = limits.contextLength;
    this.#preemptionsMax = limits.preemptionsMax;
  }

  /** Cells that it may come to need: for all tokens that it may have but the last, which is not computed. */
  most({ spec: { prompt, maxTokens } }: Sequence): number {
    return Math.min(prompt.length + maxTokens, this.#contextLength) - 1;
  }

  /** Cells that it is let in with. */
  first(sequence: Sequence): number {
    const most = this.most(sequence);
    const expected = this.#expectedTokens();
    const cells = sequence.tokens.length + expected;
    return sequence.preemptions >= this.#preemptionsMax || most <= cells + expected ? most : cells;
  }

  /** Cells that it has when it needs more than it had. */
  next(sequence: Sequence): number {
    return Math.min(this.most(sequence), sequence.tokens.length + growthCells);
  }

  /** A sequence has ended, or was left: what it has generated is an answer. */
  learn({ generatedTokens }: Sequence): void {
    if (generatedTokens === 0) return;
    this.#answers.push(generatedTokens);
    if (this.#answers.length > answersMax) this.#answers.shift();
  }

  /** The median: half of all grow, and those that end early leave them the memory for it. */
  #expectedTokens(): number {
    if (this.#answers.length < answersMin) return guessedTokens;
    const sorted = [...this.#answers].sort((a, b) => a - b);
    return sorted[sorted.length >> 1]!;
  }
}
