import { writeFileSync } from "node:fs";
import { drawRuns, printRun, significant } from "../src/load/index.js";
import { formatBytes } from "../src/util/index.js";
import { budgetOf } from "./engine-memory.js";
import { verdict } from "./goal.js";
import { idleEngineBytes, type MemorySample } from "./resident-memory.js";
import type { ServingFlags } from "./serving-flags.js";
import { describeSetup, type ServingSetup, setUp } from "./serving-setup.js";
import { runSide, type SideResult, type SideRun, withoutRecords } from "./side.js";

const goals = { memory: 1.02, fairness: 0.95 } as const;

/** Very many variants in little memory, asked in bursts by clients with equal rights. */
export async function crowdScenario(flags: ServingFlags, signal: AbortSignal): Promise<object> {
  const setup = await setUp(flags, signal);
  console.log(describeSetup(setup, flags));
  const result = await runCrowd(setup, flags, { signal });
  console.log(
    `Kindred, ${result.info!.kernels}\n${printRun({ ...result.summary, models: result.summary.models.slice(0, 5) }, flags.slo)}\n`,
  );
  const memory = await memoryUse(result);
  const { sent, completed, outputTokens, clientFairness } = result.summary;
  const wanted = setup.workload.reduce((sum, planned) => sum + planned.outputTokens, 0);
  console.log(
    `lost requests ${sent - completed} of ${sent} ${sent === completed ? "✓" : "✗"}, ${outputTokens} tokens of ${wanted}; ${result.loads} loads`,
  );
  console.log(memory ? describeMemory(memory) : "memory: this system does not tell");
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
  /** What it said it would take: base, cache and slots. */
  readonly budgetBytes: number;
  /** The most that its process was seen to have. */
  readonly peakBytes: number;
  /** What the process has before it is told anything. */
  readonly idleBytes: number;
  /** What the peak is above the idle runtime, over the budget. */
  readonly ratio: number;
}

/** Undefined where the system does not tell. */
export async function memoryUse({ info, memory }: Pick<SideResult, "info" | "memory">): Promise<MemoryUse | undefined> {
  const idleBytes = await idleEngineBytes();
  if (info === undefined || idleBytes === undefined || memory.length === 0) return undefined;
  const budgetBytes = budgetOf(info);
  const peakBytes = peakOf(memory);
  return { budgetBytes, peakBytes, idleBytes, ratio: (peakBytes - idleBytes) / budgetBytes };
}

function peakOf(memory: readonly MemorySample[]): number {
  return memory.reduce((most, { engineBytes }) => Math.max(most, engineBytes), 0);
}

function describeMemory({ budgetBytes, peakBytes, idleBytes, ratio }: MemoryUse): string {
  const own = `engine ${formatBytes(peakBytes)} at most, less ${formatBytes(idleBytes)} of an idle one`;
  const mark = ratio <= goals.memory ? "✓" : "✗";
  return `memory: ${own}: ${ratio.toFixed(3)} of a budget of ${formatBytes(budgetBytes)}, goal at most ${goals.memory} ${mark}`;
}
