import { uniformAt } from "../util/index.js";

/** Random draws that a seed repeats. Streams of one seed are independent: what is drawn from one changes no other. */
export class Dice {
  readonly #seed: number;
  #draws = 0;

  /** @param seed below 2^32 @param stream below 2^20 */
  constructor(seed: number, stream: number) {
    this.#seed = seed + (1 + stream) * 2 ** 32;
  }

  /** Uniform in [0, 1). */
  uniform(): number {
    this.#draws += 1;
    return uniformAt(this.#seed, this.#draws);
  }

  /** Exponential with mean 1. */
  exponential(): number {
    return -Math.log(1 - this.uniform());
  }

  /** Normal with mean 0 and variance 1 (Box and Muller 1958). */
  normal(): number {
    return Math.sqrt(2 * this.exponential()) * Math.cos(2 * Math.PI * this.uniform());
  }

  /**
   * Gamma with this shape and scale 1 (Marsaglia and Tsang 2000). Below a shape of 1 by way of `shape + 1`, in logarithms, where the
   * power of a uniform draw cannot underflow.
   */
  gamma(shape: number): number {
    if (shape < 1) return Math.exp(Math.log(this.gamma(shape + 1)) + Math.log(1 - this.uniform()) / shape);
    const d = shape - 1 / 3;
    const c = 1 / Math.sqrt(9 * d);
    for (;;) {
      const x = this.normal();
      const v = (1 + c * x) ** 3;
      if (v <= 0) continue;
      if (Math.log(1 - this.uniform()) < 0.5 * x * x + d - d * v + d * Math.log(v)) return d * v;
    }
  }
}
