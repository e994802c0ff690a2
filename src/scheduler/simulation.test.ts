import assert from "node:assert/strict";
import { test } from "node:test";
import { defaultRules } from "./rules.js";
import { jainIndex, type SimulationReport, simulate } from "./simulate.test.kit.js";

const runs = Array.from({ length: 200 }, (_, seed) => ({
  seed,
  run: simulate(seed, { steps: 120, traffic: "random" }),
}));

test("every sequence ends in one way: refused, turned out, aborted, expired, failed with its variant, or finished", () => {
  for (const { seed, run } of runs) {
    const ended = run.refused + run.turnedOut + run.aborted + run.expired + run.failed + run.finished;
    assert.equal(ended, run.submitted, `seed ${seed}`);
  }
});

test("no schedule leaks a region", () => {
  for (const { seed, run } of runs) assert.equal(run.regionsLeaked, 0, `seed ${seed}`);
});

test("no schedule leaks a byte", () => {
  for (const { seed, run } of runs) assert.equal(run.bytesLeaked, 0, `seed ${seed}`);
});

test("nobody waits longer than if all the places of the line and of the cache went before him, one by one", () => {
  const longestLoad = 15;
  for (const { seed, run } of runs) {
    const { queueMax, regions, contextLength } = run.limits;
    const bound = (queueMax + 2 * regions) * (contextLength + longestLoad);
    assert.ok(run.waitMost <= bound, `seed ${seed}: ${run.waitMost} steps of ${bound}`);
  }
});

test("the simulations meet what they are about", () => {
  const least = {
    finished: 4500,
    turnedOut: 2000,
    aborted: 800,
    expired: 50,
    failed: 200,
    refused: 3000,
    preemptions: 400,
    cachedTokens: 10_000,
    copies: 100,
    memoryWaits: 300,
    stepsBeyond: 500,
  };
  for (const [what, count] of Object.entries(least)) {
    const seen = runs.reduce((sum, { run }) => sum + run[what as keyof typeof least], 0);
    assert.ok(seen >= count, `${what}: ${seen}`);
  }
});

test("clients that ask for all they can get, and for the same, get the same, also when their variants take turns in the slots", () => {
  for (const slots of [2, 3, 6]) {
    for (const { seed, run } of saturated(1, slots)) {
      assert.ok(jainIndex(run.service) >= 0.99, `seed ${seed}, ${slots} slots: ${run.service}`);
    }
  }
});

test("clients whose requests are up to 27 times as long as those of others get no more for it", () => {
  for (const { seed, run } of saturated(3, 6)) {
    assert.ok(jainIndex(run.service) >= 0.99, `seed ${seed}: ${run.service}`);
  }
});

test("clients that share memory for a few requests and a variant get the same of it", () => {
  const all = ({ service }: SimulationReport) => service.reduce((a, b) => a + b);
  const ample = saturated(3, 6, { contextLength: 96 });
  for (const [index, { seed, run }] of saturated(3, 6, { contextLength: 96, spareBytes: 50 }).entries()) {
    assert.ok(all(run) < 0.6 * all(ample[index]!.run), `seed ${seed}: ${all(run)} as if there were enough for all`);
    assert.ok(jainIndex(run.service) >= 0.99, `seed ${seed}: ${run.service}`);
  }
});

test("requests of which each may come to need all memory run side by side, are seldom interrupted, and get the same", () => {
  const scarce = { contextLength: 400, spareBytes: 300, isOpen: true };
  const inTurn = saturated(1, 6, { ...scarce, preemptionsMax: 0 });
  for (const [index, { seed, run }] of saturated(1, 6, scarce).entries()) {
    assert.ok(run.runningMean > 4 * inTurn[index]!.run.runningMean, `seed ${seed}: ${run.runningMean} at once`);
    assert.ok(run.preemptions < 0.5 * run.finished, `seed ${seed}: ${run.preemptions} of ${run.finished}`);
    assert.ok(jainIndex(run.service) >= 0.99, `seed ${seed}: ${run.service}`);
  }
});

function saturated(
  growth: number,
  slots: number,
  { contextLength = 256, spareBytes = Number.POSITIVE_INFINITY, isOpen = false, preemptionsMax = 3 } = {},
): { seed: number; run: SimulationReport }[] {
  const limits = { queueMax: 32, regions: 8, stepTokens: 64, contextLength };
  const rules = { ...defaultRules, preemptionsMax };
  const options = { steps: 500, traffic: "saturated", clients: 4, growth, slots, limits, rules, isOpen } as const;
  return [1, 2].map((seed) => ({ seed, run: simulate(seed, { ...options, spareBytes }) }));
}
