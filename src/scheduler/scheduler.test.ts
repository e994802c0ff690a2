import assert from "node:assert/strict";
import { test } from "node:test";
import { Overloaded } from "../core/index.js";
import { draw, endToken, facts, plans, printPlan, scheduler, sequence, step } from "./scheduler.test.kit.js";

const nobody = facts();

test("a prompt is one span, then each step one token, until the tokens it may generate", () => {
  const made = scheduler({}, "a:5+3");
  assert.deepEqual(
    [step(made), step(made), step(made)],
    [
      { plan: "a:5!", finished: [] },
      { plan: "a:1!", finished: [] },
      { plan: "a:1!", finished: ["a length"] },
    ],
  );
  assert.ok(made.isIdle);
  assert.equal(printPlan(made.plan(nobody)), "");
});

test("an end token stops a sequence, also as the last one it may generate", () => {
  const made = scheduler({}, "a:3", "b:3+1");
  assert.deepEqual(step(made, { tokens: { a: endToken, b: endToken } }).finished, ["a stop", "b stop"]);
});

test("a full region ends a sequence with length", () => {
  const made = scheduler({ contextLength: 8 }, "a:6");
  assert.deepEqual([step(made).finished, step(made).finished], [[], ["a length"]]);
});

test("a long prompt is computed in chunks of what the step has left, and draws only at its end", () => {
  const made = scheduler({ stepTokens: 4 }, "a:10");
  assert.deepEqual(plans(made, 4), ["a:4", "a:4", "a:2!", "a:1!"]);
});

test("sequences that decode come before prompts, however long those are", () => {
  const made = scheduler({ stepTokens: 6 }, "a:2");
  step(made);
  made.add(sequence("b:9"));
  made.add(sequence("c:2"));
  assert.deepEqual(plans(made, 3), ["a:1! b:5", "a:1! b:4! c:1", "a:1! b:1! c:1!"]);
});

test("a budget below the number of decoding sequences serves the earliest first and all in the end", () => {
  const made = scheduler({ stepTokens: 2 }, "a:1+2", "b:1+2", "c:1+2");
  assert.deepEqual(plans(made, 3), ["a:1! b:1!", "a:1! b:1!", "c:1!"]);
});

test("as many run as there are regions; the next is let in when one ends", () => {
  const made = scheduler({ regions: 2 }, "a:1+1", "b:1+2", "c:1");
  assert.deepEqual(plans(made, 2), ["a:1! b:1!", "b:1! c:1!"]);
  assert.deepEqual([made.runningCount, made.waitingCount], [1, 0]);
});

test("the queue takes what the free regions will, and as many more as it is long", () => {
  const made = scheduler({ regions: 2, queueMax: 1 }, "a:1", "b:1", "c:1");
  const refuse = () =>
    assert.throws(
      () => made.add(sequence("d:1")),
      (error: unknown) => error instanceof Overloaded && error.status === 429 && error.retryAfterSeconds >= 1,
    );
  refuse();
  step(made);
  refuse();
  made.abort("a");
  made.add(sequence("d:1"));
  refuse();
});

test("a sequence that does not fit a region is a mistake of the caller", () => {
  assert.throws(() => scheduler({ contextLength: 8 }, "a:8"), /sequence a does not fit a region/);
});

test("a sequence that began elsewhere is computed whole and goes on where it was", () => {
  const made = scheduler({});
  made.add({ ...sequence("a:3+4"), generated: [50, 51] });
  const plan = made.plan(nobody);
  assert.equal(printPlan(plan), "a:5!");
  made.commit(plan, draw(plan));
  assert.deepEqual(plan.spans[0]!.sequence.tokens, [...sequence("a:3").prompt, 50, 51, 7]);
  assert.deepEqual(step(made).finished, ["a length"]);
});

test("a variant that is not resident is wanted, and others are let in meanwhile", () => {
  const made = scheduler({}, "a@clinc:2", "b:3", "c@dates:1", "d@clinc:1");
  assert.equal(step(made).plan, "b:3! wants clinc dates");
  assert.equal(step(made, { resident: ["dates"] }).plan, "b:1! c:1! wants clinc");
  assert.equal(step(made, { resident: ["dates", "clinc"] }).plan, "b:1! c:1! d:1! a:2!");
  assert.deepEqual(made.runningVariants, new Set(["clinc", "dates"]));
});

test("one that was overtaken often enough lets nobody past, not even within one plan", () => {
  const made = scheduler({ rules: { overtakenMax: 2 } }, "a@clinc:1", "b:1+1", "c:1+1", "d:1+1");
  assert.equal(step(made).plan, "b:1! c:1! wants clinc");
  assert.equal(step(made).plan, "wants clinc");
  assert.equal(step(made, { resident: ["clinc"] }).plan, "a:1! d:1!");
});

test("nobody overtakes for want of a region", () => {
  const made = scheduler({ regions: 1 }, "a:1+2", "b@clinc:1", "c:1");
  assert.deepEqual(plans(made, 2), ["a:1! wants clinc", "a:1! wants clinc"]);
  assert.equal(step(made, { resident: ["clinc"] }).plan, "b:1!");
});

test("aborting gives the place back, waiting or running, and says whether there was one", () => {
  const made = scheduler({ regions: 1 }, "a:4", "b:1", "c:1");
  step(made);
  assert.deepEqual(
    ["b", "a", "a", "nobody"].map((id) => made.abort(id)),
    [true, true, false, false],
  );
  assert.equal(step(made).plan, "c:1!");
});

test("what was aborted while its step ran is not committed, and its region is already another's", () => {
  const made = scheduler({ regions: 1 }, "a:2", "b:2");
  const plan = made.plan(nobody);
  made.abort("a");
  const next = made.plan(nobody);
  assert.equal(printPlan(next), "b:2!");
  assert.deepEqual(made.commit(plan, draw(plan)), []);
  assert.equal(plan.spans[0]!.sequence.tokens.length, 2);
  assert.deepEqual(made.commit(next, draw(next)), []);
  assert.equal(made.runningCount, 1);
});

test("a variant that cannot be had takes its sequences out, running and waiting", () => {
  const made = scheduler({ regions: 2 }, "a@clinc:1", "b:1", "c@clinc:1", "d@dates:1");
  step(made, { resident: ["clinc"] });
  assert.deepEqual(made.abortVariant("clinc").sort(), ["a", "c"]);
  assert.deepEqual(made.abortVariant("clinc"), []);
  assert.equal(step(made, { resident: ["dates"] }).plan, "b:1! d:1!");
});

test("a step that drew no token for a sequence that reached its end is a mistake of the engine", () => {
  const made = scheduler({}, "a:2");
  assert.throws(() => made.commit(made.plan(nobody), []), /no token was drawn for sequence a/);
});

test("whose deadline has come is taken out, waiting or running, and nobody else", () => {
  const made = scheduler({ regions: 1 });
  const until = (deadlineMs: number) => ({ standing: { client: "", priority: 0, deadlineMs } });
  made.add({ ...sequence("a:2"), ...until(300) });
  made.add({ ...sequence("b:2"), ...until(200) });
  made.add(sequence("c:2"));
  plans(made, 2);
  assert.equal(made.nextDeadlineMs, 200);
  assert.deepEqual(made.expire(199), []);
  assert.deepEqual(made.expire(200), [{ id: "b", generatedTokens: 0 }]);
  assert.equal(made.nextDeadlineMs, 300);
  assert.deepEqual(made.expire(1000), [{ id: "a", generatedTokens: 2 }]);
  assert.equal(made.nextDeadlineMs, Number.POSITIVE_INFINITY);
  assert.equal(step(made).plan, "c:2!");
});
