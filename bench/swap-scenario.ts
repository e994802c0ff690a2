import { existsSync, statSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { restoreCheckpoint } from "../src/delta/index.js";
import { openCheckpoint, openDelta } from "../src/formats/index.js";
import { drawRuns, printRun, significant } from "../src/load/index.js";
import { printColumns } from "../src/util/index.js";
import { type ColdStart, measureColdStart } from "./cold-start.js";
import { verdict } from "./goal.js";
import type { ServingFlags } from "./serving-flags.js";
import { describeSetup, type ServingSetup, setUp } from "./serving-setup.js";
import { runSide, type SideResult, type SideRun, withoutRecords } from "./side.js";
import type { FullModel } from "./swap-completer.js";

/** What serving variants is held to, against swapping them. */
const goals = { throughput: 8, ttftP99: 20, coldStart: 10 } as const;

/** One workload for Kindred and for the same engine swapping full fine-tunes, in the same memory. */
export async function swapScenario(flags: ServingFlags, signal: AbortSignal): Promise<object> {
  const setup = await setUp(flags, signal);
  console.log(describeSetup(setup, flags));
  const { crowd, crowdFolder, engine, kindredEngine, apiKeys, workload, prompts } = setup;
  const { base, slo, resident, hasNaturalEnds, isUncached } = flags;
  const checkpoints = await restored(setup, base);
  const full = crowd.map(({ name, source }) => ({ name, path: checkpoints.get(source)! }));
  const run = { workload, slo, signal, prompts, hasNaturalEnds };
  const ours = await runSide(
    { kind: "kindred", base, variants: crowdFolder, engine: kindredEngine, apiKeys, isUncached, isolated: false },
    run,
  );
  console.log(`Kindred, ${ours.info!.kernels}\n${printRun({ ...ours.summary, models: [] }, slo)}\n`);
  signal.throwIfAborted();
  const theirs = await runSide(
    { kind: "swap", models: full, residentMax: resident + 1, engine, apiKeys, isUncached },
    run,
  );
  console.log(
    `Swapping full fine-tunes, ${resident + 1} at once\n${printRun({ ...theirs.summary, models: [] }, slo)}\n`,
  );
  signal.throwIfAborted();
  const llama = flags.llama === undefined ? undefined : await runLlama(flags.llama, { setup, flags, full, run });
  const cold = await measureColdStart({
    base,
    variants: crowdFolder,
    names: [crowd[0]!.name, crowd[1]!.name],
    full: full[0]!,
    engine,
    rounds: flags.rounds,
    isUncached,
  });
  console.log(comparison(ours, theirs, llama));
  console.log(`\n${describeColdStart(cold)}`);
  if (flags.picture) {
    const runs = [
      { name: "kindred", records: ours.records },
      { name: "swap", records: theirs.records },
      ...(llama ? [{ name: "llama.cpp", records: llama.records }] : []),
    ];
    const title = `${flags.count} variants, ${significant(setup.statistics.rate)} requests a second`;
    writeFileSync(flags.picture, drawRuns(title, runs, slo));
  }
  return {
    statistics: setup.statistics,
    kindred: withoutRecords(ours),
    swap: withoutRecords(theirs),
    ...(llama ? { llama: withoutRecords(llama) } : {}),
    cold,
  };
}

/** As many servers of llama.cpp as the memory holds, one for each fine-tune that is in it. */
async function runLlama(
  file: string,
  parts: { setup: ServingSetup; flags: ServingFlags; full: readonly FullModel[]; run: SideRun },
): Promise<SideResult> {
  const { setup, flags, full, run } = parts;
  const residentMax = Math.floor(((flags.resident + 1) * setup.fullBytes) / statSync(file).size);
  if (residentMax < 1) throw new Error(`${file} is larger than the memory of ${flags.resident + 1} full models`);
  const { engine, apiKeys } = setup;
  const result = await runSide(
    { kind: "swap", models: full, residentMax, engine, apiKeys, isUncached: false, llamaFile: file },
    run,
  );
  console.log(`llama.cpp, ${residentMax} servers at once\n${printRun({ ...result.summary, models: [] }, flags.slo)}\n`);
  run.signal.throwIfAborted();
  return result;
}

/** What a line of the comparison compares. */
interface Row {
  readonly name: string;
  readonly of: (side: SideResult) => number | null | undefined;
  readonly isLowGood?: true;
  readonly goal?: number;
}

const rows: readonly Row[] = [
  { name: "requests a second", of: ({ summary }) => summary.requestThroughput, goal: goals.throughput },
  { name: "tokens out a second", of: ({ summary }) => summary.outputThroughput },
  { name: "TTFT median, ms", of: ({ summary }) => summary.ttftMs?.median, isLowGood: true },
  { name: "TTFT 99 %, ms", of: ({ summary }) => summary.ttftMs?.p99, isLowGood: true, goal: goals.ttftP99 },
  { name: "TPOT median, ms", of: ({ summary }) => summary.tpotMs?.median, isLowGood: true },
  { name: "within limits, %", of: ({ summary }) => 100 * (summary.attainment ?? 0) },
  { name: "good requests a second", of: ({ summary }) => summary.goodput },
  { name: "loads", of: ({ loads }) => loads, isLowGood: true },
  { name: "ms a load", of: ({ loadMs }) => loadMs, isLowGood: true },
  { name: "peak memory, MB", of: ({ peakBytes }) => peakBytes / 1e6, isLowGood: true },
];

function comparison(ours: SideResult, swap: SideResult, llama: SideResult | undefined): string {
  const value = (row: Row, side: SideResult) => {
    const found = row.of(side);
    return found == null ? "" : significant(found);
  };
  const better = (row: Row, side: SideResult) => {
    const [a, b] = [row.of(ours), row.of(side)];
    return a && b ? (row.isLowGood ? b / a : a / b) : undefined;
  };
  const times = (ratio: number | undefined) => (ratio === undefined ? "" : `${significant(ratio)}×`);
  return printColumns([
    ["", "kindred", "swap", "better by", "goal", ...(llama ? ["llama.cpp", "better by"] : [])],
    ...rows.map((row) => {
      const ratio = better(row, swap);
      const goal = row.goal === undefined || ratio === undefined ? "" : verdict(ratio, row.goal);
      const third = llama ? [value(row, llama), times(better(row, llama))] : [];
      return [row.name, value(row, ours), value(row, swap), times(ratio), goal, ...third];
    }),
  ]);
}

function describeColdStart({ variantMs, warmMs, fullMs, ratio }: ColdStart): string {
  const own = `a variant ${significant(variantMs)} ms (${significant(warmMs)} warm), its full checkpoint ${significant(fullMs)} ms`;
  return `Cold start, disk to first token: ${own}: ${significant(ratio)} times as long, goal ${verdict(ratio, goals.coldStart)}`;
}

/** The real variants as Hugging Face folders, by the path of their artifact. */
async function restored({ sources, work }: ServingSetup, base: string): Promise<ReadonlyMap<string, string>> {
  await mkdir(work, { recursive: true });
  await using checkpoint = await openCheckpoint(base);
  const paths = new Map<string, string>();
  for (const artifact of sources) {
    const out = path.join(work, `full-${path.basename(artifact)}`);
    paths.set(artifact, out);
    if (existsSync(out)) continue;
    await using delta = await openDelta(artifact);
    await restoreCheckpoint({ base: checkpoint, delta, out });
  }
  return paths;
}
