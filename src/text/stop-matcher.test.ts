import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { StopMatcher } from "./stop-matcher.js";

/** What each piece lets through; "|" where the text stops, "…" before what the flush gives. */
function feed(stops: readonly string[], pieces: readonly string[]): string {
  const matcher = new StopMatcher(stops);
  const shown: string[] = [];
  for (const piece of pieces) {
    const { text, stopped } = matcher.push(piece);
    shown.push(text);
    if (stopped) return `${shown.join(",")}|`;
  }
  return `${shown.join(",")}…${matcher.flush()}`;
}

test("lets text without a stop string through at once", () => {
  assert.equal(feed([], ["ab", "c"]), "ab,c…");
  assert.equal(feed(["xy"], ["ab", "c"]), "ab,c…");
});

test("cuts before a stop string, in one piece or in several", () => {
  assert.equal(feed(["END"], ["one END two"]), "one |");
  assert.equal(feed(["END"], ["one E", "N", "D two"]), "one ,,|");
});

test("gives back what only seemed to begin a stop string", () => {
  assert.equal(feed(["END"], ["one E", "N", "T"]), "one ,,ENT…");
  assert.equal(feed(["aab"], ["a", "a", "a", "b"]), ",,a,|");
});

test("gives what it held back at the end", () => {
  assert.equal(feed(["END"], ["one EN"]), "one …EN");
});

test("takes the stop string that is complete first, and of equals the longest", () => {
  assert.equal(feed(["abcd", "bc"], ["xabcd"]), "xa|");
  assert.equal(feed(["bc", "abc"], ["xabcd"]), "x|");
});

test("says nothing more once stopped", () => {
  const matcher = new StopMatcher(["b"]);
  assert.deepEqual(matcher.push("ab"), { text: "a", stopped: true });
  assert.deepEqual(matcher.push("c"), { text: "", stopped: true });
  assert.equal(matcher.flush(), "");
});

test("shows the same however a text is cut into pieces, and never a stop string", () => {
  const letters = fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 30 });
  const stop = fc.string({ unit: fc.constantFrom("a", "b", "c"), minLength: 1, maxLength: 4 });
  const joined = (stops: readonly string[], pieces: readonly string[]) => feed(stops, pieces).replaceAll(/[,…]/g, "");
  fc.assert(
    fc.property(fc.array(stop, { maxLength: 3 }), letters, (stops, text) => {
      const whole = joined(stops, [text]);
      assert.equal(joined(stops, [...text]), whole);
      assert.equal(joined(stops, text.match(/.{1,3}/g) ?? []), whole);
      assert.ok(stops.every((stop) => !whole.includes(stop)));
      assert.equal(
        whole.endsWith("|"),
        stops.some((stop) => text.includes(stop)),
      );
      assert.ok(text.startsWith(whole.replace("|", "")));
    }),
  );
});
