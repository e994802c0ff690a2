// Texts stand for tokens, a letter each. A place prints as `region`, with what it holds already: "2 'once upon'", or where that is
// copied from: "2 'once upon' of 0".

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { RegionPool } from "./region-pool.js";

const nobody: ReadonlySet<string> = new Set();

interface Text {
  readonly tokens: number[];
  computedTokens: number;
}

function text(letters: string): Text {
  return { tokens: [...letters].map((letter) => letter.charCodeAt(0)), computedTokens: 0 };
}

/** Takes a region for a text and computes all of it. */
function put(pool: RegionPool, letters: string, scope = "ann"): string {
  const own = text(letters);
  const place = pool.take({ occupant: own, scope, cells: letters.length }, nobody);
  if (place === undefined) return "none";
  own.computedTokens = letters.length;
  const { region, cachedTokens, copiedFrom } = place;
  const held = cachedTokens > 0 ? ` '${letters.slice(0, cachedTokens)}'` : "";
  return `${region}${held}${copiedFrom === null ? "" : ` of ${copiedFrom}`}`;
}

/** Puts texts one after the other, each released before the next comes. */
function visit(pool: RegionPool, ...texts: readonly string[]): string[] {
  return texts.map((letters) => {
    const printed = put(pool, letters);
    pool.release(Number.parseInt(printed, 10));
    return printed;
  });
}

const story = "once upon a time there was a ";

test("empty regions are taken from the lowest, so that the taken ones lie side by side", () => {
  const pool = new RegionPool(4);
  assert.deepEqual([put(pool, "a"), put(pool, "b"), put(pool, "c"), pool.free], ["0", "1", "2", 1]);
  assert.deepEqual([put(pool, "d"), put(pool, "e"), pool.free], ["3", "none", 0]);
});

test("where none is empty the one released longest ago is taken", () => {
  const pool = new RegionPool(3);
  assert.deepEqual(visit(pool, "a", "b", "c", "bb", "d", "e"), ["0", "1", "2", "1 'b'", "0", "2"]);
});

test("a text that goes on where another ended takes its region over", () => {
  const pool = new RegionPool(3);
  assert.deepEqual(visit(pool, "two", story, `${story}fox`), ["0", "1", `1 '${story}'`]);
});

test("the last token is computed in any case", () => {
  const pool = new RegionPool(2);
  assert.deepEqual(visit(pool, "abc", "abc", "a"), ["0", "0 'ab'", "1"]);
});

test("of several the one that agrees longest is taken", () => {
  const pool = new RegionPool(4);
  visit(pool, "ab", "xy");
  assert.deepEqual(visit(pool, "xyz", "abc", "abcd"), ["1 'xy'", "0 'ab'", "0 'abc'"]);
});

test("one that goes another way after a long common beginning gets a copy, and both are there", () => {
  const pool = new RegionPool(3);
  const [fox, hen] = [`${story}fox that had lost its tail`, `${story}hen that laid golden eggs`];
  assert.deepEqual(visit(pool, fox, hen), ["0", `1 '${story}' of 0`]);
  assert.deepEqual(visit(pool, `${fox}!`, `${hen}!`), [`0 '${fox}'`, `1 '${hen}'`]);
});

test("what is little is neither copied nor spared", () => {
  const pool = new RegionPool(3);
  assert.deepEqual(visit(pool, `the ${story}`, "the end"), ["0", "1"]);
  assert.deepEqual(visit(pool, `the ${story}dog`, `the ${story}fox`), [`0 'the ${story}'`, `0 'the ${story}'`]);
});

test("the only free region is taken over whatever is lost", () => {
  const pool = new RegionPool(2);
  assert.equal(put(pool, "a"), "0");
  assert.deepEqual(visit(pool, `${story}fox that had lost its tail`, `${story}hen`), ["1", `1 '${story}'`]);
});

test("what a running sequence has computed is copied, what it is about to compute is not", () => {
  const pool = new RegionPool(4);
  put(pool, story);
  assert.equal(put(pool, `${story}fox`), `1 '${story}' of 0`);
  const late = text(`${story}hen that laid golden eggs`);
  pool.take({ occupant: late, scope: "ben", cells: 40 }, nobody);
  assert.equal(put(pool, `${story}hen!`, "ben"), "3");
  pool.release(3);
  late.computedTokens = 20;
  assert.equal(put(pool, `${story}hen that`, "ben"), `3 '${story}hen'`);
});

test("what a sequence computes elsewhere after it left is not remembered here", () => {
  const pool = new RegionPool(1);
  const own = text("abcdef");
  pool.take({ occupant: own, scope: "ann", cells: 6 }, nobody);
  own.computedTokens = 3;
  pool.release(0);
  own.computedTokens = 0;
  own.tokens.push(7);
  assert.equal(put(pool, "abcdef"), "0 'abc'");
});

test("another scope finds nothing", () => {
  const pool = new RegionPool(2);
  visit(pool, story);
  assert.equal(put(pool, `${story}fox`, "ben"), "1");
  assert.equal(put(pool, `${story}fox`, "ann"), `0 '${story}'`);
});

test("what is forgotten is not found, what runs is", () => {
  const pool = new RegionPool(3);
  put(pool, story);
  visit(pool, "abc");
  pool.forget();
  assert.equal(put(pool, "abcd"), "1");
  assert.equal(put(pool, `${story}fox`), `2 '${story}' of 0`);
});

test("releasing a free region is a mistake", () => {
  const pool = new RegionPool(2);
  assert.throws(() => pool.release(0), /region 0 released while it was free/);
});

test("whatever is taken and released, no region is given twice, none is lost, and what is found is what was computed", () => {
  const scopes = fc.constantFrom("ann", "ben");
  const words = fc.array(fc.constantFrom("a", "b", "aaaaaaaaaaaaaaaaaaaa"), { minLength: 1, maxLength: 5 });
  const moves = fc.array(fc.record({ leaver: fc.nat({ max: 12 }), scope: scopes, words }), { maxLength: 60 });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 9 }), moves, (regions, made) => {
      const pool = new RegionPool(regions);
      const taken = new Set<number>();
      const cells = Array.from({ length: regions }, () => "");
      for (const { leaver, scope, words: said } of made) {
        const letters = said.join("");
        const own = text(letters);
        const region = [...taken][leaver];
        if (region !== undefined) {
          pool.release(region);
          taken.delete(region);
        }
        const place = pool.take({ occupant: own, scope, cells: letters.length }, nobody);
        assert.equal(place === undefined, taken.size === regions);
        if (place === undefined) continue;
        assert.ok(!taken.has(place.region) && place.cachedTokens < letters.length);
        taken.add(place.region);
        const found = cells[place.copiedFrom ?? place.region]!.slice(0, scope.length + place.cachedTokens);
        if (place.cachedTokens > 0) assert.equal(found, scope + letters.slice(0, place.cachedTokens));
        own.computedTokens = letters.length;
        cells[place.region] = scope + letters;
        assert.equal(pool.free, regions - taken.size);
      }
    }),
  );
});
