// Sequences that may come to need more memory than there is, on a device.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Budget } from "../memory/index.js";
import { memoryCheckpoint, smallConfig } from "./random-model.test.kit.js";
import { spec, Workbench } from "./workbench.test.kit.js";

test("who gives way for want of memory says what it would have said with memory for all", async (t) => {
  using bench = await Workbench.open(memoryCheckpoint(smallConfig({ contextLength: 300 })), { regions: 4 });
  const specs = [1, 2, 3, 4].map((first) => spec(`${first}`, [first, 5, 6, 7], { maxTokens: 180 }));
  const wholeBytes = bench.cache.bytesOf(300);
  if (wholeBytes === 0) return t.skip("cells have their memory from the start here");
  const ample = bench.run(specs, { budget: new Budget(4 * wholeBytes) });
  const budget = new Budget(wholeBytes);
  const scarce = bench.run(specs, { budget });
  const preemptions = [...scarce.values()].map((outcome) => outcome.preemptions);
  assert.deepEqual(
    [...ample.values()].map((outcome) => outcome.preemptions),
    [0, 0, 0, 0],
  );
  assert.ok(
    preemptions.some((count) => count > 0),
    `${preemptions}`,
  );
  assert.ok(
    preemptions.every((count) => count <= 3),
    `${preemptions}`,
  );
  for (const [id, { tokens }] of ample) assert.deepEqual(scarce.get(id)!.tokens, tokens, id);
  assert.ok(budget.bytesCommitted <= wholeBytes);
});
