/**
 * How much something was used of late. Each use counts one, and half as much whenever {@link halfLifeTurns} more turns have passed: between
 * the most recent (a half-life of none) and the most frequent (an endless one), which each alone forgets what the other knows.
 */
export interface Heat {
  readonly value: number;
  /** The turn that the value is of. */
  readonly turn: number;
}

/** Turns, of which each use of anything is one, in which a use comes to count half. */
const halfLifeTurns = 256;

/** What was never used. */
export const coldest: Heat = { value: 0, turn: 0 };

/** What the heat has sunk to at a turn. */
export function heatAt({ value, turn }: Heat, now: number): number {
  return value * 2 ** ((turn - now) / halfLifeTurns);
}

/** The heat after one more use. */
export function heated(heat: Heat, now: number): Heat {
  return { value: heatAt(heat, now) + 1, turn: now };
}
