// Sequences that grow in 300 cells of a byte each. An open one, "a:4+999", may come to fill a region, and is let in with 64 cells beside
// its prompt.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Budget } from "../memory/index.js";
import type { Rules } from "./rules.js";
import type { Scheduler } from "./scheduler.js";
import { plans, type Scene, scheduler, sequence, step } from "./scheduler.test.kit.js";

/** A scheduler with these in its queue, and its budget. */
function growing(
  { cells = 300, rules = {} }: { cells?: number; rules?: Partial<Rules> },
  ...notations: readonly string[]
): { made: Scheduler; budget: Budget } {
  const budget = new Budget(cells);
  const memory = { budget, bytesOf: (count: number) => count, msOf: (tokens: number) => tokens, discard: () => {} };
  return { made: scheduler({ contextLength: 301, stepTokens: 1000, memory, rules }, ...notations), budget };
}

/** Plans until one prints something else than the one before, and that one. */
function next(made: Scheduler, scene: Scene = {}): string {
  const { plan: before } = step(made, scene);
  for (;;) {
    const { plan } = step(made, scene);
    if (plan !== before) return plan;
  }
}

test("what may come to fill a region is let in with memory for an answer, and has more as it grows", () => {
  const { made, budget } = growing({}, "a:4+999");
  const committed = Array.from({ length: 100 }, () => {
    step(made);
    return budget.bytesCommitted;
  });
  assert.deepEqual([...new Set(committed)], [68, 85, 102, 119]);
});

test("more run than there is memory for at their longest", () => {
  const { made } = growing({}, "a:4+999", "b:4+999", "c:4+999", "d:4+999");
  assert.equal(step(made).plan, "a:4! b:4! c:4! d:4!");
});

test("who needs more than there is has it from the last to come, which goes on from its tokens when there is enough", () => {
  const { made, budget } = growing({}, "a:4+999", "b:4+999");
  step(made);
  assert.equal(next(made), "a:1!");
  assert.equal(made.waitingCount, 1);
  while (made.waitingCount > 0) {
    step(made);
    assert.ok(budget.bytesCommitted <= 300);
  }
  assert.match(step(made, { tokens: { a: 2 } }).plan, /b/);
  while (!made.isIdle) step(made);
});

test("what is needed is first had from what nobody uses", () => {
  const { made, budget } = growing({}, "a:4+999");
  let isThere = true;
  budget.commit(200);
  const release = () => {
    budget.release(200);
    isThere = false;
  };
  budget.join({ holdings: () => (isThere ? [{ bytes: 200, worth: () => 1, release }] : []) });
  for (let steps = 0; steps < 90; steps++) assert.equal(step(made).plan, steps === 0 ? "a:4!" : "a:1!");
  assert.ok(!isThere);
});

test("who has memory for all that it may need gives way to no equal that has not", () => {
  const { made } = growing({}, "a:4+999", "b:40+100", "c:4+80");
  step(made);
  assert.equal(next(made), "b:1! c:1!", "a came first, and has given way itself");
});

test("an urgent one has memory also from a less urgent one that has all it may need", () => {
  const { made } = growing({}, "a:4+999", "b:40+100^1", "c:4+100^2");
  step(made);
  assert.equal(plans(made, 70).at(-1), "a:1! b:1!");
});

test("who has given way often enough has all it may come to need from then on", () => {
  const { made, budget } = growing({ rules: { preemptionsMax: 1 } }, "a:4+999", "b:4+999");
  step(made);
  assert.equal(next(made), "a:1!");
  assert.equal(step(made, { tokens: { a: 2 } }).finished.join(), "a stop");
  assert.match(step(made).plan, /^b:/);
  assert.equal(budget.bytesCommitted, 300);
});

test("with preemptions ruled out everybody has all it may come to need from the start", () => {
  const { made } = growing({ rules: { preemptionsMax: 0 } }, "a:4+999", "b:4+999");
  assert.equal(step(made).plan, "a:4!");
});

test("a variant for which somebody starves is not dropped for one that runs: that one gives way", () => {
  const { made, budget } = growing({ rules: { turnsMax: 2 } }, "a:4+999");
  step(made);
  let isThere = true;
  budget.commit(150);
  const release = () => {
    budget.release(150);
    isThere = false;
  };
  budget.join({
    holdings: (spared) => (isThere && !spared.has("clinc") ? [{ bytes: 150, worth: () => 1, release }] : []),
  });
  made.add(sequence("c@clinc:40+90^1"));
  const scene = { resident: ["clinc"] };
  assert.equal(next(made, scene), "c:40!");
  assert.ok(isThere);
});
