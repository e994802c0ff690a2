import { uniformAt } from "../util/index.js";

/** Random choices that a seed repeats. */
export class Dice {
  readonly #seed: number;
  #throws = 0;

  constructor(seed: number) {
    this.#seed = seed;
  }

  /** An integer, both ends included. */
  between(low: number, high: number): number {
    return low + Math.floor(this.#next() * (high - low + 1));
  }

  chance(probability: number): boolean {
    return this.#next() < probability;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.between(0, from.length - 1)]!;
  }

  #next(): number {
    this.#throws += 1;
    return uniformAt(this.#seed, this.#throws);
  }
}
