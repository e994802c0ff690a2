import { availableParallelism } from "node:os";
import { setImmediate as nextTurn } from "node:timers/promises";
import {
  DeadlineExceeded,
  errorToData,
  ModelNotFound,
  Overloaded,
  type SequenceSpec,
  type StepPlan,
  type WantedVariant,
} from "../core/index.js";
import { type Checkpoint, openCheckpoint } from "../formats/index.js";
import { Device, loadKernels } from "../ggml/index.js";
import { type DecoderState, DeltaPools, KvCache, Weights } from "../model/index.js";
import { type Facts, Scheduler } from "../scheduler/index.js";
import { Residency } from "../storage/index.js";
import { assert } from "../util/index.js";
import type { ResidentVariant } from "./batch.js";
import { largestStep } from "./largest-step.js";
import { Loader } from "./loader.js";
import type { EngineInfo, EngineOptions, FromEngine } from "./messages.js";
import { capacityOf, poolLayout } from "./pool-layout.js";
import { Stepper } from "./stepper.js";
import { openVariants, type RegisteredVariant } from "./variants.js";

/** What an engine does where its starter did not choose. */
export const defaultEngineOptions: Omit<EngineOptions, "base" | "variants"> = {
  baseDType: "auto",
  kvDType: "f16",
  device: "cpu",
  threads: availableParallelism(),
  contextLength: 2048,
  sequences: 16,
  slotBytes: 1 << 30,
  stepTokens: 512,
  queueMax: 256,
};

/** Loads under way at once: one is done after the other, so what is wanted then is asked again before more are begun. */
const loadsMax = 4;

/** The longest that a timer of Node can wait. */
const timerMaxMs = 2 ** 31 - 1;

/** Steps of an engine, and what they took. */
export interface StepTimes {
  readonly steps: number;
  readonly tookMs: number;
  readonly computeMs: number;
}

/**
 * One base on one device, its variants, and the sequences that run on them. `run` computes step after step as long as there
 * is work and waits when there is none; everything that happens goes out through `emit`. The device owns what was made on it, so
 * disposing the engine frees all.
 */
export class Engine implements Disposable {
  readonly info: EngineInfo;
  readonly #emit: (message: FromEngine) => void;
  readonly #device: Device;
  readonly #state: DecoderState;
  readonly #stepper: Stepper;
  readonly #scheduler: Scheduler;
  readonly #residency: Residency;
  /** None where there are no variants. */
  readonly #loader: Loader | undefined;
  readonly #variants: ReadonlyMap<string, RegisteredVariant>;
  #stepTimes: StepTimes = { steps: 0, tookMs: 0, computeMs: 0 };
  readonly #loading = new Set<string>();
  /** How often each variant was loaded. */
  readonly #loads = new Map<string, number>();
  readonly #facts: Facts = {
    residency: (variant) =>
      this.#loading.has(variant) ? "loading" : this.#residency.find(variant) ? "resident" : "absent",
    identity: (variant) => this.#variants.get(variant)!.digest ?? `load ${this.#loads.get(variant)}`,
    hasRoom: (variant, pinned) =>
      this.#residency.hasRoom(
        this.#variants.get(variant)!.needs,
        (other) => pinned.has(other) || this.#loading.has(other),
      ),
  };
  #wake: (() => void) | undefined;
  #stopped = false;

  /**
   * Loads the base and opens the variants' artifacts. A variant that cannot be served on this base is left out and named in
   * `info.refused`; a base that cannot be loaded throws, with everything freed.
   */
  static async open(options: EngineOptions, emit: (message: FromEngine) => void): Promise<Engine> {
    await using checkpoint = await openCheckpoint(options.base);
    const { kernels, summary } = await loadKernels({ device: options.device });
    const device = Device.open({ kind: options.device, threads: options.threads, kernels });
    try {
      return await Engine.#assemble(options, emit, device, checkpoint, summary);
    } catch (error) {
      device[Symbol.dispose]();
      throw error;
    }
  }

  static async #assemble(
    options: EngineOptions,
    emit: (message: FromEngine) => void,
    device: Device,
    checkpoint: Checkpoint,
    kernels: string,
  ): Promise<Engine> {
    const { config } = checkpoint;
    const weights = await Weights.load(device, checkpoint, {
      dtype: options.baseDType,
      onProgress: (progress) => emit({ type: "loading", ...progress }),
    });
    const { variants, refused } = await openVariants(options.variants, checkpoint);
    const contextLength = Math.min(options.contextLength, config.contextLength);
    const cache = new KvCache(device, config, { contextLength, regions: options.sequences, dtype: options.kvDType });
    const layout = poolLayout(config, [...variants.values()], options.slotBytes);
    const pools = layout && new DeltaPools(device, config, layout);
    pools?.copyBaseVectors(weights);
    const state = { weights, cache, pools };
    const stepper = new Stepper(device, state);
    const { plan, resident } = largestStep(state, options.stepTokens);
    stepper.reserve(plan, resident);
    const info: EngineInfo = {
      device: device.description,
      kernels,
      threads: device.threads,
      contextLength,
      sequences: options.sequences,
      baseBytes: weights.byteLength,
      kvBytes: cache.byteLength,
      slotBytes: pools?.byteLength ?? 0,
      variantsMax: layout?.variants ?? 0,
      refused,
    };
    return new Engine({ options, emit, device, state, stepper, variants, info });
  }

  private constructor(parts: {
    options: EngineOptions;
    emit: (message: FromEngine) => void;
    device: Device;
    state: DecoderState;
    stepper: Stepper;
    variants: ReadonlyMap<string, RegisteredVariant>;
    info: EngineInfo;
  }) {
    const { options, state } = parts;
    this.info = parts.info;
    this.#emit = parts.emit;
    this.#device = parts.device;
    this.#state = state;
    this.#stepper = parts.stepper;
    this.#variants = parts.variants;
    this.#scheduler = new Scheduler({
      regions: options.sequences,
      contextLength: state.cache.contextLength,
      stepTokens: options.stepTokens,
      queueMax: options.queueMax,
    });
    this.#residency = new Residency(capacityOf(state.pools?.layout));
    this.#loader = state.pools && new Loader(parts.device);
  }

  /** What steps took so far, of which the device computed for `computeMs`; the rest is planning, arrays, drawing tokens and messages. */
  get stepTimes(): StepTimes {
    return this.#stepTimes;
  }

  /** Queues a sequence; its tokens come through `emit`, or one `failed` message that says why not. */
  submit(spec: SequenceSpec): void {
    try {
      if (spec.variant !== null && !this.#variants.has(spec.variant)) {
        throw new ModelNotFound(spec.variant);
      }
      const turnedOut = this.#scheduler.add(spec);
      if (turnedOut !== undefined) {
        this.#fail(turnedOut, new Overloaded("The queue is full, and this request was the last of the most in it", 1));
      }
    } catch (error) {
      this.#fail(spec.id, error);
    }
    this.#wake?.();
  }

  /** Forgets a sequence and gives its place back; nothing more is emitted for it. */
  abort(id: string): void {
    this.#scheduler.abort(id);
    this.#wake?.();
  }

  /** Computes until `stop`. */
  async run(): Promise<void> {
    while (!this.#stopped) {
      const startedMs = performance.now();
      for (const { id, generatedTokens } of this.#scheduler.expire(Date.now())) {
        this.#fail(id, new DeadlineExceeded(generatedTokens));
      }
      const plan = this.#scheduler.plan(this.#facts);
      for (const wanted of plan.wanted) this.#load(wanted);
      if (plan.spans.length === 0) {
        await this.#woken();
        continue;
      }
      this.#step(plan);
      await nextTurn(); // messages and the loader's get their turn between steps
      const { steps, tookMs } = this.#stepTimes;
      this.#stepTimes = {
        steps: steps + 1,
        tookMs: tookMs + performance.now() - startedMs,
        computeMs: this.#stepper.computeMs,
      };
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#wake?.();
  }

  [Symbol.dispose](): void {
    this.stop();
    this.#device[Symbol.dispose](); // the loader with it, which reads the variants' files
    for (const { source } of this.#variants.values()) void source[Symbol.asyncDispose]();
  }

  /** A step that fails takes its sequences with it and nobody else. */
  #step(plan: StepPlan): void {
    for (const { sequence } of plan.spans) if (sequence.variant !== null) this.#residency.touch(sequence.variant);
    try {
      const tokens = this.#stepper.step(plan, (variant) => this.#resident(variant));
      const started = plan.spans.flatMap(({ sequence: { id, spec, generatedTokens, cachedTokens }, samples }) =>
        samples && generatedTokens === spec.generated.length ? [{ id, cachedTokens }] : [],
      );
      const finished = this.#scheduler.commit(plan, tokens);
      if (tokens.length > 0) this.#emit({ type: "step", started, tokens, finished });
    } catch (error) {
      for (const { sequence } of [...plan.spans, ...(plan.copies ?? [])]) {
        if (this.#scheduler.abort(sequence.id)) this.#fail(sequence.id, error);
      }
      this.#scheduler.forgetPrefixes();
    }
  }

  #fail(id: string, error: unknown): void {
    this.#emit({ type: "failed", id, error: errorToData(error) });
  }

  #resident(variant: string): ResidentVariant | undefined {
    const placement = this.#loading.has(variant) ? undefined : this.#residency.find(variant);
    return placement && { ...placement, vocabSize: this.#variants.get(variant)!.vocabSize };
  }

  /** Begins to load a variant if there is room for it now; the plan asks again as long as it is wanted. */
  #load({ variant: name, spared }: WantedVariant): void {
    if (this.#loading.size >= loadsMax) return;
    const variant = this.#variants.get(name)!;
    const isPinned = (other: string) => spared.has(other) || this.#loading.has(other);
    const placement = this.#residency.place(name, variant.needs, isPinned);
    if (!placement) return;
    assert(this.#loader, "a variant is wanted, but none was registered");
    this.#loading.add(name);
    this.#loads.set(name, (this.#loads.get(name) ?? 0) + 1);
    const startedMs = performance.now();
    this.#loader
      .load(variant, placement, this.#state)
      .then(
        (bytes) => {
          this.#emit({ type: "variantLoaded", variant: name, bytes, tookMs: performance.now() - startedMs });
        },
        (error: unknown) => {
          this.#residency.drop(name);
          for (const id of this.#scheduler.abortVariant(name)) this.#fail(id, error);
        },
      )
      .finally(() => {
        this.#loading.delete(name);
        this.#wake?.();
      });
  }

  /** Waits for something to happen, or for the next deadline. */
  async #woken(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      const waitMs = this.#scheduler.nextDeadlineMs - Date.now();
      if (this.#stopped) resolve();
      else if (waitMs < timerMaxMs) timer = setTimeout(resolve, Math.max(1, waitMs));
    });
    clearTimeout(timer);
    this.#wake = undefined;
  }
}
