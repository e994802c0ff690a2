import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { readingSteps } from "./reading-steps.js";

const sample = (length: number, firstCounted: number) => ({ tokens: new Array<number>(length).fill(0), firstCounted });

test("a chat that fits a step is read in one, and the last token is not read", () => {
  const steps = readingSteps(sample(20, 15), { stepTokens: 512, rowsMax: 40 });
  assert.deepEqual(steps, [{ count: 19, scored: 5, firstTarget: 15 }]);
});

test("a long prompt goes first without a row", () => {
  const steps = readingSteps(sample(20, 15), { stepTokens: 10, rowsMax: 40 });
  assert.deepEqual(steps, [
    { count: 10, scored: 0, firstTarget: 11 },
    { count: 9, scored: 5, firstTarget: 15 },
  ]);
});

test("however it is cut, every token that counts is asked about once, in order and within the limits", () => {
  const cases = fc.record({
    length: fc.integer({ min: 2, max: 90 }),
    first: fc.nat(89),
    stepTokens: fc.integer({ min: 1, max: 40 }),
    rowsMax: fc.integer({ min: 1, max: 40 }),
  });
  fc.assert(
    fc.property(cases, ({ length, first, stepTokens, rowsMax }) => {
      const firstCounted = 1 + (first % (length - 1));
      const steps = readingSteps(sample(length, firstCounted), { stepTokens, rowsMax });
      let read = 0;
      const asked: number[] = [];
      for (const { count, scored, firstTarget } of steps) {
        assert.ok(count >= 1 && count <= stepTokens && scored <= Math.min(count, rowsMax));
        read += count;
        for (let row = 0; row < scored; row++) asked.push(firstTarget + row);
        assert.ok(scored === 0 || asked.at(-1) === read, "the last row is that of the last token read");
      }
      assert.equal(read, length - 1);
      assert.deepEqual(
        asked,
        Array.from({ length: length - firstCounted }, (_, i) => firstCounted + i),
      );
    }),
  );
});
