import assert from "node:assert/strict";
import { test } from "node:test";
import { Channel } from "./channel.js";

const collect = async <T>(channel: Channel<T>): Promise<T[]> => {
  const items: T[] = [];
  for await (const item of channel) items.push(item);
  return items;
};

test("what is pushed comes out in order, before and after somebody reads", async () => {
  const channel = new Channel<number>({ capacity: 8 });
  channel.push(1);
  const reading = collect(channel);
  channel.push(2);
  await new Promise(setImmediate);
  channel.push(3);
  channel.close();
  assert.deepEqual(await reading, [1, 2, 3]);
});

test("push says no once capacity items lie unread, and yes again when one was taken", async () => {
  const channel = new Channel<string>({ capacity: 2 });
  assert.deepEqual(
    ["a", "b", "c"].map((item) => channel.push(item)),
    [true, true, false],
  );
  const reader = channel[Symbol.asyncIterator]();
  assert.deepEqual(await reader.next(), { done: false, value: "a" });
  assert.equal(channel.push("d"), true);
  channel.close();
  assert.deepEqual(
    [(await reader.next()).value, (await reader.next()).value, (await reader.next()).done],
    ["b", "d", true],
  );
});

test("closing wakes a reader that waits, and with an error throws it after the last item", async () => {
  const empty = new Channel<number>({ capacity: 1 });
  const waiting = collect(empty);
  await new Promise(setImmediate);
  empty.close();
  assert.deepEqual(await waiting, []);

  const broken = new Channel<number>({ capacity: 4 });
  broken.push(1);
  broken.close(new Error("engine gone"));
  const seen: number[] = [];
  await assert.rejects(async () => {
    for await (const item of broken) seen.push(item);
  }, /engine gone/);
  assert.deepEqual(seen, [1]);
});

test("a closed channel takes nothing more, and the first close counts", async () => {
  const channel = new Channel<number>({ capacity: 4 });
  channel.close();
  channel.close(new Error("too late"));
  assert.equal(channel.push(1), false);
  assert.deepEqual(await collect(channel), []);
});
