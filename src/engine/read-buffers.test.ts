import assert from "node:assert/strict";
import { test } from "node:test";
import { ReadBuffers } from "./read-buffers.js";

/** Takes some, gives them back in order, and says whether the next of this size has memory that was there. */
function isUsedAgain(buffers: ReadBuffers, sizes: readonly number[], next: number): boolean {
  const taken = sizes.map((size) => buffers.take(size));
  for (const one of taken) one[Symbol.dispose]();
  const { bytes } = buffers.take(next);
  assert.equal(bytes.length, next);
  return taken.some((one) => one.bytes.buffer === bytes.buffer);
}

const buffers = () => new ReadBuffers({ leastBytes: 100, keptBytesMax: 1000 });

test("what was given back is used again, also for less and for as much as is had at least", () => {
  assert.ok(isUsedAgain(buffers(), [300], 300));
  assert.ok(isUsedAgain(buffers(), [300], 20));
  assert.ok(isUsedAgain(buffers(), [20], 100));
  assert.ok(!isUsedAgain(buffers(), [300], 301));
});

test("the smallest that will do is taken, and nobody else's", () => {
  const all = buffers();
  const [large, small] = [all.take(500), all.take(200)];
  assert.notEqual(large.bytes.buffer, small.bytes.buffer);
  large[Symbol.dispose]();
  small[Symbol.dispose]();
  assert.equal(all.take(150).bytes.buffer, small.bytes.buffer);
  assert.equal(all.take(150).bytes.buffer, large.bytes.buffer);
});

test("no more than so much is kept", () => {
  assert.ok(!isUsedAgain(buffers(), [1001], 1001));
  assert.ok(!isUsedAgain(buffers(), [600, 500], 600));
  assert.ok(isUsedAgain(buffers(), [600, 500], 500));
});
