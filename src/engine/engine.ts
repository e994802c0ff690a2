import { setImmediate as nextTurn } from "node:timers/promises";
import {
  DeadlineExceeded,
  errorToData,
  InsufficientMemory,
  ModelNotFound,
  Overloaded,
  type SequenceSpec,
  type StepPlan,
  type WantedVariant,
} from "../core/index.js";
import { openCheckpoint } from "../formats/index.js";
import { Device, loadKernels } from "../ggml/index.js";
import { Budget, Pace, type PaceGuess } from "../memory/index.js";
import type { DecoderState } from "../model/index.js";
import { type Facts, Scheduler } from "../scheduler/index.js";
import { type Placement, Residency } from "../storage/index.js";
import { assert } from "../util/index.js";
import { assemble, type EngineParts } from "./assembly.js";
import type { ResidentVariant } from "./batch.js";
import { Loader } from "./loader.js";
import type { EngineInfo, EngineOptions, FromEngine } from "./messages.js";
import { capacityOf } from "./pool-layout.js";
import type { Stepper } from "./stepper.js";
import type { RegisteredVariant } from "./variants.js";

/** Before loads were seen: some milliseconds, and a gigabyte a second. */
const loadGuess = { fixedMs: 5, unitMs: 1e-6, units: 1e7 };

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
  /** How often each variant was loaded. */
  readonly #loads = new Map<string, number>();
  readonly #loadPace = new Pace(loadGuess);
  /** When a load ended last; the next one has waited for that. */
  #loadedMs = 0;
  readonly #stepPace: Pace;
  readonly #facts: Facts = {
    residency: (variant) => this.#residency.state(variant),
    identity: (variant) => this.#variants.get(variant)!.digest ?? `load ${this.#loads.get(variant)}`,
    hasRoom: (variant, spared, bytesMore) =>
      this.#residency.hasRoom(this.#variants.get(variant)!.needs, spared, bytesMore),
  };
  #wake: (() => void) | undefined;
  #stopped = false;

  /**
   * Loads the base and registers the variants. A variant that cannot be served on this base is left out and named in
   * `info.refused`; a base that cannot be loaded throws, with everything freed.
   */
  static async open(options: EngineOptions, emit: (message: FromEngine) => void): Promise<Engine> {
    await using checkpoint = await openCheckpoint(options.base);
    const { kernels, summary } = await loadKernels({ device: options.device });
    const device = Device.open({ kind: options.device, threads: options.threads, kernels });
    try {
      const engine = new Engine(options, await assemble(options, { device, checkpoint, kernels: summary, emit }), emit);
      for (const name of options.pinned) await engine.#loadPinned(name);
      return engine;
    } catch (error) {
      device[Symbol.dispose]();
      throw error;
    }
  }

  private constructor(options: EngineOptions, parts: EngineParts, emit: (message: FromEngine) => void) {
    const { state, info } = parts;
    const { cache, pools } = state;
    this.info = info;
    this.#emit = emit;
    this.#device = parts.device;
    this.#state = state;
    this.#stepper = parts.stepper;
    this.#variants = parts.variants;
    this.#stepPace = new Pace(stepGuess(info.memory.baseBytes));
    const budget = new Budget(info.memory.sharedBytes);
    this.#scheduler = new Scheduler({
      regions: info.sequences,
      contextLength: cache.contextLength,
      stepTokens: options.stepTokens,
      queueMax: options.queueMax,
      memory: {
        budget,
        bytesOf: (cells) => cache.bytesOf(cells),
        msOf: (tokens) => this.#stepPace.estimateMs(tokens),
        discard: (region, fromCell) => cache.discard(region, fromCell),
      },
    });
    this.#residency = new Residency(capacityOf(pools?.layout), {
      memory: {
        budget,
        bytesOf: (needs) => pools?.bytesOf(needs) ?? 0,
        msOf: (bytes) => this.#loadPace.estimateMs(bytes),
        discard: ({ index, slots }) => pools?.discard(index, slots),
      },
      pinned: new Set(options.pinned),
    });
    this.#loader = pools && new Loader(parts.device, state);
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
    this.#device[Symbol.dispose]();
  }

  /** A step that fails takes its sequences with it and nobody else. */
  #step(plan: StepPlan): void {
    const startedMs = performance.now();
    try {
      const tokens = this.#stepper.step(plan, (variant) => this.#resident(variant));
      this.#stepPace.observe(tokensOf(plan), performance.now() - startedMs);
      const first = plan.spans.filter(
        ({ sequence: { spec, generatedTokens }, samples }) => samples && generatedTokens === spec.generated.length,
      );
      for (const { sequence } of first) if (sequence.variant !== null) this.#residency.use(sequence.variant);
      const started = first.map(({ sequence: { id, cachedTokens } }) => ({ id, cachedTokens }));
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
    const placement = this.#residency.state(variant) === "resident" ? this.#residency.find(variant) : undefined;
    return placement && { ...placement, vocabSize: this.#variants.get(variant)!.vocabSize };
  }

  /** Begins to load a variant if there is room for it now; the plan asks again as long as it is wanted. */
  #load({ variant: name, spared }: WantedVariant): void {
    if (this.#residency.loadingCount >= loadsMax) return;
    const placement = this.#residency.place(name, this.#variants.get(name)!.needs, spared);
    if (!placement) return;
    this.#loadInto(name, placement)
      .catch((error: unknown) => {
        for (const id of this.#scheduler.abortVariant(name)) this.#fail(id, error);
      })
      .finally(() => this.#wake?.());
  }

  /** Loads a variant before there is any work. */
  async #loadPinned(name: string): Promise<void> {
    const placement = this.#residency.place(name, this.#variants.get(name)!.needs, new Set());
    if (!placement)
      throw new InsufficientMemory(`pin ${name}`, { budgetBytes: this.info.memory.budgetBytes, parts: {} });
    await this.#loadInto(name, placement);
  }

  /** Fills a variant's slots, or gives them back. */
  async #loadInto(name: string, placement: Placement): Promise<void> {
    const variant = this.#variants.get(name)!;
    assert(this.#loader, "a variant is wanted, but none was registered");
    this.#loads.set(name, (this.#loads.get(name) ?? 0) + 1);
    const slotBytes = this.#state.pools?.bytesOf(variant.needs) ?? 0;
    const expectedMs = this.#loadPace.estimateMs(slotBytes);
    const startedMs = performance.now();
    try {
      const bytes = await this.#loader.load(variant, placement);
      const endedMs = performance.now();
      const tookMs = endedMs - startedMs;
      this.#loadPace.observe(slotBytes, endedMs - Math.max(startedMs, this.#loadedMs));
      this.#loadedMs = endedMs;
      this.#residency.loaded(name);
      const errors = { load: this.#loadPace.error, step: this.#stepPace.error };
      this.#emit({ type: "variantLoaded", variant: name, bytes, tookMs, expectedMs, errors });
    } catch (error) {
      this.#residency.drop(name);
      throw error;
    }
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

/** Before steps were seen: what the arithmetic of all weights takes one core. */
function stepGuess(baseBytes: number): PaceGuess {
  return { fixedMs: 1, unitMs: baseBytes * 2e-8, units: 100 };
}

function tokensOf({ spans }: StepPlan): number {
  return spans.reduce((sum, { count }) => sum + count, 0);
}
