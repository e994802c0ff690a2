import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Budget } from "../memory/index.js";
import { type FreedPlaces, type Placement, Residency, type SlotNeeds } from "./residency.js";

const none: ReadonlySet<string> = new Set();
const needs = (...classIds: string[]) => new Set(classIds);
const residency = (slots: Readonly<Record<string, number>>, variants: number, options = {}) =>
  new Residency({ slots: new Map(Object.entries(slots)), variants }, options);

/** Places a variant and says that it is there. */
function load(placed: Residency, name: string, wanted: ReadonlySet<string>, spared = none): Placement | undefined {
  const placement = placed.place(name, wanted, spared);
  if (placement) placed.loaded(name);
  return placement && { index: placement.index, slots: placement.slots };
}

test("a variant gets a place of its own and a slot of each of its classes", () => {
  const placed = residency({ first: 2, second: 1, factors: 1 }, 3);
  assert.deepEqual(load(placed, "clinc", needs("first")), { index: 0, slots: new Map([["first", 0]]) });
  assert.deepEqual(load(placed, "dates", needs("first", "second", "factors")), {
    index: 1,
    slots: new Map([
      ["first", 1],
      ["second", 0],
      ["factors", 0],
    ]),
  });
  assert.equal(placed.find("clinc")?.slots.get("first"), 0);
  assert.deepEqual(placed.names, ["clinc", "dates"]);
  assert.equal(placed.find("roman"), undefined);
});

test("the variant used longest ago makes room, and only it", () => {
  const placed = residency({ first: 3 }, 3);
  for (const name of ["a", "b", "c"]) load(placed, name, needs("first"));
  placed.use("a");
  load(placed, "d", needs("first"));
  assert.deepEqual(placed.names, ["c", "a", "d"]);
});

test("two classes that are short take two victims", () => {
  const placed = residency({ first: 1, second: 1 }, 3);
  load(placed, "a", needs("first"));
  load(placed, "b", needs("second"));
  load(placed, "c", needs("first", "second"));
  assert.deepEqual(placed.names, ["c"]);
});

test("a victim that has no slot of the wanted class does not go", () => {
  const placed = residency({ signs: 2, trits: 1 }, 4);
  load(placed, "ternary", needs("trits"));
  load(placed, "sign 1", needs("signs"));
  load(placed, "sign 2", needs("signs"));
  load(placed, "sign 3", needs("signs"));
  assert.deepEqual(placed.names, ["ternary", "sign 2", "sign 3"]);
});

test("places run out as slots do", () => {
  const placed = residency({ first: 8 }, 2);
  for (const name of ["a", "b", "c"]) load(placed, name, needs("first"));
  assert.deepEqual(placed.names, ["b", "c"]);
  assert.equal(placed.find("c")?.index, 0);
});

test("a pinned variant stays; when the others leave too little, nothing is dropped", () => {
  const placed = residency({ first: 2, second: 1 }, 2);
  load(placed, "a", needs("first", "second"));
  load(placed, "b", needs("first"));
  assert.equal(load(placed, "c", needs("first", "second"), new Set(["a"])), undefined);
  assert.deepEqual(placed.names, ["a", "b"]);
  assert.ok(load(placed, "c", needs("first"), new Set(["a"])));
  assert.deepEqual(placed.names, ["a", "c"]);
});

test("what a variant needs and the device never has is refused without a drop", () => {
  const placed = residency({ first: 2 }, 2);
  load(placed, "a", needs("first"));
  assert.equal(load(placed, "ternary", needs("trits")), undefined);
  assert.equal(load(placed, "both", needs("first", "trits")), undefined);
  assert.deepEqual(placed.names, ["a"]);
});

test("placing twice and dropping what is not there are mistakes", () => {
  const placed = residency({ first: 2 }, 2);
  load(placed, "a", needs("first"));
  assert.throws(() => placed.place("a", needs("first"), none), /a is placed already/);
  placed.drop("a");
  assert.throws(() => placed.drop("a"), /a is dropped but was not placed/);
  placed.use("a");
  assert.deepEqual(placed.names, []);
});

test("whatever is placed, used and dropped, slots and indexes are each somebody's once or free", () => {
  const names = ["a", "b", "c", "d", "e", "f"];
  const slots = { signs: 3, second: 2, factors: 1 };
  const classIds = Object.keys(slots) as (keyof typeof slots)[];
  const move = fc.record({
    name: fc.constantFrom(...names),
    verb: fc.constantFrom("place", "place", "use", "drop"),
    wanted: fc.subarray(classIds),
    pinned: fc.subarray(names),
  });
  fc.assert(
    fc.property(fc.array(move, { maxLength: 40 }), (moves) => {
      const variants = 4;
      const placed = residency(slots, variants);
      for (const { name, verb, wanted, pinned } of moves) {
        const before = placed.names;
        if (verb === "place" && !placed.find(name)) {
          const isPinned = new Set(pinned);
          const hasRoom = placed.hasRoom(needs(...wanted), isPinned);
          assert.deepEqual(placed.names, before);
          const placement = load(placed, name, needs(...wanted), isPinned);
          assert.equal(placement !== undefined, hasRoom);
          assert.ok(
            before.every((other) => !pinned.includes(other) || placed.find(other)),
            "a pinned variant was dropped",
          );
          if (placement) assert.deepEqual([...placement.slots.keys()], wanted);
          else assert.deepEqual(placed.names, before);
        } else if (verb === "use") placed.use(name);
        else if (verb === "drop" && placed.find(name)) placed.drop(name);

        const all = placed.names.map((other) => placed.find(other)!);
        const distinct = (values: number[], below: number) => {
          assert.equal(new Set(values).size, values.length);
          assert.ok(values.every((value) => value >= 0 && value < below));
        };
        distinct(
          all.map(({ index }) => index),
          variants,
        );
        for (const id of classIds) {
          distinct(
            all.flatMap((placement) => placement.slots.get(id) ?? []),
            slots[id],
          );
        }
      }
      for (const name of placed.names) placed.drop(name);
      for (let index = 0; index < slots.factors; index++) {
        assert.ok(placed.place(`${index}`, needs(...classIds), none), "something leaked");
      }
    }),
  );
});

/** A byte for each letter of the classes' names, and a millisecond to load one. */
function byteResidency(bytes: number, pinned: readonly string[] = []) {
  const budget = new Budget(bytes);
  const discarded: FreedPlaces[] = [];
  const memory = {
    budget,
    bytesOf: (own: SlotNeeds) => [...own].join("").length,
    msOf: (own: number) => own,
    discard: (freed: FreedPlaces) => discarded.push(freed),
  };
  const slots = { a: 9, bb: 9, cccc: 9 };
  return { placed: residency(slots, 9, { memory, pinned: new Set(pinned) }), budget, discarded };
}

test("variants take the bytes of their slots, and those used least of late give theirs to one that is short", () => {
  const { placed, budget, discarded } = byteResidency(8);
  load(placed, "often", needs("bb"));
  load(placed, "once", needs("bb"));
  load(placed, "late", needs("bb"));
  for (let i = 0; i < 3; i++) placed.use("often");
  placed.use("late");
  load(placed, "new", needs("cccc"));
  assert.deepEqual(placed.names, ["often", "late", "new"]);
  assert.equal(budget.bytesCommitted, 8);
  assert.deepEqual(discarded, [{ index: null, slots: new Map([["bb", 1]]) }]); // its row has the new one
  assert.equal(load(placed, "huge", needs("a", "bb", "cccc"), new Set(["often"])), undefined);
  assert.deepEqual(placed.names, ["often", "late", "new"]);
  for (const name of placed.names) placed.drop(name);
  assert.equal(budget.bytesCommitted, 0);
});

test("one that comes for another takes its places as they are, and only what is dropped for nobody is given back", () => {
  const { placed, discarded } = byteResidency(4);
  load(placed, "first", needs("a", "bb"));
  const { index, slots } = placed.find("first")!;
  assert.deepEqual(load(placed, "second", needs("a", "bb")), { index, slots });
  assert.deepEqual(discarded, [{ index: null, slots: new Map() }]);
  placed.drop("second");
  assert.deepEqual(discarded[1], { index, slots });
});

test("whoever else is short of memory gets that of variants which nobody needs, but of no pinned one and none on its way", () => {
  const { placed, budget } = byteResidency(8, ["pinned"]);
  load(placed, "pinned", needs("bb"));
  load(placed, "idle", needs("bb"));
  assert.ok(placed.place("coming", needs("bb"), none));
  assert.deepEqual(
    ["pinned", "coming", "nobody"].map((name) => placed.state(name)),
    ["resident", "loading", "absent"],
  );
  assert.equal(budget.makeRoom(5, none), false);
  assert.equal(budget.makeRoom(3, new Set(["idle"])), false);
  assert.ok(budget.makeRoom(3, none));
  assert.deepEqual(placed.names, ["pinned", "coming"]);
  placed.loaded("coming");
  assert.ok(budget.makeRoom(5, none));
  assert.deepEqual(placed.names, ["pinned"]);
});

test("there is room exactly when it is found, also in bytes that are yet to come", () => {
  const { placed, budget } = byteResidency(8);
  budget.commit(6);
  assert.equal(placed.hasRoom(needs("cccc"), none), false);
  assert.ok(placed.hasRoom(needs("cccc"), none, 2));
  budget.release(2);
  assert.ok(load(placed, "x", needs("cccc")));
});
