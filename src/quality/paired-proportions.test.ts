import assert from "node:assert/strict";
import { test } from "node:test";
import { uniformAt } from "../util/index.js";
import { pairedDifference } from "./paired-proportions.js";

test("an interval holds its difference and stays within one", () => {
  for (const counts of [
    [10, 0, 0, 0],
    [0, 10, 0, 0],
    [0, 0, 10, 0],
    [90, 5, 3, 2],
    [1, 0, 0, 1],
  ]) {
    const [bothRight, lost, won, bothWrong] = counts as [number, number, number, number];
    const { value, low, high } = pairedDifference({ bothRight, lost, won, bothWrong });
    assert.ok(low <= value && value <= high && low >= -1 && high <= 1, JSON.stringify({ counts, value, low, high }));
    assert.ok(high > low, "an interval from a sample has a width");
  }
});

test("exchanging before and after mirrors it", () => {
  const there = pairedDifference({ bothRight: 250, lost: 12, won: 4, bothWrong: 34 });
  const back = pairedDifference({ bothRight: 250, lost: 4, won: 12, bothWrong: 34 });
  assert.equal(there.value, -back.value);
  assert.ok(Math.abs(there.low + back.high) < 1e-12 && Math.abs(there.high + back.low) < 1e-12);
});

test("the more items, the narrower", () => {
  const width = (times: number) => {
    const { low, high } = pairedDifference({
      bothRight: 80 * times,
      lost: 5 * times,
      won: 2 * times,
      bothWrong: 13 * times,
    });
    return high - low;
  };
  assert.ok(width(1) > width(3) && width(3) > width(10));
  assert.ok(Math.abs(width(100) / width(10000) - 10) < 0.5, "as the root of the number of items");
});

test("of many samples of 300 items, the intervals of about 95 in 100 hold the true difference", () => {
  // Right before 0.9; of those 3 % are lost, of the others 10 % won: after, 0.883.
  const truth = 0.1 * 0.1 - 0.9 * 0.03;
  const samples = 1500;
  let held = 0;
  for (let sample = 0; sample < samples; sample++) {
    const counts = { bothRight: 0, lost: 0, won: 0, bothWrong: 0 };
    for (let item = 0; item < 300; item++) {
      const changes = uniformAt(2 * sample + 1, item);
      if (uniformAt(2 * sample, item) < 0.9) counts[changes < 0.03 ? "lost" : "bothRight"] += 1;
      else counts[changes < 0.1 ? "won" : "bothWrong"] += 1;
    }
    const { low, high } = pairedDifference(counts);
    if (low <= truth && truth <= high) held += 1;
  }
  assert.ok(held / samples > 0.93 && held / samples < 0.98, `${held / samples}`);
});
