import assert from "node:assert/strict";
import { test } from "node:test";
import { Overloaded } from "../core/index.js";
import { plans, type Scene, scheduler, sequence, step } from "./scheduler.test.kit.js";

/** The ids in the order in which they are let in. */
function admissions(made: ReturnType<typeof scheduler>, steps: number, scene: Scene = {}): string {
  const seen = new Set<string>();
  for (const plan of plans(made, steps, scene)) {
    for (const [, id] of plan.split(" wants")[0]!.matchAll(/(\w+):/g)) seen.add(id!);
  }
  return [...seen].join(" ");
}

test("clients take turns, however many requests one of them has sent before", () => {
  const made = scheduler({ regions: 1 }, ..."1234".split("").map((n) => `ann/a${n}:5+1`), "ben/b1:5+1", "ben/b2:5+1");
  assert.equal(admissions(made, 6), "a1 b1 a2 b2 a3 a4");
});

test("what counts is tokens, and one that is drawn counts twice", () => {
  const long = scheduler({ regions: 1 }, "ann/a1:20+1", "ann/a2:20+1", ..."1234".split("").map((n) => `ben/b${n}:8+1`));
  assert.equal(admissions(long, 6), "a1 b1 b2 b3 a2 b4", "22, then 10 three times");
  const drawn = scheduler({ regions: 1 }, "ann/a1:2+4", "ann/a2:2+4", ..."123".split("").map((n) => `ben/b${n}:4+1`));
  assert.equal(admissions(drawn, 12), "a1 b1 b2 a2 b3", "10, then 6 twice");
});

test("variants take turns within a client, whose share is one share", () => {
  const resident = ["clinc", "dates"];
  const made = scheduler(
    { regions: 1 },
    ...["a1@clinc", "a2@clinc", "a3@clinc", "a4@dates"].map((name) => `ann/${name}:5+1`),
    ...["b1@clinc", "b2@clinc"].map((name) => `ben/${name}:5+1`),
  );
  assert.equal(admissions(made, 6, { resident }), "a1 b1 a4 b2 a2 a3");
});

test("a client that was away brings no credit back", () => {
  const made = scheduler({ regions: 1, queueMax: 40 }, "ben/b0:5+1");
  step(made);
  for (let n = 0; n < 20; n++) made.add(sequence(`ann/a${n}:5+1`));
  plans(made, 10);
  for (let n = 1; n <= 3; n++) made.add(sequence(`ben/b${n}:5+1`));
  assert.equal(admissions(made, 6), "a10 b1 a11 b2 a12 b3");
});

test("a client that was served alone owes nothing for it once the server was idle", () => {
  const made = scheduler({ regions: 1 }, "ann/a1:20+1");
  step(made);
  for (const one of ["ann/a2:5+1", "ben/b1:5+1", "ann/a3:5+1", "ben/b2:5+1"]) made.add(sequence(one));
  assert.equal(admissions(made, 4), "a2 b1 a3 b2");
});

test("what a client took while nobody waited is not held against it, nor against others", () => {
  const made = scheduler({ regions: 1 }, "ann/a1:5+21");
  plans(made, 20);
  for (const one of ["ben/b1:20+1", "ann/a2:20+1", "ben/b2:20+1"]) made.add(sequence(one));
  assert.equal(admissions(made, 30), "a1 b1 a2 b2");
});

test("a lower priority value goes first, whoever's it is", () => {
  const made = scheduler({ regions: 1 }, "ann/a1:5+1", "ann/a2:5+1^-1", "ben/b1:5+1^1", "ben/b2:5+1");
  assert.equal(admissions(made, 4), "a2 b2 a1 b1");
});

test("priority carries a client ahead of others only so far", () => {
  const urgent = Array.from({ length: 8 }, (_, n) => `ann/a${n}:8+1^-9`);
  const made = scheduler({ regions: 1, rules: { leadMax: 25 } }, ...urgent, "ben/b0:8+1", "ben/b1:8+1", "ben/b2:8+1");
  assert.equal(admissions(made, 11), "a0 a1 a2 b0 a3 b1 a4 b2 a5 a6 a7");
});

test("after so many that were more urgent a priority has its turn", () => {
  const urgent = Array.from({ length: 7 }, (_, n) => `a${n}:5+1^-1`);
  const made = scheduler({ regions: 1, rules: { overtakenMax: 3 } }, "b0:5+1", "b1:5+1", ...urgent);
  assert.equal(admissions(made, 9), "a0 a1 a2 b0 a3 a4 a5 b1 a6");
});

test("a full line makes room for a client that has less in it, never at the cost of one that has begun", () => {
  const made = scheduler({ regions: 1, queueMax: 3 }, "ann/a0:5+9");
  step(made);
  for (let n = 1; n <= 3; n++) assert.equal(made.add(sequence(`ann/a${n}:5`)), undefined);
  assert.equal(made.add(sequence("ben/b1:5")), "a3");
  assert.throws(() => made.add(sequence("ben/b2:5")), Overloaded, "ann would have as many");
  assert.throws(() => made.add(sequence("ann/a4:5")), Overloaded);
  assert.equal(made.add(sequence("cleo/c1:5")), "a2");
  assert.throws(() => made.add(sequence("dora/d1:5")), Overloaded, "all have one");
  assert.equal(made.add(sequence("ben/b3:5^-1")), "b1", "his own, and less urgent");
  assert.equal(made.waitingCount, 3);
});

test("one that has begun is not turned out of a full line", () => {
  const made = scheduler({ regions: 1, queueMax: 1 }, "ann/a0:5+9^1");
  step(made);
  made.add(sequence("ann/a1:5"));
  assert.equal(step(made).plan, "a1:5!", "a0 was preempted and waits");
  assert.throws(() => made.add(sequence("ann/a2:5")), Overloaded);
  assert.equal(made.waitingCount, 1);
});
