import { writeFile } from "node:fs/promises";
import type { Command } from "commander";
import { KindredError } from "../core/index.js";
import {
  drawRuns,
  generateWorkload,
  markCold,
  measureText,
  type PlannedRequest,
  printCsv,
  printRun,
  promptsOf,
  type RequestRecord,
  type RunSummary,
  readTrace,
  replay,
  significant,
  statisticsOf,
  summarizeRun,
  syntheticPrompts,
  Target,
  type TargetModel,
  type TargetOptions,
  tracedWorkload,
  type WorkloadStatistics,
} from "../load/index.js";
import { type BenchFlags, benchFlags, durationSecondsDefault, requestsMax } from "./bench-flags.js";
import { type BenchServer, startBenchServer } from "./bench-server.js";
import { untilInterrupted } from "./interrupt.js";
import { ProgressLine } from "./progress.js";

/** Adds `kindred bench`. */
export function register(program: Command): void {
  benchFlags(
    program
      .command("bench")
      .description(
        "put a server under load and measure what becomes of every request: any OpenAI-compatible one, or Kindred",
      ),
  ).action(bench);
}

async function bench(flags: BenchFlags, command: Command): Promise<void> {
  checkFlags(flags, command);
  const { statistics, summary, records, delayed, models, url } = await untilInterrupted((signal) =>
    measure(flags, signal),
  );
  console.log(`\n${printRun(summary, flags.slo)}`);
  if (delayed > 0)
    console.log(`\n${delayed} requests waited for one of ${flags.connections} connections: raise --connections`);
  if (flags.csv) await writeFile(flags.csv, printCsv(records));
  if (flags.picture)
    await writeFile(flags.picture, drawRuns(`${records.length} requests to ${url}`, drawn(records), flags.slo));
  if (flags.json) {
    const { apiKey: _, ...options } = flags;
    await writeFile(flags.json, `${JSON.stringify({ options, url, models, statistics, delayed, summary }, null, 1)}\n`);
  }
}

interface Measured {
  readonly url: string;
  readonly models: readonly string[];
  readonly statistics: WorkloadStatistics;
  readonly summary: RunSummary;
  readonly records: readonly RequestRecord[];
  readonly delayed: number;
}

async function measure(flags: BenchFlags, signal: AbortSignal): Promise<Measured> {
  await using server = flags.base === undefined ? undefined : await startBenchServer(flags.base, flags);
  const url = server?.url ?? flags.url!;
  const access = { url, apiKeys: flags.apiKey ?? [] };
  const listed = await listModels(access, signal);
  const isWhole = flags.ignoreEos && listed.every(({ owner }) => owner === "kindred");
  using target = new Target({ ...access, body: { ...(isWhole ? { ignore_eos: true } : {}), ...flags.body } });
  const models = chooseModels(flags.model, listed);
  const workload = await workloadOf(flags, models);
  const statistics = statisticsOf(workload);
  if (server) console.log(server.description);
  console.log(describeWorkload(statistics, url, isWhole));

  const prompts = await promptSource(flags, target, listed, signal);
  using line = new ProgressLine("Sending");
  const run = await replay(workload, {
    target,
    prompts,
    connectionsMax: flags.connections,
    timeoutMs: 1000 * flags.timeout,
    signal,
    onProgress: ({ sent, ended, total }) =>
      line.showFraction(ended / total, `${sent} sent, ${ended} of ${total} ended`, ended === total),
  });
  const variants = new Set(listed.filter(({ parent }) => parent !== null).map(({ id }) => id));
  const records = markCold(run.records, {
    loads: server && loadsSince(server, run.startedMs),
    mayLoad: (model) => variants.has(model),
  });
  return { url, models, statistics, records, delayed: run.delayed, summary: summarizeRun(records, flags.slo) };
}

async function listModels(access: TargetOptions, signal: AbortSignal): Promise<TargetModel[]> {
  using target = new Target(access);
  return await target.models(signal);
}

/** What commander cannot see: flags that would say nothing. */
function checkFlags(flags: BenchFlags, command: Command): void {
  const fail = (problem: string) => command.error(`error: ${problem}`);
  if (flags.url === undefined && flags.base === undefined) fail("give --url of a server, or --base to serve");
  if (flags.variants !== undefined && flags.base === undefined) fail("--variants are served on a --base");
  if (flags.speed !== undefined && flags.trace === undefined) fail("--speed is for a --trace");
  if (flags.url === undefined) return;
  for (const name of ["device", "threads", "baseDtype", "kvDtype", "context", "memory", "sequences"])
    if (command.getOptionValueSource(name) === "cli")
      fail(`--url is of a server that runs already: ${name} cannot be chosen`);
}

/** The models that were named, or all variants; without variants, whatever there is. */
function chooseModels(named: readonly string[] | undefined, listed: readonly TargetModel[]): readonly string[] {
  const unknown = named?.find((name) => !listed.some(({ id }) => id === name));
  if (unknown !== undefined) {
    const known = listed.map(({ id }) => id).join(", ");
    throw new KindredError("model_not_found", 404, `The server has no model "${unknown}"; it lists ${known}`);
  }
  if (named) return named;
  const variants = listed.filter(({ parent }) => typeof parent === "string");
  return (variants.length > 0 ? variants : listed).map(({ id }) => id);
}

async function workloadOf(flags: BenchFlags, models: readonly string[]): Promise<PlannedRequest[]> {
  const { requests, duration, seed, popularity, promptTokens, outputTokens, arrivals, rate } = flags;
  const isEndless = flags.trace === undefined && requests === undefined && duration === undefined;
  const content = {
    seed,
    models,
    popularity,
    promptTokens,
    outputTokens,
    clients: flags.apiKey?.length ?? 1,
    untilMs: 1000 * (isEndless ? durationSecondsDefault : (duration ?? Number.POSITIVE_INFINITY)),
    requestsMax: requests ?? requestsMax,
  };
  if (flags.trace) return tracedWorkload(await readTrace(flags.trace), { ...content, speed: flags.speed ?? 1 });
  return generateWorkload({ ...content, arrivals, rate, perModel: flags.perModel === true });
}

/** From the file that was given, or random words of the lengths that were asked for. */
async function promptSource(flags: BenchFlags, target: Target, listed: readonly TargetModel[], signal: AbortSignal) {
  const { prompts, endpoint, seed } = flags;
  if (prompts) return promptsOf(prompts, endpoint, seed);
  // The base is asked how long words are, so that no variant is loaded for it.
  const asked = listed.find(({ parent }) => parent === null) ?? listed[0]!;
  const scale = await measureText(target, asked.id, endpoint, signal);
  return syntheticPrompts(scale, endpoint, seed);
}

function loadsSince({ loads }: BenchServer, startedMs: number) {
  return loads.map(({ model, atMs }) => ({ model, atMs: atMs - startedMs })).filter(({ atMs }) => atMs >= 0);
}

/** All requests, and those that waited for their variant apart where there are both. */
function drawn(records: readonly RequestRecord[]) {
  const cold = records.filter(({ isCold }) => isCold);
  const warm = records.filter(({ isCold }) => !isCold);
  const parts = cold.length > 0 && warm.length > 0;
  return [
    { name: "all", records },
    ...(parts
      ? [
          { name: "warm", records: warm },
          { name: "cold", records: cold },
        ]
      : []),
  ];
}

function describeWorkload(statistics: WorkloadStatistics, url: string, isWhole: boolean): string {
  const { requests, seconds, rate, gapCv, switchRate, models, top1, promptTokensMean, outputTokensMean } = statistics;
  return [
    `${requests} requests to ${url} over ${seconds.toFixed(1)} s: ${significant(rate)} a second, coefficient of variation ${significant(gapCv)}`,
    `${models} models, the most popular in ${significant(100 * top1)} % of requests; ${significant(100 * switchRate)} % follow one for another model`,
    `prompts of ${significant(promptTokensMean)} tokens, answers of ${isWhole ? "" : "up to "}${significant(outputTokensMean)}, in the mean`,
  ].join("\n");
}
