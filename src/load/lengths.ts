import type { Dice } from "./dice.js";

/**
 * How many tokens, as quantiles at equal steps of probability: `[128]` is always 128, `[50, 200]` anything between as likely, and
 * `[10, 40, 900]` has 40 as its median.
 */
export type Lengths = readonly number[];

/** `"128"` or `"10,40,900"` → lengths; undefined when they are no ascending positive integers. */
export function parseLengths(text: string): Lengths | undefined {
  const values = text.split(",").map(Number);
  const isOne = (value: number, index: number) =>
    Number.isSafeInteger(value) && value >= 1 && value >= (values[index - 1] ?? 1);
  return values.every(isOne) ? values : undefined;
}

/** A number of tokens, on straight lines between the quantiles. */
export function drawLength(lengths: Lengths, dice: Dice): number {
  const place = dice.uniform() * (lengths.length - 1);
  const below = Math.floor(place);
  const from = lengths[below]!;
  const to = lengths[below + 1] ?? from;
  return Math.round(from + (place - below) * (to - from));
}
