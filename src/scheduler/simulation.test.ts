import assert from "node:assert/strict";
import { test } from "node:test";
import { type SimulationReport, simulate } from "./simulate.test.kit.js";

const runs = Array.from({ length: 300 }, (_, seed) => ({ seed, run: simulate(seed) }));

test("every sequence is refused, aborted or finished, once", () => {
  for (const { seed, run } of runs) {
    assert.equal(run.refused + run.aborted + run.finished, run.submitted, `seed ${seed}`);
  }
});

test("no schedule leaks a region", () => {
  for (const { seed, run } of runs) assert.equal(run.regionsLeaked, 0, `seed ${seed}`);
});

test("nobody is overtaken more often than the limits allow", () => {
  for (const { seed, run } of runs) assert.ok((run.overtakenMost ?? 0) <= run.limits.overtakenMax, `seed ${seed}`);
});

test("the simulations meet what they are about", () => {
  const total = (count: (run: SimulationReport) => number) => runs.reduce((sum, { run }) => sum + count(run), 0);
  const overtaken = total((run) =>
    Number(run.limits.overtakenMax > 1 && run.overtakenMost === run.limits.overtakenMax),
  );
  const seen = {
    finished: total((run) => run.finished),
    aborted: total((run) => run.aborted),
    refused: total((run) => run.refused),
    overtaken,
  };
  for (const [what, least] of Object.entries({ finished: 8000, aborted: 800, refused: 2000, overtaken: 50 })) {
    assert.ok(seen[what as keyof typeof seen] >= least, `${what}: ${JSON.stringify(seen)}`);
  }
});
