import assert from "node:assert/strict";
import { test } from "node:test";
import { jainIndex, type SimulationReport, simulate } from "./simulate.test.kit.js";

test("probe", () => {
  const t = performance.now();
  const runs = Array.from({ length: 300 }, (_, seed) => ({
    seed,
    run: simulate(seed, { steps: 300, traffic: "random" }),
  }));
  console.log(performance.now() - t);
  const total = (f: (r: SimulationReport) => number) => runs.reduce((s, { run }) => s + f(run), 0);
  for (const k of [
    "steps",
    "submitted",
    "refused",
    "turnedOut",
    "aborted",
    "expired",
    "failed",
    "finished",
    "preemptions",
    "regionsLeaked",
  ] as const)
    console.log(
      k,
      total((r) => r[k]),
    );
  const w = runs.sort((a, b) => b.run.waitMost - a.run.waitMost).slice(0, 5);
  console.log(JSON.stringify(w.map((x) => [x.seed, x.run.waitMost, x.run.limits])));
  for (let seed = 0; seed < 20; seed++) {
    const r = simulate(seed, {
      steps: 5000,
      traffic: "saturated",
      clients: 4,
      slots: 2 + (seed % 5),
      limits: { queueMax: 32, regions: 8, stepTokens: 64, contextLength: 256 },
      rules: { leadMax: 65536, overtakenMax: 64, turnsMax: 512, preemptionsMax: 3 },
    });
    console.log(
      seed,
      jainIndex(r.service).toFixed(4),
      r.service.join(" "),
      r.preemptions,
      r.waitMost,
      r.planMicroseconds,
    );
  }
  assert.ok(true);
});
