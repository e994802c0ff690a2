import { writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { formatBytes } from "../src/util/index.js";
import { type Limits, measureLimits } from "./limits.js";
import { duel } from "./llama-duel.js";
import { openLlama } from "./llama-library.js";
import type { PeerForm } from "./llama-peer.js";
import { describeMachine } from "./machine.js";
import type { Outcome } from "./race.js";
import { SharedThreads } from "./shared-threads.js";
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
const rounds = positive("rounds", flags.rounds);
const library = openLlama();
using threads = new SharedThreads(library, positive("threads", flags.threads));
const machine = describeMachine({ ggml: library.ggmlVersion, llamaCpp: library.version });
const results: object[] = [];
console.log(`${machine.cpu}, ${threads.count} threads; tokens a second, medians of ${rounds} rounds\n`);

if (flags.model) {
  console.log(line("", ["kindred", "llama.cpp", "ratio", "goal"]));
  const forms: readonly PeerForm[] = ["q8_0", "q4_0"];
  for (const form of forms) {
    const { logprobDifference, unified } = await duel(library, form, {
      source: flags.model,
      folder: flags.work,
      threads,
      rounds,
      onOutcome: (measure, outcome) => {
        const { ratio } = outcome;
        const verdict = ratio >= measure.goal ? "✓" : "✗";
        console.log(
          line(`${form} ${measure.name}`, [...numbers(outcome), `${measure.goal.toFixed(2)} ${verdict}`], outcome),
        );
        results.push({ kind: "llama.cpp", form, measure: measure.name, goal: measure.goal, ...outcome });
      },
    });
    console.log(
      `  log-probabilities agree to ${logprobDifference.toFixed(3)}; llama.cpp's batch has ${unified ? "one cache" : "a cache each"}\n`,
    );
  }
}

if (flags.base && flags.tuned) {
  const { base, tuned } = flags;
  console.log(line("", ["variants", "base", "ratio", ""]));
  const limits = await measureLimits(threads.count);
  for (const kernels of ["auto", "none"]) {
    const outcome = await compareVariants({ base, tuned, folder: flags.work, threads, rounds }, kernels);
    const { bytesPerVariant, loadMs, artifactBytes, added, addedMs } = outcome;
    console.log(line(`q8_0 ${outcome.variants} variants, 1 plane`, numbers(outcome), outcome));
    console.log(`  ${outcome.kernels}; a step takes ${addedMs.toFixed(1)} ms longer: ${against(added, limits)}`);
    console.log(
      `  a variant is ${formatBytes(artifactBytes)} on disk, ${formatBytes(bytesPerVariant)} in its slots, loaded in ${loadMs.toFixed(0)} ms\n`,
    );
    results.push({ kind: "variants", form: "q8_0", limits, ...outcome });
  }
}

if (flags.json)
  writeFileSync(flags.json, `${JSON.stringify({ machine, threads: threads.count, rounds, results }, null, 2)}\n`);

/** Rates, and what part they are of the machine's where that is known. */
function against(rates: Limits, limits: Limits | undefined): string {
  const of = (rate: number, limit: number | undefined, unit: string) =>
    `${rate.toFixed(1)} ${unit}${limit ? `, ${(rate / limit).toFixed(2)} of the machine's ${limit.toFixed(0)}` : ""}`;
  return [
    of(rates.gigabytesPerSecond, limits?.gigabytesPerSecond, "GB/s"),
    of(rates.gigaproductsPerSecond, limits?.gigaproductsPerSecond, "GMAC/s"),
  ].join("; ");
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
  return `${name.padEnd(26)}${columns.map((column) => column.padStart(11)).join("")}${note}`;
}
