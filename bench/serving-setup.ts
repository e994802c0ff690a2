import path from "node:path";
import { findVariants } from "../src/cli/wire.js";
import { parametersOf, tensorBytes } from "../src/core/index.js";
import { defaultEngineOptions, type EngineOptions } from "../src/engine/index.js";
import { openCheckpoint } from "../src/formats/index.js";
import {
  generateWorkload,
  measureText,
  type PlannedRequest,
  readTrace,
  significant,
  statisticsOf,
  syntheticPrompts,
  tracedWorkload,
  type WorkloadStatistics,
} from "../src/load/index.js";
import { formatBytes } from "../src/util/index.js";
import { type CrowdMember, makeCrowd } from "./crowd.js";
import { withVariantMemory } from "./engine-memory.js";
import type { ServingFlags } from "./serving-flags.js";
import type { SideRun } from "./side.js";

/** What every scenario begins with: variants on disk, an engine's options, and what will be asked. */
export interface ServingSetup {
  readonly crowd: readonly CrowdMember[];
  readonly crowdFolder: string;
  /** The real variants that the crowd is made of. */
  readonly sources: readonly string[];
  readonly work: string;
  /** Of one full model as it is stored. */
  readonly fullBytes: number;
  /** Of an engine that is to serve full models. */
  readonly engine: Omit<EngineOptions, "base" | "variants">;
  /** The same with memory for variants: as much as full models of `--resident` take. */
  readonly kindredEngine: Omit<EngineOptions, "base" | "variants">;
  readonly apiKeys: readonly string[];
  readonly workload: readonly PlannedRequest[];
  readonly statistics: WorkloadStatistics;
  readonly prompts: SideRun["prompts"];
}

/** Makes the crowd where it is not there yet, and draws the workload, of `rate` requests a second where no trace has its times. */
export async function setUp(flags: ServingFlags, rate: number, signal: AbortSignal): Promise<ServingSetup> {
  const sources = (await findVariants(flags.variants)).map((source) => source.path);
  const work = path.join(flags.work, path.basename(path.resolve(flags.base)));
  const crowdFolder = path.join(work, `crowd-${flags.count}-${path.basename(path.resolve(flags.variants))}`);
  const crowd = await makeCrowd(sources, flags.count, crowdFolder);
  const names = crowd.map(({ name }) => name);
  const fullBytes = await modelBytes(flags.base);
  const engine = {
    ...defaultEngineOptions,
    baseDType: flags.baseDType,
    threads: flags.threads,
    contextLength: flags.context,
    sequences: flags.sequences,
    queueMax: 1 << 16,
  };
  const workload = await workloadOf(flags, rate, names);
  return {
    crowd,
    crowdFolder,
    sources: sources.slice(0, flags.count),
    work,
    fullBytes,
    engine,
    kindredEngine: await withVariantMemory(flags.base, engine, {
      bytes: fullBytes,
      resident: flags.resident,
      registered: flags.count,
    }),
    apiKeys: flags.clients === 1 ? [] : Array.from({ length: flags.clients }, (_, index) => `client-${index}`),
    workload,
    statistics: statisticsOf(workload),
    prompts: async (target) =>
      syntheticPrompts(await measureText(target, names[0]!, "chat", signal), "chat", flags.seed),
  };
}

/** What is served and what is asked, in two lines. */
export function describeSetup({ sources, fullBytes, statistics }: ServingSetup, flags: ServingFlags): string {
  const { requests, seconds, models, top1, gapCv } = statistics;
  return `${flags.count} variants made of ${sources.length}, memory for the base and ${flags.resident} full models of ${formatBytes(fullBytes)}, ${flags.threads} threads
${requests} requests over ${seconds.toFixed(1)} s for ${models} of them, ${significant(100 * top1)} % for the most popular; gaps vary by ${significant(gapCv)}\n`;
}

async function workloadOf(flags: ServingFlags, rate: number, models: readonly string[]): Promise<PlannedRequest[]> {
  const content = {
    seed: flags.seed,
    models,
    popularity: flags.popularity,
    promptTokens: flags.prompt,
    outputTokens: flags.output,
    clients: flags.clients,
    untilMs: 1000 * flags.seconds,
    requestsMax: Number.POSITIVE_INFINITY,
  };
  if (flags.trace === undefined)
    return generateWorkload({ ...content, arrivals: flags.arrivals, rate, perModel: false });
  const traced = tracedWorkload(await readTrace(flags.trace), { ...content, speed: flags.speed });
  return traced.map((request) => cut(request, flags.context));
}

/** A request of a trace as far as it fits the context: a quarter of it for the answer, and room for the words to be longer than they were measured. */
function cut(request: PlannedRequest, context: number): PlannedRequest {
  const outputTokens = Math.min(request.outputTokens, Math.floor(context / 4));
  return { ...request, outputTokens, promptTokens: Math.min(request.promptTokens, Math.floor(context / 2)) };
}

/** Of a checkpoint's parameters as they are stored. */
async function modelBytes(file: string): Promise<number> {
  await using checkpoint = await openCheckpoint(file);
  return parametersOf(checkpoint.config).reduce(
    (sum, { name, shape }) => sum + tensorBytes(checkpoint.tensors.get(name)!.dtype, shape),
    0,
  );
}
