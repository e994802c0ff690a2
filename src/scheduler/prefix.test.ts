import assert from "node:assert/strict";
import { test } from "node:test";
import { Sequence, type SequenceSpec, type StepPlan } from "../core/index.js";
import { Fairness } from "./fairness.js";
import { draw, facts, plans, printPlan, scheduler, sequence, step } from "./scheduler.test.kit.js";

/** A sequence whose prompt begins as the one of `other` does, as far as it goes, and what was drawn for that. */
function after(other: string, notation: string, drawn = 0): SequenceSpec {
  const own = sequence(notation);
  const said = [...sequence(other).prompt, ...new Array<number>(drawn).fill(7)];
  return { ...own, prompt: own.prompt.map((token, at) => said[at] ?? token) };
}

function printCopies({ copies = [] }: StepPlan): string[] {
  return copies.map(({ sequence: { id }, from, to, cells }) => `${id}: ${cells} cells of ${from} to ${to}`);
}

test("the next turn of a chat computes what is new in it, and the last token drawn", () => {
  const made = scheduler({}, "a:20+3");
  plans(made, 3);
  made.add(after("a:20", "b:30+1", 3));
  assert.equal(step(made).plan, "b:8!");
});

test("what another client, another variant or the same variant with other bytes has computed is computed again", () => {
  const first = "ann/a@clinc:20+1";
  const resident = ["clinc", "dates"];
  const next = (notation: string, editions: Record<string, string> = {}) => {
    const made = scheduler({}, first);
    step(made, { resident });
    made.add(after(first, notation));
    return printPlan(made.plan({ ...facts({ resident }), identity: (variant) => editions[variant] ?? variant }));
  };
  assert.equal(next("ann/b@clinc:30"), "b:10!");
  assert.equal(next("ben/b@clinc:30"), "b:30!");
  assert.equal(next("ann/b@dates:30"), "b:30!");
  assert.equal(next("ann/b:30"), "b:30!");
  assert.equal(next("ann/b@clinc:30", { clinc: "replaced" }), "b:30!");
});

test("cells of a sequence that runs are copied before the step, and it says whose they are", () => {
  const made = scheduler({}, "a:20");
  step(made);
  made.add(after("a:20", "b:30"));
  const plan = made.plan(facts());
  assert.equal(printPlan(plan), "a:1! b:10!");
  assert.deepEqual(printCopies(plan), ["b: 20 cells of 0 to 1"]);
  assert.deepEqual(made.plan(facts()).copies, [], "once");
});

test("a copy for one that gives way in the same plan is not made when nobody runs, but when it is let in again", () => {
  const made = scheduler({ rules: { overtakenMax: 1 } }, "a@clinc:40+1");
  plans(made, 2, { resident: ["clinc"] });
  made.add(sequence("c@dates:1+1"));
  const branch = sequence("b@clinc:40+1");
  made.add({ ...branch, prompt: branch.prompt.map((token, at) => (at < 20 ? sequence("a:20").prompt[at]! : -token)) });
  const idle = made.plan(facts({ resident: ["clinc"], slots: 1 }));
  assert.deepEqual([printPlan(idle), idle.copies], ["wants dates", undefined]);
  const next = made.plan(facts({ resident: ["dates"], slots: 1 }));
  assert.equal(printPlan(next), "c:1! wants clinc");
  assert.deepEqual(printCopies(next), []);
  made.commit(next, draw(next));
  const again = made.plan(facts({ resident: ["clinc"], slots: 1 }));
  assert.equal(printPlan(again), "b:20!");
  assert.deepEqual(printCopies(again), ["b: 20 cells of 0 to 2"]);
});

test("one that gave way goes on from what the cache still has of it", () => {
  const made = scheduler({ regions: 4, rules: { overtakenMax: 1 } }, "a@clinc:20+9", "b@clinc:6+9");
  const scene = { resident: ["clinc"], slots: 1 };
  assert.equal(step(made, scene).plan, "a:20! b:6!");
  made.add(sequence("c@dates:1+1"));
  made.add(sequence("d:1+1"));
  assert.equal(step(made, scene).plan, "d:1! wants dates");
  assert.equal(step(made, { resident: ["dates"], slots: 1 }).plan, "c:1! wants clinc");
  assert.equal(step(made, scene).plan, "a:1! b:1!");
});

test("what is found in the cache is not charged", () => {
  const fairness = new Fairness();
  const own = new Sequence(sequence("ann/a:20"));
  fairness.enter(own);
  own.computedTokens = 12;
  fairness.chargeInput(own);
  assert.equal(fairness.ofClient("ann"), 8);
});

test("nothing is found that was forgotten", () => {
  const made = scheduler({}, "a:20+1");
  step(made);
  made.forgetPrefixes();
  made.add(after("a:20", "b:30"));
  assert.equal(step(made).plan, "b:30!");
});
