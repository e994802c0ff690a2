// A server's life without computing, at length: `npm run simulate -- --steps 1000000 --seeds 4`. Random traffic under every rule that
// the tests hold for shorter lives, then how fair saturated traffic is served, then what a plan costs.
import { parseArgs } from "node:util";
import { planMicroseconds } from "../dist/scheduler/plan-cost.test.kit.js";
import { defaultRules } from "../dist/scheduler/rules.js";
import { jainIndex, simulate } from "../dist/scheduler/simulate.test.kit.js";

const { values } = parseArgs({ options: { steps: { type: "string" }, seeds: { type: "string" } } });
const steps = Number(values.steps ?? 1_000_000);
const seeds = Number(values.seeds ?? 1);

for (let seed = 0; seed < seeds; seed++) {
  const { service, limits, ...counts } = simulate(seed, { steps, traffic: "random" });
  console.log(`seed ${seed}`, JSON.stringify(limits), JSON.stringify(counts));
}

const limits = { queueMax: 32, regions: 8, stepTokens: 64, contextLength: 256 };
console.log(
  "\nSaturated: 4 clients, 6 variants and the base, 8 regions; growth: how many times longer each client's requests are",
);
console.log("growth  slots  overtakenMax  Jain, least of 4 seeds  weighted tokens a step");
for (const growth of [1, 3]) {
  for (const slots of [6, 4, 3, 2]) {
    for (const overtakenMax of [8, 32, 128]) {
      const rules = { ...defaultRules, overtakenMax };
      const runs = Array.from({ length: 4 }, (_, seed) =>
        simulate(seed, {
          steps: 2000,
          traffic: "saturated",
          growth,
          clients: 4,
          slots,
          limits,
          rules,
          spareBytes: Number.POSITIVE_INFINITY,
        }),
      );
      const fairness = Math.min(...runs.map(({ service }) => jainIndex(service)));
      const served = runs.flatMap(({ service }) => service).reduce((a, b) => a + b, 0) / (2000 * runs.length);
      console.log([growth, slots, overtakenMax, fairness.toFixed(3), served.toFixed(1)].join("\t"));
    }
  }
}

console.log(
  "\nOpen: the same clients, 16 regions of 400 tokens, requests that end after 20 tokens and may fill a region; memory for one such and the largest variant, and so many bytes beyond",
);
console.log("growth  bytes beyond  let in with  Jain  weighted tokens a step  running  preempted  longest wait");
for (const growth of [1, 3]) {
  for (const spareBytes of [0, 300, 1000]) {
    for (const [memory, preemptionsMax] of [
      ["all", 0],
      ["some", defaultRules.preemptionsMax],
    ]) {
      const runs = Array.from({ length: 4 }, (_, seed) =>
        simulate(seed, {
          steps: 2000,
          traffic: "saturated",
          isOpen: true,
          growth,
          clients: 4,
          slots: 6,
          limits: { ...limits, regions: 16, contextLength: 400 },
          rules: { ...defaultRules, preemptionsMax },
          spareBytes,
        }),
      );
      const mean = (of) => runs.reduce((sum, run) => sum + of(run), 0) / runs.length;
      const row = [
        Math.min(...runs.map(({ service }) => jainIndex(service))).toFixed(3),
        mean(({ service }) => service.reduce((a, b) => a + b) / 2000).toFixed(1),
        mean(({ runningMean }) => runningMean).toFixed(1),
        mean(({ preemptions, finished }) => preemptions / finished).toFixed(2),
        Math.max(...runs.map(({ waitMost }) => waitMost)),
      ];
      console.log([growth, spareBytes, memory, ...row].join("\t"));
    }
  }
}

console.log("\nA plan and its commit, 32 running: waiting, clients, variants, microseconds");
for (const [waiting, clients, variants] of [
  [0, 1, 1],
  [256, 1, 1],
  [256, 16, 16],
  [256, 256, 256],
]) {
  console.log([waiting, clients, variants, planMicroseconds({ waiting, clients, variants }).toFixed(1)].join("\t"));
}
