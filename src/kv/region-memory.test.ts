// Regions whose cells take memory: a byte a cell, in pages of four.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Budget } from "../memory/index.js";
import { RegionPool } from "./region-pool.js";

const nobody: ReadonlySet<string> = new Set();
const bytesOf = (cells: number) => 4 * Math.ceil(cells / 4);

interface Text {
  readonly tokens: number[];
  computedTokens: number;
}

/** A pool whose regions hold text: what is discarded is a dot, what is copied is copied when it is settled. */
class TextPool {
  readonly budget: Budget;
  readonly pool: RegionPool;
  readonly cells: string[][];
  readonly taken = new Map<number, Text>();
  #copies: { from: number; to: number; cells: number }[] = [];

  constructor(regions: number, bytes: number) {
    this.budget = new Budget(bytes);
    this.cells = Array.from({ length: regions }, () => Array.from({ length: 100 }, () => "."));
    this.pool = new RegionPool(regions, {
      budget: this.budget,
      bytesOf,
      msOf: (tokens) => tokens,
      discard: (region, from) => this.cells[region]!.fill(".", bytesOf(from)),
    });
  }

  take(letters: string, cells = letters.length): number | undefined {
    const occupant: Text = { tokens: [...letters].map((letter) => letter.charCodeAt(0)), computedTokens: 0 };
    const place = this.pool.take({ occupant, scope: "", cells }, nobody);
    if (place === undefined) return undefined;
    const { region, cachedTokens, copiedFrom } = place;
    if (copiedFrom !== null) this.#copies.push({ from: copiedFrom, to: region, cells: cachedTokens });
    occupant.computedTokens = cachedTokens;
    this.taken.set(region, occupant);
    return region;
  }

  /** Makes the copies, checks that everybody found what was promised, and computes the rest. */
  step(): void {
    for (const { from, to, cells } of this.#copies) {
      this.cells[to]!.splice(0, cells, ...this.cells[from]!.slice(0, cells));
    }
    this.#copies = [];
    this.pool.settle();
    for (const [region, occupant] of this.taken) {
      const letters = String.fromCharCode(...occupant.tokens);
      const found = this.cells[region]!.slice(0, occupant.computedTokens).join("");
      assert.equal(found, letters.slice(0, occupant.computedTokens));
      this.cells[region]!.splice(0, letters.length, ...letters);
      occupant.computedTokens = letters.length;
    }
    const written = this.cells.flat().filter((letter) => letter !== ".").length;
    assert.ok(written <= this.budget.bytesCommitted, `${written} of ${this.budget.bytesCommitted} bytes`);
  }

  /** Goes on with a text, if there is memory for it. */
  grow(region: number, letters: string): boolean {
    const isGrown = this.pool.grow(region, this.pool.cellsOf(region) + letters.length, nobody);
    if (isGrown) this.taken.get(region)!.tokens.push(...[...letters].map((letter) => letter.charCodeAt(0)));
    return isGrown;
  }

  release(region: number): void {
    this.pool.release(region);
    this.taken.delete(region);
  }
}

const story = "once upon a time there was a ";

test("a newcomer has memory for the cells that it asks for, and leaves that of what it computed", () => {
  const own = new TextPool(2, 40);
  const region = own.take("abcdef", 20)!;
  assert.equal(own.budget.bytesCommitted, 20);
  own.step();
  own.release(region);
  assert.equal(own.budget.bytesCommitted, 8);
  own.pool.forget();
  assert.equal(own.budget.bytesCommitted, 0);
});

test("who finds no memory takes that of texts that nobody runs on, the one worth least a byte, and else nothing", () => {
  const own = new TextPool(4, 48);
  for (const letters of ["aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb"]) {
    const region = own.take(letters)!;
    own.step();
    own.release(region);
  }
  own.release(own.take("aaaaaaaaaaaaaaaaa", 20)!);
  own.step();
  own.take("cccccccc", 24);
  own.step();
  assert.deepEqual([own.cells[0]![0], own.cells[1]![0]], ["a", "."], "a was asked for twice");
  assert.equal(own.take("dddd", 40), undefined);
  assert.equal(own.cells[0]![0], "a", "it would not have been enough");
});

test("who runs has more memory when it needs it, also that of texts that nobody runs on, and else what it had", () => {
  const own = new TextPool(2, 40);
  const fox = own.take("a fox without a tail")!;
  own.step();
  own.release(fox);
  const hen = own.take("one hen", 8)!;
  own.step();
  assert.ok(own.grow(hen, " and two hens"));
  assert.deepEqual([own.budget.bytesCommitted, own.cells[fox]![0]], [24, "."]);
  assert.ok(!own.grow(hen, " and three hens more"));
  assert.deepEqual([own.budget.bytesCommitted, own.pool.cellsOf(hen)], [24, 21]);
  own.step();
});

test("where there is no memory for a copy what is found is taken over", () => {
  const own = new TextPool(2, 64);
  const fox = own.take(`${story}fox that had lost its tail`)!;
  own.step();
  own.release(fox);
  assert.equal(own.take(`${story}hen`), fox);
  own.step();
});

test("what a copy is still to read is not let go for somebody else", () => {
  const own = new TextPool(3, 100);
  const fox = own.take(`${story}fox that had lost its tail`)!;
  own.step();
  own.release(fox);
  assert.equal(own.take(`${story}hen`), 1);
  assert.equal(own.take("something else of so many letters", 40), undefined);
  own.step();
  assert.equal(own.take("something else of so many letters", 40), 2);
  assert.equal(own.cells[0]![0], ".");
});

test("whatever comes and goes, nothing is written beyond what is committed, and nothing stays committed in the end", () => {
  const words = fc.array(fc.constantFrom("a", "b", "aaaaaaaaaaaaaaaaaaaa"), { minLength: 1, maxLength: 4 });
  const move = fc.record({
    verb: fc.constantFrom("take", "take", "release", "grow", "step", "forget"),
    words,
    more: fc.nat({ max: 20 }),
    leaver: fc.nat({ max: 5 }),
  });
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 30, max: 300 }),
      fc.array(move, { maxLength: 60 }),
      (regions, bytes, moves) => {
        const own = new TextPool(regions, bytes);
        for (const { verb, words: said, more, leaver } of moves) {
          const leaving = [...own.taken.keys()][leaver];
          if (verb === "step") own.step();
          if (verb === "forget") {
            own.step();
            own.pool.forget();
          }
          if (verb === "release" && leaving !== undefined) {
            const [free, comes] = [own.budget.bytesFree, own.pool.bytesIfLeft(leaving)];
            own.release(leaving);
            assert.ok(own.budget.hasRoom(free + comes, nobody), "less came than was said");
          }
          if (verb === "grow" && leaving !== undefined) {
            const cells = own.pool.cellsOf(leaving) + said.join("").length;
            const canGrow = own.pool.canGrow(leaving, cells, nobody, 0);
            assert.equal(own.grow(leaving, said.join("")), canGrow);
          }
          if (verb !== "take" || own.pool.free === 0) continue;
          const letters = said.join("");
          const hasRoom = own.pool.hasRoom(letters.length + more, nobody, 0);
          const region = own.take(letters, letters.length + more);
          if (hasRoom) assert.ok(region !== undefined, "there was room");
        }
        own.step();
        for (const region of [...own.taken.keys()]) own.release(region);
        own.pool.forget();
        assert.equal(own.budget.bytesCommitted, 0);
      },
    ),
    { numRuns: 500 },
  );
});
