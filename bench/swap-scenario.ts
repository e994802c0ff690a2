import { existsSync, writeFileSync } from "node:fs";
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
import { runSide, type SideResult, withoutRecords } from "./side.js";

/** What serving variants is held to, against swapping them. */
const goals = { throughput: 8, ttftP99: 20, coldStart: 10 } as const;

/** One workload for Kindred and for the same engine swapping full fine-tunes, in the same memory. */
export async function swapScenario(flags: ServingFlags, signal: AbortSignal): Promise<object> {
  const setup = await setUp(flags, signal);
  console.log(describeSetup(setup, flags));
  const { crowd, crowdFolder, engine, kindredEngine, apiKeys, workload, prompts } = setup;
  const { base, slo, resident } = flags;
  const checkpoints = await restored(setup, base);
  const full = crowd.map(({ name, source }) => ({ name, path: checkpoints.get(source)! }));
  const run = { workload, slo, signal, prompts };
  const ours = await runSide(
    { kind: "kindred", base, variants: crowdFolder, engine: kindredEngine, apiKeys, isolated: false },
    run,
  );
  console.log(`Kindred\n${printRun({ ...ours.summary, models: [] }, slo)}\n`);
  signal.throwIfAborted();
  const theirs = await runSide({ kind: "swap", models: full, residentMax: resident + 1, engine, apiKeys }, run);
  console.log(
    `Swapping full fine-tunes, ${resident + 1} at once\n${printRun({ ...theirs.summary, models: [] }, slo)}\n`,
  );
  signal.throwIfAborted();
  const cold = await measureColdStart({
    base,
    variants: crowdFolder,
    names: [crowd[0]!.name, crowd[1]!.name],
    full: full[0]!,
    engine,
    rounds: flags.rounds,
  });
  console.log(comparison(ours, theirs));
  console.log(`\n${describeColdStart(cold)}`);
  if (flags.picture) {
    const runs = [
      { name: "kindred", records: ours.records },
      { name: "swap", records: theirs.records },
    ];
    const title = `${flags.count} variants, ${significant(setup.statistics.rate)} requests a second`;
    writeFileSync(flags.picture, drawRuns(title, runs, slo));
  }
  return { statistics: setup.statistics, kindred: withoutRecords(ours), swap: withoutRecords(theirs), cold };
}

function comparison(ours: SideResult, theirs: SideResult): string {
  const row = (
    name: string,
    a: number | null | undefined,
    b: number | null | undefined,
    options: { isLowGood: boolean; goal?: number },
  ) => {
    const ratio = a && b ? (options.isLowGood ? b / a : a / b) : undefined;
    return [
      name,
      a == null ? "" : significant(a),
      b == null ? "" : significant(b),
      ratio === undefined ? "" : `${significant(ratio)}×`,
      ratio === undefined || options.goal === undefined ? "" : verdict(ratio, options.goal),
    ];
  };
  const [low, high] = [{ isLowGood: true }, { isLowGood: false }];
  const [a, b] = [ours.summary, theirs.summary];
  return printColumns([
    ["", "kindred", "swap", "better by", "goal"],
    row("requests a second", a.requestThroughput, b.requestThroughput, { ...high, goal: goals.throughput }),
    row("tokens out a second", a.outputThroughput, b.outputThroughput, high),
    row("TTFT median, ms", a.ttftMs?.median, b.ttftMs?.median, low),
    row("TTFT 99 %, ms", a.ttftMs?.p99, b.ttftMs?.p99, { ...low, goal: goals.ttftP99 }),
    row("TPOT median, ms", a.tpotMs?.median, b.tpotMs?.median, low),
    row("within limits, %", 100 * (a.attainment ?? 0), 100 * (b.attainment ?? 0), high),
    row("good requests a second", a.goodput, b.goodput, high),
    row("loads", ours.loads, theirs.loads, low),
    row("ms a load", ours.loadMs, theirs.loadMs, low),
    row("peak memory, MB", ours.peakBytes / 1e6, theirs.peakBytes / 1e6, low),
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
