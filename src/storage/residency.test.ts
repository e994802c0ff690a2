import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { DType } from "../core/index.js";
import { Residency, type SlotNeeds } from "./residency.js";

const none = () => false;
const needs = (signs: number, ternaries = 0): SlotNeeds =>
  new Map([...(signs ? [["q1_0", signs] as const] : []), ...(ternaries ? [["tq1_0", ternaries] as const] : [])]);
const residency = (signs: number, ternaries: number, variants: number) =>
  new Residency({
    slots: new Map<DType, number>([
      ["q1_0", signs],
      ["tq1_0", ternaries],
    ]),
    variants,
  });

test("a variant gets a place of its own and as many slots as it has planes", () => {
  const placed = residency(4, 1, 3);
  assert.deepEqual(placed.place("clinc", needs(2), none), { index: 0, slots: new Map([["q1_0", [0, 1]]]) });
  assert.deepEqual(placed.place("dates", needs(1, 1), none), {
    index: 1,
    slots: new Map<string, number[]>([
      ["q1_0", [2]],
      ["tq1_0", [0]],
    ]),
  });
  assert.deepEqual(placed.find("clinc")?.slots.get("q1_0"), [0, 1]);
  assert.deepEqual(placed.names, ["clinc", "dates"]);
  assert.equal(placed.find("roman"), undefined);
});

test("the variant used longest ago makes room, and only it", () => {
  const placed = residency(3, 0, 3);
  for (const name of ["a", "b", "c"]) placed.place(name, needs(1), none);
  placed.touch("a");
  placed.place("d", needs(1), none);
  assert.deepEqual(placed.names, ["c", "a", "d"]);
});

test("two planes take two victims' room", () => {
  const placed = residency(3, 0, 3);
  for (const name of ["a", "b", "c"]) placed.place(name, needs(1), none);
  placed.place("d", needs(2), none);
  assert.deepEqual(placed.names, ["c", "d"]);
});

test("a victim that has no slot of the wanted kind does not go", () => {
  const placed = residency(2, 1, 4);
  placed.place("ternary", needs(0, 1), none);
  placed.place("sign 1", needs(1), none);
  placed.place("sign 2", needs(1), none);
  placed.place("sign 3", needs(1), none);
  assert.deepEqual(placed.names, ["ternary", "sign 2", "sign 3"]);
});

test("places run out as slots do", () => {
  const placed = residency(8, 0, 2);
  for (const name of ["a", "b", "c"]) placed.place(name, needs(1), none);
  assert.deepEqual(placed.names, ["b", "c"]);
  assert.equal(placed.find("c")?.index, 0);
});

test("a pinned variant stays; when the others leave too little, nothing is dropped", () => {
  const placed = residency(2, 0, 2);
  placed.place("a", needs(1), none);
  placed.place("b", needs(1), none);
  assert.equal(
    placed.place("c", needs(2), (name) => name === "a"),
    undefined,
  );
  assert.deepEqual(placed.names, ["a", "b"]);
  assert.ok(placed.place("c", needs(1), (name) => name === "a"));
  assert.deepEqual(placed.names, ["a", "c"]);
});

test("what a variant needs and the device never has is refused without a drop", () => {
  const placed = residency(2, 0, 2);
  placed.place("a", needs(1), none);
  assert.equal(placed.place("huge", needs(3), none), undefined);
  assert.equal(placed.place("ternary", needs(0, 1), none), undefined);
  assert.deepEqual(placed.names, ["a"]);
});

test("placing twice and dropping what is not there are mistakes", () => {
  const placed = residency(2, 0, 2);
  placed.place("a", needs(1), none);
  assert.throws(() => placed.place("a", needs(1), none), /a is placed already/);
  placed.drop("a");
  assert.throws(() => placed.drop("a"), /a is dropped but was not placed/);
  placed.touch("a");
  assert.deepEqual(placed.names, []);
});

test("whatever is placed, used and dropped, slots and indexes are each somebody's once or free", () => {
  const move = fc.record({
    name: fc.constantFrom("a", "b", "c", "d", "e", "f"),
    verb: fc.constantFrom("place", "place", "touch", "drop"),
    signs: fc.integer({ min: 0, max: 3 }),
    ternaries: fc.integer({ min: 0, max: 2 }),
    pinned: fc.subarray(["a", "b", "c", "d", "e", "f"]),
  });
  fc.assert(
    fc.property(fc.array(move, { maxLength: 40 }), (moves) => {
      const [signs, ternaries, variants] = [5, 3, 4];
      const placed = residency(signs, ternaries, variants);
      for (const { name, verb, signs: wantSigns, ternaries: wantTernaries, pinned } of moves) {
        const before = placed.names;
        if (verb === "place" && !placed.find(name)) {
          const placement = placed.place(name, needs(wantSigns, wantTernaries), (other) => pinned.includes(other));
          assert.ok(
            before.every((other) => !pinned.includes(other) || placed.find(other)),
            "a pinned variant was dropped",
          );
          if (placement) {
            assert.equal(placement.slots.get("q1_0")?.length ?? 0, wantSigns);
            assert.equal(placement.slots.get("tq1_0")?.length ?? 0, wantTernaries);
          } else assert.deepEqual(placed.names, before);
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
        distinct(
          all.flatMap(({ slots }) => slots.get("q1_0") ?? []),
          signs,
        );
        distinct(
          all.flatMap(({ slots }) => slots.get("tq1_0") ?? []),
          ternaries,
        );
      }
      for (const name of placed.names) placed.drop(name);
      assert.ok(placed.place("everything", needs(signs, ternaries), none), "something leaked");
    }),
  );
});
