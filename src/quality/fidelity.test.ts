import assert from "node:assert/strict";
import { test } from "node:test";
import { FidelityTally, recoveredFraction } from "./fidelity.js";

function tallyOf(kls: readonly number[], tops: readonly number[] = [], targetDifference = 0) {
  const tally = new FidelityTally();
  for (const [index, kl] of kls.entries()) tally.add({ kl, top: tops[index] ?? 1, targetDifference }, 1);
  return tally.summarise();
}

test("of a thousand divergences the ranks are their values, whatever order they come in", () => {
  const kls = Array.from({ length: 1000 }, (_, i) => ((i * 387) % 1000) + 1);
  const { positions, kl } = tallyOf(kls);
  assert.equal(positions, 1000);
  assert.deepEqual(kl, { mean: 500.5, median: 500, p90: 900, p99: 990, p999: 999, max: 1000 });
});

test("one position is every rank", () => {
  assert.deepEqual(tallyOf([0.5]).kl, { mean: 0.5, median: 0.5, p90: 0.5, p99: 0.5, p999: 0.5, max: 0.5 });
});

test("more positions than it first has room for are all counted", () => {
  const { positions, kl } = tallyOf(Array.from({ length: 5000 }, (_, i) => i));
  assert.deepEqual([positions, kl.max, kl.mean], [5000, 4999, 2499.5]);
});

test("agreement is the share of equal tops, and probabilities differ by their root mean square", () => {
  const { topAgreement, rmsProbability } = tallyOf([0, 0, 0, 0], [1, 1, 2, 1], -0.25);
  assert.deepEqual([topAgreement, rmsProbability], [0.75, 0.25]);
});

test("a candidate recovers all, half, nothing, or less than that", () => {
  const base = tallyOf([4]);
  const fractions = [0, 2, 4, 6].map((kl) => recoveredFraction(tallyOf([kl]), base));
  assert.deepEqual(fractions, [1, 0.5, 0, -0.5]);
  assert.equal(recoveredFraction(tallyOf([0]), tallyOf([0])), null);
});
