import assert from "node:assert/strict";
import { test } from "node:test";
import { ServiceCounters } from "./service-counters.js";

test("a newcomer starts at the level and pays from there", () => {
  const counters = new ServiceCounters<string>();
  counters.charge("ann", 100);
  assert.deepEqual([counters.of("ann"), counters.of("ben")], [100, 0]);
  counters.raise(60);
  assert.deepEqual([counters.of("ann"), counters.of("ben")], [100, 60]);
  counters.charge("ben", 5);
  counters.raise(50);
  assert.deepEqual([counters.of("ben"), counters.level], [65, 60]);
});

test("who is dropped does not come back with less than he had", () => {
  const counters = new ServiceCounters<number>();
  for (let client = 1; client <= 100; client++) {
    counters.charge(client, 10 * client);
    counters.trim(8);
    assert.ok(counters.size <= 8);
  }
  for (let client = 1; client <= 100; client++) assert.ok(counters.of(client) >= 10 * client);
});

test("counters at the level go first and change nothing", () => {
  const counters = new ServiceCounters<string>();
  for (const [name, service] of [
    ["ann", 10],
    ["ben", 20],
    ["cleo", 30],
  ] as const)
    counters.charge(name, service);
  counters.raise(20);
  counters.trim(1);
  assert.deepEqual([counters.size, counters.level], [1, 20]);
  assert.deepEqual(
    ["ann", "ben", "cleo"].map((name) => counters.of(name)),
    [20, 20, 30],
  );
});
