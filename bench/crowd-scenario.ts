import { writeFileSync } from "node:fs";
import { drawRuns, printRun, significant } from "../src/load/index.js";
import { formatBytes } from "../src/util/index.js";
import { budgetOf } from "./engine-memory.js";
import { verdict } from "./goal.js";
import type { MemorySample } from "./resident-memory.js";
import type { ServingFlags } from "./serving-flags.js";
import { describeSetup, type ServingSetup, setUp } from "./serving-setup.js";
import { runSide, type SideResult, type SideRun, withoutRecords } from "./side.js";

const goals = { memory: 1.02, fairness: 0.95 } as const;

/** Very many variants in little memory, asked in bursts by clients with equal rights. */
export async function crowdScenario(flags: ServingFlags, signal: AbortSignal): Promise<object> {
  const setup = await setUp(flags, flags.rates[0]!, signal);
  console.log(describeSetup(setup, flags));
  const result = await runCrowd(setup, flags, { signal });
  console.log(
    `Kindred, ${result.info!.kernels}\n${printRun({ ...result.summary, models: result.summary.models.slice(0, 5) }, flags.slo)}\n`,
  );
  const memory = memoryUse(result);
  const { sent, completed, outputTokens, clientFairness } = result.summary;
  const wanted = setup.workload.reduce((sum, planned) => sum + planned.outputTokens, 0);
  console.log(
    `lost requests ${sent - completed} of ${sent} ${sent === completed ? "✓" : "✗"}, ${outputTokens} tokens of ${wanted}; ${result.loads} loads`,
  );
  const mark = memory && memory.ratio <= goals.memory ? "✓" : "✗";
  console.log(
    memory ? `${describeUse(memory)}, goal at most ${goals.memory} ${mark}` : "memory: this system does not tell",
  );
  if (clientFairness !== null)
    console.log(
      `Jain's index over ${flags.clients} equal keys ${clientFairness.toFixed(3)}, goal ${verdict(clientFairness, goals.fairness)}`,
    );
  if (flags.picture) {
    const title = `${flags.count} variants, ${significant(setup.statistics.rate)} requests a second`;
    writeFileSync(flags.picture, drawRuns(title, [{ name: "kindred", records: result.records }], flags.slo));
  }
  return { statistics: setup.statistics, kindred: withoutRecords(result), memory };
}

/** Puts Kindred, as it is served, under the load of a setup. */
export function runCrowd(
  { crowdFolder, kindredEngine, apiKeys, workload, prompts }: ServingSetup,
  { base, slo, hasNaturalEnds, isUncached }: ServingFlags,
  run: Pick<SideRun, "signal" | "onProgress">,
): Promise<SideResult> {
  const side = {
    kind: "kindred",
    base,
    variants: crowdFolder,
    engine: kindredEngine,
    apiKeys,
    isUncached,
    isolated: true,
  } as const;
  return runSide(side, { workload, slo, prompts, hasNaturalEnds, ...run });
}

/** The engine's memory under load, in bytes. */
export interface MemoryUse {
  /** What its process may have. */
  readonly budgetBytes: number;
  /** The most that its process was seen to have. */
  readonly peakBytes: number;
  /** The peak over the budget. */
  readonly ratio: number;
}

/** Undefined where the system does not tell. */
export function memoryUse({ info, memory }: Pick<SideResult, "info" | "memory">): MemoryUse | undefined {
  if (info === undefined || memory.length === 0) return undefined;
  const budgetBytes = budgetOf(info);
  const peakBytes = peakOf(memory);
  return { budgetBytes, peakBytes, ratio: peakBytes / budgetBytes };
}

function peakOf(memory: readonly MemorySample[]): number {
  return memory.reduce((most, { engineBytes }) => Math.max(most, engineBytes), 0);
}

/** The peak and the budget in words. */
export function describeUse({ budgetBytes, peakBytes, ratio }: MemoryUse): string {
  return `the engine's process had ${formatBytes(peakBytes)} at most: ${ratio.toFixed(3)} of its budget of ${formatBytes(budgetBytes)}`;
}
