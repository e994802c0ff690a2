import { assert } from "../util/index.js";
import type { RowComparison } from "./distribution.js";

/** How closely a candidate says what its reference says, over some positions. Divergences are in nats a token. */
export interface Fidelity {
  readonly positions: number;
  /** KL(reference ‖ candidate): the mean, and the values that so many per cent of the positions do not exceed. */
  readonly kl: {
    readonly mean: number;
    readonly median: number;
    readonly p90: number;
    readonly p99: number;
    readonly p999: number;
    readonly max: number;
  };
  /** Share of positions at which both find the same token likeliest. */
  readonly topAgreement: number;
  /** Root mean square of what the probability of the token that came next differs by. */
  readonly rmsProbability: number;
}

/** Adds up row comparisons. */
export class FidelityTally {
  #kls = new Float64Array(1024);
  #positions = 0;
  #agreeing = 0;
  #squares = 0;

  /** Counts a position; `referenceTop` is the reference's likeliest token there. */
  add({ kl, top, targetDifference }: RowComparison, referenceTop: number): void {
    if (this.#positions === this.#kls.length) {
      const grown = new Float64Array(2 * this.#kls.length);
      grown.set(this.#kls);
      this.#kls = grown;
    }
    this.#kls[this.#positions++] = kl;
    if (top === referenceTop) this.#agreeing += 1;
    this.#squares += targetDifference ** 2;
  }

  /** Must have counted a position. */
  summarise(): Fidelity {
    const positions = this.#positions;
    assert(positions > 0, "nothing was measured");
    const sorted = this.#kls.slice(0, positions).sort();
    /** Nearest rank: the smallest value that at least this share does not exceed. */
    const quantile = (share: number) => sorted[Math.max(0, Math.ceil(share * positions - 1e-9) - 1)]!;
    return {
      positions,
      kl: {
        mean: sorted.reduce((sum, kl) => sum + kl, 0) / positions,
        median: quantile(0.5),
        p90: quantile(0.9),
        p99: quantile(0.99),
        p999: quantile(0.999),
        max: sorted[positions - 1]!,
      },
      topAgreement: this.#agreeing / positions,
      rmsProbability: Math.sqrt(this.#squares / positions),
    };
  }
}

/**
 * The part of the way from base to fine-tune that a candidate covers: 1 − KL(fine-tune ‖ candidate) / KL(fine-tune ‖ base), by mean
 * divergence; null where base and fine-tune say the same. Negative for a candidate that is further off than the base.
 */
export function recoveredFraction(candidate: Fidelity, base: Fidelity): number | null {
  return base.kl.mean === 0 ? null : 1 - candidate.kl.mean / base.kl.mean;
}
