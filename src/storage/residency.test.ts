import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Residency } from "./residency.js";

const none = () => false;
const needs = (...classIds: string[]) => new Set(classIds);
const residency = (slots: Readonly<Record<string, number>>, variants: number) =>
  new Residency({ slots: new Map(Object.entries(slots)), variants });

test("a variant gets a place of its own and a slot of each of its classes", () => {
  const placed = residency({ first: 2, second: 1, factors: 1 }, 3);
  assert.deepEqual(placed.place("clinc", needs("first"), none), { index: 0, slots: new Map([["first", 0]]) });
  assert.deepEqual(placed.place("dates", needs("first", "second", "factors"), none), {
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
  for (const name of ["a", "b", "c"]) placed.place(name, needs("first"), none);
  placed.touch("a");
  placed.place("d", needs("first"), none);
  assert.deepEqual(placed.names, ["c", "a", "d"]);
});

test("two classes that are short take two victims", () => {
  const placed = residency({ first: 1, second: 1 }, 3);
  placed.place("a", needs("first"), none);
  placed.place("b", needs("second"), none);
  placed.place("c", needs("first", "second"), none);
  assert.deepEqual(placed.names, ["c"]);
});

test("a victim that has no slot of the wanted class does not go", () => {
  const placed = residency({ signs: 2, trits: 1 }, 4);
  placed.place("ternary", needs("trits"), none);
  placed.place("sign 1", needs("signs"), none);
  placed.place("sign 2", needs("signs"), none);
  placed.place("sign 3", needs("signs"), none);
  assert.deepEqual(placed.names, ["ternary", "sign 2", "sign 3"]);
});

test("places run out as slots do", () => {
  const placed = residency({ first: 8 }, 2);
  for (const name of ["a", "b", "c"]) placed.place(name, needs("first"), none);
  assert.deepEqual(placed.names, ["b", "c"]);
  assert.equal(placed.find("c")?.index, 0);
});

test("a pinned variant stays; when the others leave too little, nothing is dropped", () => {
  const placed = residency({ first: 2, second: 1 }, 2);
  placed.place("a", needs("first", "second"), none);
  placed.place("b", needs("first"), none);
  assert.equal(
    placed.place("c", needs("first", "second"), (name) => name === "a"),
    undefined,
  );
  assert.deepEqual(placed.names, ["a", "b"]);
  assert.ok(placed.place("c", needs("first"), (name) => name === "a"));
  assert.deepEqual(placed.names, ["a", "c"]);
});

test("what a variant needs and the device never has is refused without a drop", () => {
  const placed = residency({ first: 2 }, 2);
  placed.place("a", needs("first"), none);
  assert.equal(placed.place("ternary", needs("trits"), none), undefined);
  assert.equal(placed.place("both", needs("first", "trits"), none), undefined);
  assert.deepEqual(placed.names, ["a"]);
});

test("placing twice and dropping what is not there are mistakes", () => {
  const placed = residency({ first: 2 }, 2);
  placed.place("a", needs("first"), none);
  assert.throws(() => placed.place("a", needs("first"), none), /a is placed already/);
  placed.drop("a");
  assert.throws(() => placed.drop("a"), /a is dropped but was not placed/);
  placed.touch("a");
  assert.deepEqual(placed.names, []);
});

test("whatever is placed, used and dropped, slots and indexes are each somebody's once or free", () => {
  const names = ["a", "b", "c", "d", "e", "f"];
  const slots = { signs: 3, second: 2, factors: 1 };
  const classIds = Object.keys(slots) as (keyof typeof slots)[];
  const move = fc.record({
    name: fc.constantFrom(...names),
    verb: fc.constantFrom("place", "place", "touch", "drop"),
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
          const isPinned = (other: string) => pinned.includes(other);
          const hasRoom = placed.hasRoom(needs(...wanted), isPinned);
          assert.deepEqual(placed.names, before);
          const placement = placed.place(name, needs(...wanted), isPinned);
          assert.equal(placement !== undefined, hasRoom);
          assert.ok(
            before.every((other) => !pinned.includes(other) || placed.find(other)),
            "a pinned variant was dropped",
          );
          if (placement) assert.deepEqual([...placement.slots.keys()], wanted);
          else assert.deepEqual(placed.names, before);
        } else if (verb === "touch") placed.touch(name);
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
