import { assert } from "../util/index.js";
import { type Difference, pairedDifference } from "./paired-proportions.js";

/** A model's greedy answer to one item. */
export interface Answer {
  /** With the token that ended it, if one did. */
  readonly tokens: readonly number[];
  /** Its text is the reference's, but for outer white space. */
  readonly isRight: boolean;
}

/** A candidate's greedy answers beside its fine-tune's. */
export interface AnswerComparison {
  readonly items: number;
  /** Share of items to which both give the same answer, token for token. */
  readonly identical: number;
  /** Of the others, the median place of the first token that is not the fine-tune's, from 0; null where there are none. */
  readonly medianDivergence: number | null;
  /** Share of items answered right, and the fine-tune's. */
  readonly accuracy: number;
  readonly tunedAccuracy: number;
  /** Items that the fine-tune has right and the candidate wrong. */
  readonly lost: number;
  /** Items that the fine-tune has wrong and the candidate right. */
  readonly won: number;
  /** `accuracy - tunedAccuracy` and its 95 % interval, paired. */
  readonly difference: Difference;
}

/** Compares answers to the same items in the same order. */
export function compareAnswers(tuned: readonly Answer[], candidate: readonly Answer[]): AnswerComparison {
  const items = tuned.length;
  assert(items > 0 && candidate.length === items, `${candidate.length} answers are compared with ${items}`);
  const counts = { bothRight: 0, lost: 0, won: 0, bothWrong: 0 };
  const divergences: number[] = [];
  for (const [index, before] of tuned.entries()) {
    const after = candidate[index]!;
    const place = firstDifference(before.tokens, after.tokens);
    if (place !== null) divergences.push(place);
    if (before.isRight) counts[after.isRight ? "bothRight" : "lost"] += 1;
    else counts[after.isRight ? "won" : "bothWrong"] += 1;
  }
  divergences.sort((a, b) => a - b);
  const { bothRight, lost, won } = counts;
  return {
    items,
    identical: 1 - divergences.length / items,
    medianDivergence: divergences[Math.ceil(divergences.length / 2) - 1] ?? null,
    accuracy: (bothRight + won) / items,
    tunedAccuracy: (bothRight + lost) / items,
    lost,
    won,
    difference: pairedDifference(counts),
  };
}

/** Where the second of two answers leaves the first; null where it does not. */
function firstDifference(before: readonly number[], after: readonly number[]): number | null {
  const place = before.findIndex((token, at) => token !== after[at]);
  if (place !== -1) return place;
  return after.length > before.length ? before.length : null;
}
