import assert from "node:assert/strict";
import { test } from "node:test";
import { facts, plans, scheduler, sequence, step } from "./scheduler.test.kit.js";

test("an urgent sequence takes the region of the least urgent, which goes on from its tokens", () => {
  const made = scheduler({ regions: 2 }, "a:4+5^1", "b:4+5^2");
  plans(made, 2);
  made.add(sequence("c:3+2"));
  assert.deepEqual(plans(made, 5), ["a:1! c:3!", "c:1! a:1!", "a:1! b:6!", "b:1!", "b:1!"]);
  assert.ok(made.isIdle);
});

test("of equals the client that has had most gives way, of its sequences the last", () => {
  const made = scheduler({ regions: 3 }, "ann/a1:8+9^1", "ann/a2:4+9^1", "ben/b1:4+9^1");
  step(made);
  made.add(sequence("ben/b2:3+9"));
  assert.equal(step(made).plan, "a1:1! b1:1! b2:3!");
});

test("equal priority takes nobody's region", () => {
  const made = scheduler({ regions: 1 }, "ann/a:4+9");
  step(made);
  made.add(sequence("ben/b:3+9"));
  assert.equal(step(made).plan, "a:1!");
});

test("who was first in line for too long takes the region of one that has had more, and keeps it", () => {
  const made = scheduler({ regions: 1, rules: { turnsMax: 3 } }, "ann/a:4+30");
  step(made);
  made.add(sequence("ben/b:3+30"));
  assert.deepEqual(plans(made, 4), ["a:1!", "a:1!", "a:1!", "b:3!"]);
  assert.deepEqual([...new Set(plans(made, 29))], ["b:1!"], "ann has had less now, but b was let in for having waited");
  assert.equal(step(made).plan, "a:8!");
});

test("who starves takes nothing from those who have had less", () => {
  const made = scheduler({ regions: 2, rules: { turnsMax: 2 } }, "ann/a1:30+30", "ben/b:3+60");
  step(made);
  made.add(sequence("ann/a2:3+9"));
  assert.deepEqual([...new Set(plans(made, 20))], ["a1:1! b:1!"]);
});

test("a sequence gives way so many times and no more", () => {
  const made = scheduler({ regions: 1, rules: { preemptionsMax: 2 } }, "a:2+9^1");
  step(made);
  const printed: string[] = [];
  for (let n = 0; n < 4; n++) {
    made.add(sequence(`u${n}:3+1`));
    printed.push(...plans(made, 2));
  }
  assert.deepEqual(printed, ["u0:3!", "a:3!", "u1:3!", "a:4!", "a:1!", "a:1!", "a:1!", "a:1!"]);
});

test("one that gives way costs its client nothing when it is computed again", () => {
  const made = scheduler({ regions: 1 }, "ann/a1:20+2^1", "ben/b1:22+2^1");
  step(made);
  made.add(sequence("cleo/c:2+1"));
  made.add(sequence("ann/a2:5+1^1"));
  made.add(sequence("ben/b2:5+1^1"));
  assert.deepEqual(plans(made, 6), ["c:2!", "b1:22!", "b1:1!", "a1:21!", "a2:5!", "b2:5!"]);
});

test("a variant that was passed over too often gets the slots of as few others as it takes", () => {
  const made = scheduler(
    { regions: 3, rules: { overtakenMax: 2 } },
    ...["ann/a@clinc:4+9", "ben/b@dates:8+9", "cleo/c@roman:1+1", "dora/d@clinc:1+1", "ann/e:1+1", "ben/f:1+1"],
  );
  const resident = ["clinc", "dates"];
  assert.equal(step(made, { resident, slots: 2 }).plan, "d:1! a:4! b:8! wants roman");
  assert.equal(step(made, { resident, slots: 2 }).plan, "a:1! e:1! wants roman", "ben has had most; f does not pass c");
  const during = { resident: ["clinc"], loading: ["roman"], slots: 2 };
  assert.equal(step(made, during).plan, "a:1! f:1! wants dates", "c has its slots: others pass meanwhile");
  assert.equal(step(made, { resident: ["clinc", "roman"], slots: 2 }).plan, "a:1! c:1! wants dates");
  assert.equal(step(made, { resident: ["clinc", "dates"], slots: 2 }).plan, "a:1! b:9!");
});

test("nobody gives way for a variant that would find no slots even so", () => {
  const made = scheduler(
    { regions: 3, rules: { overtakenMax: 1, preemptionsMax: 0 } },
    "a@clinc:4+3",
    "b@dates:4",
    "c:1+3",
  );
  const scene = { resident: ["clinc"], slots: 1 };
  assert.deepEqual(plans(made, 4, scene), [
    "c:1! a:4! wants dates",
    "a:1! c:1! wants dates",
    "a:1! c:1! wants dates",
    "wants dates",
  ]);
});

test("the variants of a whole line are loaded ahead, at the cost of none that somebody waits for", () => {
  const made = scheduler({ regions: 1 }, "z:9+9", "a@clinc:1", "b@dates:1", "c@roman:1");
  const residency = (name: string) => (name === "dates" ? "resident" : "absent");
  const plan = made.plan({ ...facts(), residency, hasRoom: () => true });
  assert.deepEqual(
    plan.wanted.map(({ variant, spared }) => [variant, [...spared].sort()]),
    [
      ["clinc", ["clinc", "dates", "roman"]],
      ["roman", ["clinc", "dates", "roman"]],
    ],
  );
});

test("a variant for which somebody starves is loaded at the cost of those behind in line", () => {
  const made = scheduler({ regions: 1, rules: { turnsMax: 1, preemptionsMax: 0 } }, "z:9+9", "a@clinc:1", "b@dates:1");
  const resident = ["dates"];
  step(made, { resident });
  const plan = made.plan({ ...facts({ resident }), hasRoom: () => false });
  assert.deepEqual(
    plan.wanted.map(({ variant, spared }) => [variant, ...spared]),
    [["clinc"]],
  );
});
