import assert from "node:assert/strict";
import { test } from "node:test";
import { uniformAt } from "./rng.js";

test("a draw depends on seed and position alone", () => {
  assert.equal(uniformAt(7, 3), uniformAt(7, 3));
  const draws = new Set<number>();
  for (const seed of [0, 1, 2 ** 31, 2 ** 32, 2 ** 32 + 1, 2 ** 53 - 1]) {
    for (let position = 0; position < 100; position++) draws.add(uniformAt(seed, position));
  }
  assert.ok(draws.size >= 598, `only ${draws.size} of 600 draws differ`);
});

/** Chi-square of `counts` against equal shares. */
const chiSquare = (counts: readonly number[]) => {
  const expected = counts.reduce((a, b) => a + b) / counts.length;
  return counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
};

test("draws fill [0, 1) evenly along positions, along seeds, and in pairs", () => {
  const bins = 64;
  const spread = (draw: (at: number) => number) => {
    const counts = new Array<number>(bins).fill(0);
    for (let at = 0; at < 64_000; at++) {
      const value = draw(at);
      assert.ok(value >= 0 && value < 1);
      counts[Math.floor(value * bins)]! += 1;
    }
    return chiSquare(counts);
  };
  // 63 degrees of freedom: 103 is passed by chance once in a thousand, and nothing here is left to chance.
  assert.ok(spread((at) => uniformAt(42, at)) < 103);
  assert.ok(spread((at) => uniformAt(at, 0)) < 103);
  assert.ok(spread((at) => (8 * Math.floor(8 * uniformAt(9, at)) + Math.floor(8 * uniformAt(9, at + 1))) / 64) < 103);
});
