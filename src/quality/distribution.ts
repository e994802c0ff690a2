import { assert } from "../util/index.js";

/** What a model says comes next: a row of logits, and the probabilities they stand for. */
export interface Distribution {
  readonly logits: Float32Array;
  readonly probabilities: Float64Array;
  /** ln Σ exp(logit) */
  readonly logSum: number;
  /** The likeliest token, the first of equals. */
  readonly top: number;
}

/** How a candidate's row differs from the reference's. */
export interface RowComparison {
  /** KL(reference ‖ candidate) in nats: Σ p·(ln p − ln q). 0 for equal rows, never negative, NaN where a logit is. */
  readonly kl: number;
  /** The candidate's likeliest token. */
  readonly top: number;
  /** The candidate's probability of the target minus the reference's. */
  readonly targetDifference: number;
}

/** Softmax in double precision. */
export function distributionOf(logits: Float32Array): Distribution {
  assert(logits.length > 0, "an empty row is no distribution");
  const top = argmax(logits);
  const max = logits[top]!;
  const probabilities = new Float64Array(logits.length);
  let sum = 0;
  for (let i = 0; i < logits.length; i++) {
    const weight = Math.exp(logits[i]! - max);
    probabilities[i] = weight;
    sum += weight;
  }
  for (let i = 0; i < logits.length; i++) probabilities[i]! /= sum;
  return { logits, probabilities, logSum: max + Math.log(sum), top };
}

/**
 * Holds a candidate's logits against a reference row. Where the candidate has a smaller vocabulary, as a base has whose fine-tune
 * added words, the divergence is that over the words both have; what a row does not have, it never says. Where it has a larger one,
 * what it says beyond the reference's words counts as what the reference never says.
 *
 * @param target the token that came next
 */
export function compareRow(reference: Distribution, logits: Float32Array, target: number): RowComparison {
  const shared =
    logits.length < reference.logits.length ? distributionOf(reference.logits.subarray(0, logits.length)) : reference;
  const top = argmax(logits);
  const max = logits[top]!;
  let sum = 0;
  let difference = 0; // Σ p·(a − b) over logits a of the reference and b of the candidate
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i]! - max);
  for (let i = 0; i < shared.logits.length; i++) {
    difference += shared.probabilities[i]! * (shared.logits[i]! - logits[i]!);
  }
  const logSum = max + Math.log(sum);
  const kl = difference + logSum - shared.logSum;
  const probability = target < logits.length ? Math.exp(logits[target]! - logSum) : 0;
  // Rounding leaves some 1e-15 where the rows are equal.
  return { kl: Math.max(kl, 0), top, targetDifference: probability - reference.probabilities[target]! };
}

function argmax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}
