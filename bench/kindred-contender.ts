import type { ModelConfig, Sequence, StepPlan } from "../src/core/index.js";
import type { ResidentVariant } from "../src/engine/batch.js";
import { capacityOf, poolLayout } from "../src/engine/pool-layout.js";
import { Reading } from "../src/engine/reading.js";
import { Stepper } from "../src/engine/stepper.js";
import { loadVariant } from "../src/engine/variant-load.js";
import { openVariants } from "../src/engine/variants.js";
import { openCheckpoint } from "../src/formats/index.js";
import { Device, loadKernels } from "../src/ggml/index.js";
import { type BaseDType, DeltaPools, KvCache, type KvDType, Weights } from "../src/model/index.js";
import { Scheduler } from "../src/scheduler/index.js";
import { Residency } from "../src/storage/index.js";
import { type Contender, greedySpec, type Prompt, tokensReadAtOnce } from "./contender.js";
import type { SharedThreads } from "./shared-threads.js";

export interface KindredOptions {
  /** A Hugging Face folder or a GGUF file. */
  readonly base: string;
  readonly dtype: BaseDType;
  readonly threads: SharedThreads;
  readonly contextLength: number;
  readonly sequences: number;
  /** How keys and values are held; f16 without it. */
  readonly kvDType?: KvDType;
  /** Which kernels of our own to compute with, as `loadKernels` takes it; `auto` without it. */
  readonly kernels?: string;
  /** Delta artifacts, all of which are made resident. */
  readonly variants?: readonly { readonly name: string; readonly path: string }[];
}

/**
 * Kindred's scheduler and stepper, driven as its engine drives them. What is timed is all of a step: the plan, the arrays, the
 * pass, the logits' way to the host, drawing the likeliest token, and the books.
 */
export class KindredContender implements Contender, Disposable {
  readonly name = "kindred";
  readonly config: ModelConfig;
  /** What was read of one variant; 0 without variants. */
  readonly artifactBytes: number;
  /** Which kernels of our own it computes with, or why none. */
  readonly kernels: string;
  /** Memory that one resident variant takes in the pools. */
  readonly bytesPerVariant: number;
  readonly #options: KindredOptions;
  readonly #device: Device;
  readonly #stepper: Stepper;
  readonly #residents: ReadonlyMap<string, ResidentVariant>;
  #scheduler: Scheduler;
  #sequences: readonly Sequence[] = [];

  static async open(options: KindredOptions): Promise<KindredContender> {
    await using checkpoint = await openCheckpoint(options.base);
    const { kernels, summary } = await loadKernels({ choice: options.kernels ?? "auto" });
    const device = Device.open({ kind: "cpu", threads: options.threads.count, kernels });
    options.threads.attachDevice(device);
    const { config } = checkpoint;
    const weights = await Weights.load(device, checkpoint, { dtype: options.dtype });
    const { contextLength, sequences } = options;
    const cache = new KvCache(device, config, { contextLength, regions: sequences, dtype: options.kvDType ?? "f16" });
    const { variants, refused } = await openVariants(options.variants ?? [], checkpoint);
    if (refused[0]) throw new Error(refused[0].error.message);
    const layout = poolLayout(config, [...variants.values()], Number.POSITIVE_INFINITY);
    const pools = layout && new DeltaPools(device, config, layout);
    pools?.copyBaseVectors(weights);
    const state = { weights, cache, pools };

    const residency = new Residency(capacityOf(layout));
    const residents = new Map<string, ResidentVariant>();
    let artifactBytes = 0;
    for (const [name, variant] of variants) {
      const placement = residency.place(name, variant.needs, new Set())!;
      artifactBytes = await loadVariant(variant, placement, state);
      residents.set(name, { ...placement, vocabSize: variant.vocabSize });
    }
    return new KindredContender(options, device, new Stepper(device, state), {
      config,
      residents,
      artifactBytes,
      kernels: summary,
      bytesPerVariant: pools ? pools.byteLength / variants.size : 0,
    });
  }

  private constructor(
    options: KindredOptions,
    device: Device,
    stepper: Stepper,
    {
      config,
      residents,
      artifactBytes,
      kernels,
      bytesPerVariant,
    }: Pick<KindredContender, "config" | "artifactBytes" | "kernels" | "bytesPerVariant"> & {
      residents: ReadonlyMap<string, ResidentVariant>;
    },
  ) {
    this.config = config;
    this.artifactBytes = artifactBytes;
    this.kernels = kernels;
    this.bytesPerVariant = bytesPerVariant;
    this.#options = options;
    this.#device = device;
    this.#stepper = stepper;
    this.#residents = residents;
    this.#scheduler = this.#newScheduler();
  }

  get vocabSize(): number {
    return this.config.vocabSize;
  }

  /** @param variant the base without it */
  prefillMs(prompt: Prompt, variant?: string): number {
    this.#admit([prompt], variant === undefined ? undefined : [variant]);
    const start = performance.now();
    this.#step();
    return performance.now() - start;
  }

  /** @param variants the variant of each prompt; the base without it */
  begin(prompts: readonly Prompt[], variants?: readonly string[]): void {
    this.#admit(prompts, variants);
    let plan: StepPlan;
    do plan = this.#step();
    while (plan.spans.length < prompts.length || plan.spans.some(({ samples }) => !samples));
    this.#sequences = plan.spans.map(({ sequence }) => sequence);
  }

  decodeMs(steps: number): number {
    for (const sequence of this.#sequences) {
      const { length } = sequence.spec.prompt;
      sequence.tokens.length = length + 1;
      sequence.computedTokens = length;
    }
    const start = performance.now();
    for (let index = 0; index < steps; index++) this.#step();
    return performance.now() - start;
  }

  likeliest(prompt: Prompt, count: number): ReadonlyMap<number, number> {
    this.#admit([prompt], undefined, count);
    const plan = this.#plan();
    const [drawn] = this.#stepper.step(plan, () => undefined);
    return new Map(drawn!.top.map(({ token, logprob }) => [token, logprob]));
  }

  logitsAfterEach(text: Prompt): readonly Float32Array[] {
    const reading = new Reading(this.#stepper, { variant: null, tokens: text, region: 0, resident: () => undefined });
    const rows: Float32Array[] = [];
    while (rows.length < text.length) {
      const count = Math.min(tokensReadAtOnce, text.length - rows.length);
      rows.push(...reading.advance(count, count).map((logits) => logits.slice()));
    }
    return rows;
  }

  [Symbol.dispose](): void {
    this.#device[Symbol.dispose]();
  }

  #newScheduler(): Scheduler {
    const { sequences, contextLength } = this.#options;
    return new Scheduler({ regions: sequences, contextLength, stepTokens: 512, queueMax: sequences });
  }

  /** Forgets what ran and queues these. */
  #admit(prompts: readonly Prompt[], variants?: readonly string[], topLogprobs: number | null = null): void {
    this.#scheduler = this.#newScheduler();
    prompts.forEach((prompt, index) => {
      const variant = variants?.[index] ?? null;
      this.#scheduler.add({ ...greedySpec(String(index), prompt), variant, topLogprobs });
    });
  }

  #plan(): StepPlan {
    return this.#scheduler.plan({
      residency: (variant) => (this.#residents.has(variant) ? "resident" : "absent"),
      identity: (variant) => variant,
      hasRoom: () => false,
    });
  }

  #step(): StepPlan {
    const plan = this.#plan();
    const tokens = this.#stepper.step(plan, (variant) => this.#residents.get(variant));
    this.#scheduler.commit(plan, tokens);
    return plan;
  }
}
