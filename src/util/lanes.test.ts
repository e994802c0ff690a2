import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { inLanes } from "./lanes.js";

test("does all items, so many at once and no more", async () => {
  let [busy, most] = [0, 0];
  const done: number[] = [];
  await inLanes([...Array(10).keys()], 3, async (item) => {
    busy += 1;
    most = Math.max(most, busy);
    await sleep(item % 3);
    busy -= 1;
    done.push(item);
  });
  assert.equal(most, 3);
  assert.deepEqual(done.sort((a, b) => a - b), [...Array(10).keys()]); // biome-ignore format: one thing
});

test("takes no more after a failure, and throws it once all lanes are at rest", async () => {
  const begun: number[] = [];
  let ended = 0;
  const work = inLanes([...Array(10).keys()], 2, async (item) => {
    begun.push(item);
    await sleep(item === 0 ? 5 : 1);
    ended += 1;
    if (item === 1) throw new Error("no");
  });
  await assert.rejects(work, /no/);
  assert.deepEqual(begun, [0, 1]);
  assert.equal(ended, 2);
});

test("no items are no work", async () => {
  await inLanes([], 4, async () => assert.fail());
});
