import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { element, linearScale, logScale, spread, text } from "./svg.js";

test("on a logarithmic scale equal ratios are equal distances", () => {
  const { at, ticks } = logScale({ from: 1, to: 100 }, { from: 0, to: 200 });
  assert.deepEqual([1, 10, 100].map(at), [0, 100, 200]);
  assert.deepEqual(ticks, [1, 2, 5, 10, 20, 50, 100]);
  assert.deepEqual(logScale({ from: 0.0009, to: 8 }, { from: 9, to: 0 }).ticks, [0.001, 0.01, 0.1, 1]);
});

test("a linear scale has a few ticks at round numbers", () => {
  assert.deepEqual(linearScale({ from: 0, to: 0.74 }, { from: 0, to: 1 }).ticks, [0, 0.2, 0.4, 0.6]);
  assert.deepEqual(linearScale({ from: 0, to: 30 }, { from: 0, to: 1 }).ticks, [0, 10, 20, 30]);
  assert.equal(linearScale({ from: 0, to: 2 }, { from: 100, to: 0 }).at(0.5), 75);
});

test("labels that have room stay where they want to be", () => {
  assert.deepEqual(spread([50, 10, 90], 15, { from: 0, to: 100 }), [50, 10, 90]);
});

test("labels that collide move apart around what they want, in their order", () => {
  assert.deepEqual(spread([50, 50], 10, { from: 0, to: 100 }), [45, 55]);
  assert.deepEqual(spread([98, 99, 40], 10, { from: 0, to: 100 }), [90, 100, 40]);
});

test("labels never overlap and stay inside as far as they fit", () => {
  fc.assert(
    fc.property(fc.array(fc.double({ min: -20, max: 220, noNaN: true }), { maxLength: 12 }), (wanted) => {
      const places = spread(wanted, 15, { from: 0, to: 200 });
      const sorted = [...places].sort((a, b) => a - b);
      for (const [index, place] of sorted.entries()) {
        assert.ok(place > -1e-9 && place < 200 + 1e-9, `${places}`);
        if (index > 0) assert.ok(place - sorted[index - 1]! > 15 - 1e-9, `${places}`);
      }
    }),
  );
});

test("what is written into a picture cannot leave its place", () => {
  assert.equal(text(1, 2.345, 'a<b & "c"'), '<text x="1" y="2.3">a&lt;b &amp; &quot;c&quot;</text>');
  assert.equal(element("g", { id: '"><script' }), '<g id="&quot;&gt;&lt;script"/>');
});
