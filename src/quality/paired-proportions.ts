import { assert } from "../util/index.js";

/** The same items judged twice, as numbers of items. */
export interface PairedCounts {
  readonly bothRight: number;
  /** Right before, wrong after. */
  readonly lost: number;
  /** Wrong before, right after. */
  readonly won: number;
  readonly bothWrong: number;
}

/** A difference of two shares with its 95 % confidence interval. */
export interface Difference {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

/** Of the standard normal distribution, the point that 2.5 % lie beyond. */
const z = 1.959963984540054;

/**
 * Share right after minus share right before, with Newcombe's interval for paired proportions: two Wilson intervals, put together
 * with the correlation of the pairs (Newcombe, Statistics in Medicine 17, 1998, pp. 2635–2650, method 10). It stays within ±1 and
 * keeps a width where no item changed.
 */
export function pairedDifference({ bothRight: a, lost: b, won: c, bothWrong: d }: PairedCounts): Difference {
  const n = a + b + c + d;
  assert(n > 0, "no items were judged");
  const [before, after] = [a + b, a + c];
  const value = (after - before) / n;
  const from = wilson(before, n);
  const to = wilson(after, n);
  const phi = correlation(a, b, c, d);
  const spread = (x: number, y: number) => Math.sqrt(Math.max(0, x * x - 2 * phi * x * y + y * y));
  const [p, q] = [after / n, before / n];
  return {
    value,
    low: value - spread(p - to.low, from.high - q),
    high: value + spread(to.high - p, q - from.low),
  };
}

/** Wilson's score interval of `count` in `n`. */
function wilson(count: number, n: number): { low: number; high: number } {
  const p = count / n;
  const centre = p + (z * z) / (2 * n);
  const spread = z * Math.sqrt((p * (1 - p)) / n + (z * z) / (4 * n * n));
  const scale = 1 + (z * z) / n;
  return { low: (centre - spread) / scale, high: (centre + spread) / scale };
}

/** φ of the four counts, a positive one corrected for continuity as the method asks; 0 where a margin is empty. */
function correlation(a: number, b: number, c: number, d: number): number {
  const margins = (a + b) * (c + d) * (a + c) * (b + d);
  if (margins === 0) return 0;
  const determinant = a * d - b * c;
  const corrected = determinant > 0 ? Math.max(0, determinant - (a + b + c + d) / 2) : determinant;
  return corrected / Math.sqrt(margins);
}
