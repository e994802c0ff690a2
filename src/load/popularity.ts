import type { Dice } from "./dice.js";

/** Which of the models a request is for, the most popular first. */
export type Popularity =
  /** Model k of n has a share proportional to 1 / k^exponent. */
  | { readonly kind: "zipf"; readonly exponent: number }
  | { readonly kind: "uniform" }
  /** Each in turn, so that as many different ones as there are follow each other. */
  | { readonly kind: "distinct" }
  /** The first gets everything. */
  | { readonly kind: "single" };

/** `"zipf"` (exponent 1), `"zipf:1.2"`, `"uniform"`, `"distinct"`, `"single"` → popularity; undefined when it is none of these. */
export function parsePopularity(text: string): Popularity | undefined {
  if (text === "uniform" || text === "distinct" || text === "single") return { kind: text };
  const match = /^zipf(?::(.+))?$/.exec(text);
  const exponent = Number(match?.[1] ?? 1);
  return match && Number.isFinite(exponent) && exponent >= 0 ? { kind: "zipf", exponent } : undefined;
}

/** What part of all requests each of `count` models gets in the long run; the parts sum to 1. */
export function sharesOf(popularity: Popularity, count: number): number[] {
  if (popularity.kind === "single") return Array.from({ length: count }, (_, index) => (index === 0 ? 1 : 0));
  const exponent = popularity.kind === "zipf" ? popularity.exponent : 0;
  const weights = Array.from({ length: count }, (_, index) => (index + 1) ** -exponent);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}

/** Endless indexes of models, each request's own whatever the one before asked for; but in turn for `distinct`. */
export function* modelChoices(popularity: Popularity, count: number, dice: Dice): Generator<number> {
  if (popularity.kind === "distinct") for (let request = 0; ; request++) yield request % count;
  let sum = 0;
  const reached = sharesOf(popularity, count).map((share) => (sum += share));
  for (;;) {
    const drawn = dice.uniform() * sum;
    yield firstAbove(reached, drawn);
  }
}

/** The index of the first of ascending `values` that is above `value`. */
function firstAbove(values: readonly number[], value: number): number {
  let low = 0;
  let high = values.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle]! > value) high = middle;
    else low = middle + 1;
  }
  return low;
}
