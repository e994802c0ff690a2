import { setImmediate as nextTurn } from "node:timers/promises";
import { Loader } from "../src/engine/loader.js";
import { capacityOf, poolLayout } from "../src/engine/pool-layout.js";
import { Stepper } from "../src/engine/stepper.js";
import { openVariants } from "../src/engine/variants.js";
import { FileSource, openCheckpoint } from "../src/formats/index.js";
import { Device, loadKernels } from "../src/ggml/index.js";
import { type BaseDType, DeltaPools, KvCache, Weights } from "../src/model/index.js";
import { type Facts, Scheduler } from "../src/scheduler/index.js";
import { Residency } from "../src/storage/index.js";
import { inLanes } from "../src/util/index.js";
import { greedySpec } from "./contender.js";
import { depthPrompts } from "./measures.js";
import { median } from "./race.js";
import type { SharedThreads } from "./shared-threads.js";

const sequences = 8;
const stepsAlone = 12;
const contextLength = 1024;
/** As a loader reads. */
const readBytes = 1 << 20;
const readsAtOnce = 4;

/** What is loaded, and beside what. */
export interface LoadRateOptions {
  readonly base: string;
  readonly dtype: BaseDType;
  /** A delta artifact or a PEFT adapter. */
  readonly variant: string;
  readonly threads: Pick<SharedThreads, "count" | "attachDevice">;
  readonly rounds: number;
}

/** Medians over the rounds, each of which measures all of them in turn; files are in the page cache. */
export interface LoadRate {
  /** Of the file that is read. */
  readonly fileBytes: number;
  /** From its file into its slots, every blob verified, while nothing else is done. */
  readonly loadMs: number;
  /** The same bytes just read, as much at a time and as many reads at once. */
  readonly readMs: number;
  /** Of each round, the plain read's time over the load's. */
  readonly readShare: number;
  /** A load while eight sequences of the base decode. */
  readonly busyLoadMs: number;
  /** One step of these without a load, and with one. */
  readonly stepMs: number;
  readonly loadingStepMs: number;
  /** Of each round, the second over the first. */
  readonly stepRatio: number;
  /** How long the thread that computes is kept from it to begin a load. */
  readonly beginMs: number;
}

/** Measures what a load takes, beside reading the same bytes and nothing else, and what it takes from steps that go on meanwhile. */
export async function measureLoadRate(options: LoadRateOptions): Promise<LoadRate> {
  await using checkpoint = await openCheckpoint(options.base);
  const { kernels } = await loadKernels();
  using device = Device.open({ kind: "cpu", threads: options.threads.count, kernels });
  options.threads.attachDevice(device);
  const { config } = checkpoint;
  const weights = await Weights.load(device, checkpoint, { dtype: options.dtype });
  const { variants, refused } = await openVariants([{ name: "loaded", path: options.variant }], checkpoint);
  if (refused[0]) throw new Error(refused[0].error.message);
  const variant = variants.get("loaded")!;
  const { file } = variant.contents;
  const layout = poolLayout(config, [variant], Number.POSITIVE_INFINITY)!;
  const pools = new DeltaPools(device, config, layout);
  pools.copyBaseVectors(weights);
  const state = { weights, pools, cache: new KvCache(device, config, { contextLength, regions: sequences }) };
  using loader = new Loader(device, state);
  const placement = new Residency(capacityOf(layout)).place("loaded", variant.needs, new Set())!;
  const step = decoder(new Stepper(device, state), config.vocabSize);

  const load = async () => {
    const startedMs = performance.now();
    const loading = loader.load(variant, placement);
    const beginMs = performance.now() - startedMs;
    await loading;
    return { beginMs, tookMs: performance.now() - startedMs };
  };
  const alone = async () => {
    const startedMs = performance.now();
    for (let index = 0; index < stepsAlone; index++) await step();
    return (performance.now() - startedMs) / stepsAlone;
  };
  const beside = async () => {
    const startedMs = performance.now();
    let isLoading = true;
    const loading = load().finally(() => {
      isLoading = false;
    });
    let steps = 0;
    for (; isLoading; steps++) await step();
    const stepMs = (performance.now() - startedMs) / steps;
    return { stepMs, ...(await loading) };
  };

  await load();
  await beside();
  const rounds: { alone: number; beside: Awaited<ReturnType<typeof beside>>; loadMs: number; readMs: number }[] = [];
  for (let round = 0; round < options.rounds; round++) {
    const stepMs = await alone();
    const busy = await beside();
    rounds.push({
      alone: stepMs,
      beside: busy,
      loadMs: (await load()).tookMs,
      readMs: await plainReadMs(file.path),
    });
  }
  const middle = (of: (round: (typeof rounds)[number]) => number) => median(rounds.map(of));
  return {
    fileBytes: file.size,
    loadMs: middle(({ loadMs }) => loadMs),
    readMs: middle(({ readMs }) => readMs),
    readShare: middle(({ readMs, loadMs }) => readMs / loadMs),
    busyLoadMs: middle(({ beside: { tookMs } }) => tookMs),
    stepMs: middle((round) => round.alone),
    loadingStepMs: middle(({ beside: { stepMs } }) => stepMs),
    stepRatio: middle((round) => round.beside.stepMs / round.alone),
    beginMs: middle(({ beside: { beginMs } }) => beginMs),
  };
}

/** Decodes one token of each of eight sequences at a time, over and over at the same depth. */
function decoder(stepper: Stepper, vocabSize: number): () => Promise<void> {
  const scheduler = new Scheduler({ regions: sequences, contextLength, stepTokens: 8 * 512, queueMax: sequences });
  for (const [index, prompt] of depthPrompts(sequences, vocabSize).entries())
    scheduler.add(greedySpec(String(index), prompt));
  const facts: Facts = { residency: () => "absent", identity: (name) => name, hasRoom: () => false };
  return async () => {
    const plan = scheduler.plan(facts);
    scheduler.commit(
      plan,
      stepper.step(plan, () => undefined),
    );
    for (const { sequence } of plan.spans) {
      sequence.tokens.length = sequence.spec.prompt.length + 1;
      sequence.computedTokens = sequence.spec.prompt.length;
    }
    await nextTurn();
  };
}

async function plainReadMs(path: string): Promise<number> {
  const startedMs = performance.now();
  await using file = await FileSource.open(path);
  const buffers = Array.from({ length: readsAtOnce }, () => new Uint8Array(readBytes));
  const offsets = Array.from({ length: Math.ceil(file.size / readBytes) }, (_, index) => index * readBytes);
  await inLanes(offsets, readsAtOnce, async (offset) => {
    const buffer = buffers.pop()!;
    await file.read(offset, buffer.subarray(0, Math.min(readBytes, file.size - offset)));
    buffers.push(buffer);
  });
  return performance.now() - startedMs;
}
