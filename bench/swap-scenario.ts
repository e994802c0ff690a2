import { existsSync, statSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { restoreCheckpoint } from "../src/delta/index.js";
import { openCheckpoint, openDelta } from "../src/formats/index.js";
import { drawRuns, printRun, significant } from "../src/load/index.js";
import { type ColdStart, measureColdStart } from "./cold-start.js";
import { verdict } from "./goal.js";
import { curvesOf, printRates } from "./rate-curve.js";
import { drawRates } from "./rate-picture.js";
import type { ServingFlags } from "./serving-flags.js";
import { describeSetup, type ServingSetup, setUp } from "./serving-setup.js";
import { runSide, type SideResult, type SideRun, withoutRecords } from "./side.js";
import type { FullModel } from "./swap-completer.js";
import { printComparison, type SwapRun, swapGoals } from "./swap-table.js";

/** One workload for Kindred and for the same engine swapping full fine-tunes, in the same memory, at each of the rates. */
export async function swapScenario(flags: ServingFlags, signal: AbortSignal): Promise<object> {
  const runs: SwapRun[] = [];
  const statistics: object[] = [];
  let setup = await setUp(flags, flags.rates[0]!, signal);
  const checkpoints = await restored(setup, flags.base);
  const full = setup.crowd.map(({ name, source }) => ({ name, path: checkpoints.get(source)! }));
  for (const rate of flags.rates) {
    setup = await setUp(flags, rate, signal);
    console.log(describeSetup(setup, flags));
    statistics.push(setup.statistics);
    runs.push(await runSides(setup, { flags, rate, full, signal }));
    console.log(`${printComparison(runs.at(-1)!)}\n`);
  }
  const curves = curvesOf(runs);
  if (runs.length > 1) console.log(`${printRates(curves, flags.slo)}\n`);
  const cold = await measureColdStart({
    base: flags.base,
    variants: setup.crowdFolder,
    names: [setup.crowd[0]!.name, setup.crowd[1]!.name],
    full: full[0]!,
    engine: setup.engine,
    rounds: flags.rounds,
    isUncached: flags.isUncached,
  });
  console.log(describeColdStart(cold));
  if (flags.picture) {
    const title = `${flags.count} variants of one base, ${flags.threads} ${flags.threads === 1 ? "thread" : "threads"}`;
    const drawn = runs.length > 1 ? drawRates(title, curves, flags.slo) : drawRun(title, runs[0]!, flags);
    writeFileSync(flags.picture, drawn);
  }
  return {
    runs: runs.map(({ rate, kindred, swap, llama }, index) => ({
      rate,
      statistics: statistics[index],
      kindred: withoutRecords(kindred),
      swap: withoutRecords(swap),
      ...(llama ? { llama: withoutRecords(llama) } : {}),
    })),
    cold,
  };
}

/** What a run of all sides needs. */
interface RunParts {
  readonly flags: ServingFlags;
  readonly rate: number;
  readonly full: readonly FullModel[];
  readonly signal: AbortSignal;
}

async function runSides(setup: ServingSetup, { flags, rate, full, signal }: RunParts): Promise<SwapRun> {
  const { crowdFolder, engine, kindredEngine, apiKeys, workload, prompts } = setup;
  const { base, slo, resident, hasNaturalEnds, isUncached } = flags;
  const run = { workload, slo, signal, prompts, hasNaturalEnds };
  const kindred = await runSide(
    { kind: "kindred", base, variants: crowdFolder, engine: kindredEngine, apiKeys, isUncached, isolated: false },
    run,
  );
  console.log(`Kindred, ${kindred.info!.kernels}\n${printRun({ ...kindred.summary, models: [] }, slo)}\n`);
  signal.throwIfAborted();
  const swap = await runSide(
    { kind: "swap", models: full, residentMax: resident + 1, engine, apiKeys, isUncached },
    run,
  );
  console.log(`Swapping full fine-tunes, ${resident + 1} at once\n${printRun({ ...swap.summary, models: [] }, slo)}\n`);
  signal.throwIfAborted();
  if (flags.llama === undefined) return { rate, kindred, swap };
  return { rate, kindred, swap, llama: await runLlama(flags.llama, { setup, flags, full, run }) };
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

function drawRun(title: string, { rate, kindred, swap, llama }: SwapRun, { slo }: ServingFlags): string {
  const drawn = [
    { name: "kindred", records: kindred.records },
    { name: "swap", records: swap.records },
    ...(llama ? [{ name: "llama.cpp", records: llama.records }] : []),
  ];
  return drawRuns(`${title}, ${significant(rate)} requests a second`, drawn, slo);
}

function describeColdStart({ variantMs, warmMs, fullMs, ratio }: ColdStart): string {
  const own = `a variant ${significant(variantMs)} ms (${significant(warmMs)} warm), its full checkpoint ${significant(fullMs)} ms`;
  return `Cold start, disk to first token: ${own}: ${significant(ratio)} times as long, goal ${verdict(ratio, swapGoals.coldStart)}`;
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
