import { existsSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { untilInterrupted } from "../src/cli/interrupt.js";
import { findVariants } from "../src/cli/wire.js";
import { parametersOf, tensorBytes } from "../src/core/index.js";
import { restoreCheckpoint } from "../src/delta/index.js";
import { defaultEngineOptions, planMemory } from "../src/engine/index.js";
import { openCheckpoint, openDelta } from "../src/formats/index.js";
import {
  type Arrivals,
  drawRuns,
  generateWorkload,
  type Lengths,
  measureText,
  type Popularity,
  parseArrivals,
  parseLengths,
  parsePopularity,
  printRun,
  significant,
  statisticsOf,
  syntheticPrompts,
} from "../src/load/index.js";
import { formatBytes, printColumns } from "../src/util/index.js";
import { measureColdStart } from "./cold-start.js";
import { makeCrowd } from "./crowd.js";
import { describeMachine } from "./machine.js";
import { runSide, type SideResult } from "./side.js";

// npm run bench:serving: one workload against Kindred and against swapping full fine-tunes; see README.md beside this file.

const { values: flags } = parseArgs({
  options: {
    base: { type: "string", default: "models/tiny/base" },
    variants: { type: "string", default: "models/tiny/variants" },
    count: { type: "string", default: "32" },
    resident: { type: "string", default: "4" },
    arrivals: { type: "string", default: "poisson" },
    popularity: { type: "string", default: "zipf:1" },
    rate: { type: "string", default: "10" },
    seconds: { type: "string", default: "20" },
    prompt: { type: "string", default: "64" },
    output: { type: "string", default: "8,32" },
    seed: { type: "string", default: "1" },
    ttft: { type: "string", default: "1000" },
    tpot: { type: "string", default: "100" },
    sequences: { type: "string", default: "16" },
    context: { type: "string", default: "512" },
    threads: { type: "string", default: String(Math.max(1, availableParallelism() - 1)) },
    rounds: { type: "string", default: "5" },
    work: { type: "string", default: path.join(tmpdir(), "kindred-serving") },
    json: { type: "string" },
    picture: { type: "string" },
  },
});

const count = number("count");
if (count < 2) throw new Error("--count takes at least 2: variants are loaded in turns");
const resident = number("resident");
const slo = { ttftMs: number("ttft"), tpotMs: number("tpot") };
const engine = {
  ...defaultEngineOptions,
  threads: number("threads"),
  contextLength: number("context"),
  sequences: number("sequences"),
  queueMax: 1 << 16,
};

// What both sides serve: many variants of a few, and what these are as full checkpoints.
const sources = (await findVariants(flags.variants)).map((source) => source.path);
const work = path.join(flags.work, path.basename(path.resolve(flags.base)));
const crowdFolder = path.join(work, `crowd-${count}`);
const crowd = await makeCrowd(sources, count, crowdFolder);
const checkpoints = await restored(sources.slice(0, count));
const names = crowd.map(({ name }) => name);
const full = crowd.map(({ name, source }) => ({ name, path: checkpoints.get(source)! }));
const fullBytes = await modelBytes(flags.base);

const workload = generateWorkload({
  seed: number("seed"),
  models: names,
  arrivals: notation<Arrivals>("arrivals", parseArrivals),
  popularity: notation<Popularity>("popularity", parsePopularity),
  promptTokens: notation<Lengths>("prompt", parseLengths),
  outputTokens: notation<Lengths>("output", parseLengths),
  clients: 1,
  rate: number("rate"),
  perModel: false,
  untilMs: 1000 * number("seconds"),
  requestsMax: Number.POSITIVE_INFINITY,
});
const statistics = statisticsOf(workload);
console.log(
  `${count} variants made of ${Math.min(count, sources.length)}, memory for the base and ${resident} full models of ${formatBytes(fullBytes)}, ${engine.threads} threads
${statistics.requests} requests over ${statistics.seconds.toFixed(1)} s for ${statistics.models} of them, ${significant(100 * statistics.top1)} % for the most popular\n`,
);

await untilInterrupted(async (signal) => {
  const run = {
    workload,
    slo,
    signal,
    prompts: async (target: Parameters<typeof measureText>[0]) =>
      syntheticPrompts(await measureText(target, names[0]!, "chat", signal), "chat", number("seed")),
  };
  // The base, what requests may come to need, and as many full models as the other side has beside it.
  const { division } = await planMemory({ ...defaultEngineOptions, ...engine, base: flags.base, variants: [] });
  const requestBytes = division.sequences * division.sequenceBytes;
  const memoryBytes = division.baseBytes + division.stepBytes + requestBytes + resident * fullBytes;
  const ours = await runSide(
    { kind: "kindred", base: flags.base, variants: crowdFolder, engine: { ...engine, memoryBytes } },
    run,
  );
  console.log(`Kindred\n${printRun({ ...ours.summary, models: [] }, slo)}\n`);
  const theirs = await runSide({ kind: "swap", models: full, residentMax: resident + 1, engine }, run);
  console.log(
    `Swapping full fine-tunes, ${resident + 1} at once\n${printRun({ ...theirs.summary, models: [] }, slo)}\n`,
  );
  signal.throwIfAborted();
  const cold = await measureColdStart({
    base: flags.base,
    variants: crowdFolder,
    names: [names[0]!, names[1 % count]!],
    full: full[0]!,
    engine,
    rounds: number("rounds"),
  });
  console.log(comparison(ours, theirs));
  console.log(
    `\nCold start, disk to first token: a variant ${significant(cold.variantMs)} ms (${significant(cold.warmMs)} warm), its full checkpoint ${significant(cold.fullMs)} ms: ${significant(cold.ratio)} times as long`,
  );
  if (flags.picture) {
    const runs = [
      { name: "kindred", records: ours.records },
      { name: "swap", records: theirs.records },
    ];
    writeFileSync(
      flags.picture,
      drawRuns(`${count} variants, ${significant(statistics.rate)} requests a second`, runs, slo),
    );
  }
  if (flags.json) {
    const summaries = { kindred: withoutRecords(ours), swap: withoutRecords(theirs) };
    const machine = describeMachine();
    writeFileSync(flags.json, `${JSON.stringify({ machine, flags, statistics, ...summaries, cold }, null, 1)}\n`);
  }
});

function comparison(ours: SideResult, theirs: SideResult): string {
  const row = (name: string, a: number | null | undefined, b: number | null | undefined, isLowGood: boolean) => {
    const ratio = a && b ? `${significant(isLowGood ? b / a : a / b)}×` : "";
    return [name, a == null ? "" : significant(a), b == null ? "" : significant(b), ratio];
  };
  const [a, b] = [ours.summary, theirs.summary];
  return printColumns([
    ["", "kindred", "swap", "better by"],
    row("requests a second", a.requestThroughput, b.requestThroughput, false),
    row("tokens out a second", a.outputThroughput, b.outputThroughput, false),
    row("TTFT median, ms", a.ttftMs?.median, b.ttftMs?.median, true),
    row("TTFT 99 %, ms", a.ttftMs?.p99, b.ttftMs?.p99, true),
    row("TPOT median, ms", a.tpotMs?.median, b.tpotMs?.median, true),
    row("within limits, %", 100 * (a.attainment ?? 0), 100 * (b.attainment ?? 0), false),
    row("good requests a second", a.goodput, b.goodput, false),
    row("loads", ours.loads, theirs.loads, true),
    row("ms a load", ours.loadMs, theirs.loadMs, true),
    row("peak memory, MB", ours.peakBytes / 1e6, theirs.peakBytes / 1e6, true),
  ]);
}

function withoutRecords({ records: _, ...result }: SideResult) {
  return result;
}

/** The variants as Hugging Face folders, by the path of their artifact. */
async function restored(artifacts: readonly string[]): Promise<ReadonlyMap<string, string>> {
  await mkdir(work, { recursive: true });
  await using base = await openCheckpoint(flags.base);
  const paths = new Map<string, string>();
  for (const artifact of artifacts) {
    const out = path.join(work, `full-${path.basename(artifact)}`);
    paths.set(artifact, out);
    if (existsSync(out)) continue;
    await using delta = await openDelta(artifact);
    await restoreCheckpoint({ base, delta, out });
  }
  return paths;
}

/** Of a checkpoint's parameters as they are stored. */
async function modelBytes(file: string): Promise<number> {
  await using checkpoint = await openCheckpoint(file);
  return parametersOf(checkpoint.config).reduce(
    (sum, { name, shape }) => sum + tensorBytes(checkpoint.tensors.get(name)!.dtype, shape),
    0,
  );
}

function number(name: keyof typeof flags): number {
  const value = Number(flags[name]);
  if (!Number.isFinite(value) || value <= 0) throw new Error(`--${name} takes a positive number, got "${flags[name]}"`);
  return value;
}

function notation<T>(name: keyof typeof flags, parse: (text: string) => T | undefined): T {
  const value = parse(flags[name]!);
  if (value === undefined)
    throw new Error(`--${name} does not know "${flags[name]}"; kindred bench --help says what it may be`);
  return value;
}
