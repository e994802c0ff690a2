import assert from "node:assert/strict";
import { test } from "node:test";
import { coldest, type Heat, heatAt, heated } from "./heat.js";

function after(uses: readonly number[]): Heat {
  return uses.reduce(heated, coldest);
}

test("a use counts one and half as much 256 turns later", () => {
  const heat = after([10]);
  assert.equal(heatAt(heat, 10), 1);
  assert.equal(heatAt(heat, 266), 0.5);
  assert.equal(heatAt(coldest, 5), 0);
});

test("of two that were used as often the later is warmer, of two used as late the one used more often", () => {
  assert.ok(heatAt(after([1, 50]), 100) < heatAt(after([1, 90]), 100));
  assert.ok(heatAt(after([90]), 100) < heatAt(after([80, 85, 90]), 100));
});

test("what was used often stays warmer than what was used once since, for a while", () => {
  const often = after(Array.from({ length: 20 }, (_, turn) => turn));
  assert.ok(heatAt(often, 500) > heatAt(after([500]), 500));
  assert.ok(heatAt(often, 2000) < heatAt(after([2000]), 2000));
});
