// A holding is `bytes*worth`: "30*2" has 30 bytes and saves two seconds by staying.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Budget, type Holding } from "./budget.js";

const nobody: ReadonlySet<string> = new Set();

/** A budget of 100 bytes all of which are held, and which of them are still there. */
function holding(...notations: readonly string[]): { budget: Budget; left: () => string } {
  const budget = new Budget(100);
  const held = new Set<Holding & { name: string }>();
  for (const name of notations) {
    const [bytes, worth] = name.split("*").map(Number) as [number, number];
    budget.commit(bytes);
    const own = {
      name,
      bytes,
      worth: () => worth,
      release: () => {
        held.delete(own);
        budget.release(bytes);
      },
    };
    held.add(own);
  }
  budget.join({ holdings: (spared) => [...held].filter(({ name }) => !spared.has(name)) });
  return { budget, left: () => [...held].map(({ name }) => name).join(" ") };
}

test("what is free is had without letting anything go", () => {
  const { budget, left } = holding("30*0", "40*0");
  assert.ok(budget.makeRoom(30, nobody));
  assert.equal(left(), "30*0 40*0");
});

test("the least worth a byte goes first, whatever its size", () => {
  const { budget, left } = holding("10*5", "60*6", "30*4");
  assert.ok(budget.makeRoom(50, nobody));
  assert.equal(left(), "10*5 30*4");
  assert.equal(budget.bytesFree, 60);
});

test("as little goes as will do", () => {
  const { budget, left } = holding("10*1", "80*9", "10*9");
  assert.ok(budget.makeRoom(75, nobody));
  assert.equal(left(), "10*1 10*9", "the first would not have been enough, and with the second it is not needed");
});

test("who is spared stays, and when the rest is too little nothing goes", () => {
  const { budget, left } = holding("40*1", "60*2");
  assert.equal(budget.makeRoom(50, new Set(["60*2"])), false);
  assert.equal(left(), "40*1 60*2");
  assert.ok(budget.makeRoom(40, new Set(["60*2"])));
  assert.equal(left(), "60*2");
});

test("committing more than is free and releasing more than was committed are mistakes", () => {
  const budget = new Budget(10);
  budget.commit(6);
  assert.throws(() => budget.commit(5), /5 bytes are committed of 4/);
  assert.throws(() => budget.release(7), /7 bytes are released of 6/);
  assert.deepEqual([budget.bytesCommitted, budget.bytesFree], [6, 4]);
});

test("room is made exactly when there is some", () => {
  const sizes = fc.array(fc.record({ bytes: fc.integer({ min: 1, max: 12 }), worth: fc.integer({ min: 0, max: 5 }) }), {
    maxLength: 8,
  });
  fc.assert(
    fc.property(sizes, fc.integer({ min: 0, max: 110 }), (all, wanted) => {
      const { budget, left } = holding(...all.map(({ bytes, worth }) => `${bytes}*${worth}`));
      const before = left();
      const hasRoom = budget.hasRoom(wanted, nobody);
      assert.equal(left(), before);
      assert.equal(budget.makeRoom(wanted, nobody), hasRoom);
      assert.equal(hasRoom, wanted <= 100);
      if (!hasRoom) assert.equal(left(), before);
      else assert.ok(budget.bytesFree >= wanted);
    }),
  );
});
