import { writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { formatBytes } from "../src/util/index.js";
import { measureDivergences } from "./divergence.js";
import { verdict } from "./goal.js";
import { type Limits, measureLimits } from "./limits.js";
import { duel, pairings } from "./llama-duel.js";
import { openLlama } from "./llama-library.js";
import { measureLoadRate } from "./load-rate.js";
import { describeMachine } from "./machine.js";
import { placeNativeSources } from "./native-sources.js";
import { bindingFraction } from "./product-rates.js";
import type { Outcome } from "./race.js";
import { SharedThreads } from "./shared-threads.js";
import { drawnWays, measureStepCost } from "./step-cost.js";
import { compareVariants } from "./variants.js";

// npm run bench -- --model PATH.gguf --base FOLDER --tuned FOLDER: see README.md beside this file.

const { values: flags } = parseArgs({
  options: {
    model: { type: "string" },
    base: { type: "string" },
    tuned: { type: "string" },
    work: { type: "string", default: path.join(tmpdir(), "kindred-bench") },
    threads: { type: "string", default: String(availableParallelism()) },
    rounds: { type: "string", default: "11" },
    json: { type: "string" },
  },
});
if (!flags.model && !(flags.base && flags.tuned)) {
  throw new Error(
    "npm run bench takes --model PATH.gguf, or --base and --tuned, or all three; bench/README.md says what for",
  );
}
/** Of the limit that binds, what products are to reach. */
const productsGoal = 0.6;

/** Of a step, what everything beside computing may take. */
const outsideGoal = 0.05;

placeNativeSources();
const rounds = positive("rounds", flags.rounds);
const library = openLlama();
using threads = new SharedThreads(library, positive("threads", flags.threads));
const machine = describeMachine({ ggml: library.ggmlVersion, llamaCpp: library.version });
const results: object[] = [];
console.log(`${machine.cpu}, ${threads.count} threads; tokens a second, medians of ${rounds} rounds\n`);

const report = (name: string, outcome: Outcome, goal?: number) =>
  console.log(line(name, [...numbers(outcome), goal === undefined ? "" : verdict(outcome.ratio, goal)], outcome));

if (flags.model) {
  const options = { source: flags.model, folder: flags.work, threads, rounds };
  const divergences = await measureDivergences(library, options);
  const { positions, kindredQ8, llamaQ8, llamaQ4 } = divergences;
  console.log(
    `KL from the model in 32 bits, nats a token over ${positions} positions: kindred Q8_0 ${kindredQ8.toFixed(5)}, llama.cpp Q8_0 ${llamaQ8.toFixed(5)}, llama.cpp Q4_0 ${llamaQ4.toFixed(5)}\n`,
  );
  results.push({ kind: "divergence", ...divergences });
  for (const pairing of pairings) {
    console.log(line(`${pairing.name}`, ["kindred", "llama.cpp", "ratio", "goal"]));
    const { logprobDifference, unified, kernels } = await duel(library, pairing, {
      ...options,
      onOutcome: (measure, outcome) => {
        report(measure.name, outcome, measure.goal);
        results.push({
          kind: "llama.cpp",
          pairing: pairing.name,
          measure: measure.name,
          goal: measure.goal,
          ...outcome,
        });
      },
    });
    const caches = unified.length > 0 ? `one cache for ${unified.join(" and ")}` : "a cache a sequence";
    const agreement = logprobDifference === null ? "" : `; log-probabilities differ by ${logprobDifference.toFixed(3)}`;
    console.log(`  ${kernels}${agreement}; llama.cpp has ${caches}\n`);
  }
}

if (flags.base && flags.tuned) {
  const { base, tuned } = flags;
  for (const [name, sampling] of Object.entries(drawnWays)) {
    const cost = await measureStepCost({ base, threads: threads.count, sampling });
    const part = cost.outsideMs / cost.tookMs;
    console.log(
      `a step of ${cost.sequences} sequences, tokens drawn with ${name}: ${cost.tookMs.toFixed(1)} ms, ${cost.outsideMs.toFixed(2)} of them beside computing, ${(100 * part).toFixed(1)} % (goal at most ${100 * outsideGoal})`,
    );
    results.push({ kind: "step", drawn: name, ...cost });
  }
  console.log();
  let limits: Limits | undefined;
  for (const kernels of ["auto", "none"] as const) {
    const isOurs = kernels === "auto";
    limits = better(limits, await measureLimits(threads.count));
    console.log(line(`Q8_0${isOurs ? "" : " without native/"}`, ["first", "second", "ratio", "goal"]));
    const summary = await compareVariants({
      base,
      tuned,
      folder: flags.work,
      threads,
      rounds,
      kernels,
      ...(flags.model ? { peer: { library, source: flags.model } } : {}),
      onOutcome: ({ name, goal }, outcome) => {
        report(name, outcome, isOurs ? goal : undefined);
        results.push({ kind: "variants", choice: kernels, measure: name, goal, ...outcome });
      },
    });
    const { artifactBytes, bytesPerVariant, addedMs } = summary;
    limits = better(limits, await measureLimits(threads.count));
    for (const rates of summary.products)
      console.log(`  products of ${rates.name}: ${against(rates, limits, isOurs ? productsGoal : undefined)}`);
    console.log(
      `  ${summary.kernels}; a step of 8 variants takes ${addedMs.toFixed(1)} ms longer than one of the base`,
    );
    console.log(`  a variant is ${formatBytes(artifactBytes)} on disk, ${formatBytes(bytesPerVariant)} in its slots\n`);
    results.push({ kind: "products", choice: kernels, limits, ...summary });
    if (!isOurs) continue;
    const load = await measureLoadRate({ base, variant: summary.artifact, dtype: "q8_0", threads, rounds });
    console.log(
      `  a load by the loader's thread takes ${load.loadMs.toFixed(0)} ms, a plain parallel read of the file ${load.readShare.toFixed(2)} of that; beside steps ${load.busyLoadMs.toFixed(0)} ms, and each of these ${load.stepRatio.toFixed(2)} times as long\n`,
    );
    results.push({ kind: "load", ...load });
  }
}

if (flags.json)
  writeFileSync(flags.json, `${JSON.stringify({ machine, threads: threads.count, rounds, results }, null, 2)}\n`);

/** The faster of what was measured at two times: other programs can only have slowed them down. */
function better(a: Limits | undefined, b: Limits | undefined): Limits | undefined {
  if (!a || !b) return a ?? b;
  return {
    gigabytesPerSecond: Math.max(a.gigabytesPerSecond, b.gigabytesPerSecond),
    gigaproductsPerSecond: Math.max(a.gigaproductsPerSecond, b.gigaproductsPerSecond),
  };
}

/** Rates, and what part of the machine's they are where that is known. */
function against(rates: Limits, limits: Limits | undefined, goal: number | undefined): string {
  const of = (rate: number, limit: number | undefined, unit: string) =>
    `${rate.toFixed(1)} ${unit}${limit ? ` of ${limit.toFixed(0)}` : ""}`;
  const rated = [
    of(rates.gigabytesPerSecond, limits?.gigabytesPerSecond, "GB/s"),
    of(rates.gigaproductsPerSecond, limits?.gigaproductsPerSecond, "GMAC/s"),
  ].join(", ");
  if (!limits) return rated;
  const fraction = bindingFraction(rates, limits);
  const wanted = goal === undefined ? "" : `, goal ${verdict(fraction, goal)}`;
  return `${rated}: ${fraction.toFixed(2)} of what binds${wanted}`;
}

function positive(flag: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${flag} takes a positive number, got "${text}"`);
  return value;
}

function numbers({ ours, theirs, ratio }: Outcome): string[] {
  return [ours.toFixed(1), theirs.toFixed(1), ratio.toFixed(3)];
}

function line(name: string, columns: readonly string[], outcome?: Outcome): string {
  const note = outcome && outcome.disturbed > 0 ? `   ${outcome.disturbed} disturbed` : "";
  return `${name.padEnd(42)}${columns.map((column) => column.padStart(11)).join("")}${note}`;
}
