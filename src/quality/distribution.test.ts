import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { compareRow, distributionOf } from "./distribution.js";

const row = (...logits: number[]) => Float32Array.from(logits);
const rows = (length: number) =>
  fc
    .array(fc.float({ min: -40, max: 40, noNaN: true }), { minLength: length, maxLength: length })
    .map((x) => row(...x));

test("two rows that can be worked out by hand", () => {
  const reference = distributionOf(row(Math.log(3), 0)); // 3/4, 1/4
  const { kl, top, targetDifference } = compareRow(reference, row(0, 0), 0);
  assert.ok(Math.abs(kl - (0.75 * Math.log(1.5) + 0.25 * Math.log(0.5))) < 1e-7);
  assert.ok(Math.abs(targetDifference - -0.25) < 1e-7);
  assert.deepEqual([reference.top, top], [0, 0]);
});

test("a row is no distance from itself, nor from itself moved by a constant", () => {
  fc.assert(
    fc.property(rows(50), (logits) => {
      const reference = distributionOf(logits);
      const { kl, top, targetDifference } = compareRow(reference, logits, 7);
      assert.deepEqual([kl, top], [0, reference.top]);
      assert.ok(Math.abs(targetDifference) < 1e-12);
    }),
  );
  const logits = row(...Array.from({ length: 5000 }, (_, i) => ((i * 37) % 101) / 8));
  const { kl } = compareRow(
    distributionOf(logits),
    logits.map((logit) => logit + 64),
    0,
  );
  assert.ok(kl < 1e-9, `${kl}`);
});

test("a divergence is never negative and is what its definition says", () => {
  fc.assert(
    fc.property(rows(9), rows(9), fc.nat(8), (a, b, target) => {
      const p = distributionOf(a);
      const q = distributionOf(b);
      const { kl, top, targetDifference } = compareRow(p, b, target);
      const defined = p.probabilities.reduce((sum, x, i) => sum + x * (a[i]! - p.logSum - (b[i]! - q.logSum)), 0);
      assert.ok(kl >= 0 && Math.abs(kl - defined) < 1e-9, `${kl} ${defined}`);
      assert.equal(top, q.top);
      assert.ok(Math.abs(targetDifference - (q.probabilities[target]! - p.probabilities[target]!)) < 1e-12);
    }),
  );
});

test("logits beyond what exp reaches are no trouble", () => {
  const reference = distributionOf(row(3000, 2999, -3000));
  assert.ok(Math.abs(reference.probabilities[0]! - 1 / (1 + Math.exp(-1))) < 1e-12);
  assert.ok(Math.abs(compareRow(reference, row(-3000, -3001, 0), 0).kl - 3000) < 1);
});

test("a candidate of fewer words is held against those that both have, and never says the others", () => {
  const reference = distributionOf(row(1, 2, 30));
  const { kl, top, targetDifference } = compareRow(reference, row(1, 2), 2);
  assert.equal(kl, 0);
  assert.equal(top, 1);
  assert.equal(targetDifference, -reference.probabilities[2]!);
});

test("what is not a number does not pass for a divergence", () => {
  const reference = distributionOf(row(1, 2));
  assert.ok(Number.isNaN(compareRow(reference, row(Number.NaN, 2), 1).kl));
  assert.ok(Number.isNaN(compareRow(distributionOf(row(1, Number.NaN)), row(1, 2), 1).kl));
});

test("what a candidate of more words says beyond its reference's is lost to the others", () => {
  const reference = distributionOf(row(1, 2));
  const { kl, top, targetDifference } = compareRow(reference, row(1, 2, 4), 0);
  const known = Math.exp(1) + Math.exp(2);
  const share = known / (known + Math.exp(4));
  assert.ok(Math.abs(kl + Math.log(share)) < 1e-6, `${kl}`);
  assert.equal(top, 2);
  assert.ok(Math.abs(targetDifference - reference.probabilities[0]! * (share - 1)) < 1e-6);
});
