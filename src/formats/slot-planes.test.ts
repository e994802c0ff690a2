import assert from "node:assert/strict";
import { test } from "node:test";
import { f16ToNumber, numberToF16 } from "../util/index.js";
import { signsOfTernary } from "./slot-planes.js";

test("every scale is halved to the nearest half float, ties to even", () => {
  const blocks = new Uint8Array(54 << 16);
  for (let half = 0; half < 1 << 16; half++) blocks.set([half & 255, half >> 8], half * 54 + 52);
  const signs = signsOfTernary(blocks, 128, "first");
  for (let half = 0; half < 1 << 16; half++) {
    const scale = f16ToNumber(half);
    if (Number.isNaN(scale)) continue;
    assert.equal(signs[half * 18]! | (signs[half * 18 + 1]! << 8), numberToF16(scale / 2), `of ${scale}`);
  }
});
