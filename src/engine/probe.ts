import { defaultSampling, type SequenceSpec } from "../core/index.js";
import type { Checkpoint } from "../formats/index.js";
import type { Device } from "../ggml/index.js";
import { type BaseDType, type DecoderState, DeltaPools, KvCache, type KvDType, Weights } from "../model/index.js";
import { Scheduler } from "../scheduler/index.js";
import { Residency } from "../storage/index.js";
import { assert } from "../util/index.js";
import type { ResidentVariant } from "./batch.js";
import type { EngineOptions } from "./messages.js";
import { capacityOf, poolLayout } from "./pool-layout.js";
import { Reading } from "./reading.js";
import { Stepper } from "./stepper.js";
import { loadVariant } from "./variant-load.js";
import { type RegisteredVariant, registerVariant } from "./variants.js";

/** What is probed, and how it is held. */
export interface ProbeOptions {
  readonly base: Checkpoint;
  /** Delta artifacts by the name they are asked for by; all of them are resident at once. */
  readonly variants: EngineOptions["variants"];
  readonly baseDType: BaseDType;
  readonly kvDType: KvDType;
  /** Tokens a text may have, an answer to it included. */
  readonly contextLength: number;
  /** Answers that are written at once. */
  readonly sequences: number;
  readonly signal: AbortSignal;
}

/** A prompt, and how long the answer to it may get. */
export interface Question {
  readonly prompt: readonly number[];
  readonly tokensMax: number;
}

/** Tokens of one step over all answers that are being written. */
const stepTokens = 512;

/**
 * A base and variants of it to be measured instead of served, by the parts that serve them: the same weights, pools and steps. The
 * device owns what is made on it.
 */
export class Probe {
  readonly #state: DecoderState;
  readonly #stepper: Stepper;
  readonly #variants: ReadonlyMap<string, RegisteredVariant>;
  readonly #residency: Residency;
  readonly #sequences: number;

  /** @throws {KindredError} if a variant does not fit the base, a file is damaged, or memory is short; the signal's reason */
  static async open(device: Device, options: ProbeOptions): Promise<Probe> {
    const { base, baseDType: dtype, signal } = options;
    const variants = new Map<string, RegisteredVariant>();
    for (const { name, path } of options.variants) {
      assert(!variants.has(name), `two variants are named ${name}`);
      variants.set(name, await registerVariant(name, path, base));
    }
    const weights = await Weights.load(device, base, { dtype, signal });
    const layout = poolLayout(base.config, [...variants.values()], Number.POSITIVE_INFINITY);
    const pools = layout && new DeltaPools(device, base.config, { ...layout, variants: variants.size });
    pools?.copyBaseVectors(weights);
    // Every reading has a region of its own, and so has every answer: never both at once.
    const regions = Math.max(options.sequences, 1 + variants.size);
    const { contextLength, kvDType } = options;
    const cache = new KvCache(device, base.config, { contextLength, regions, dtype: kvDType });
    const probe = new Probe(device, { weights, cache, pools }, variants, options.sequences);
    for (const variant of variants.values()) {
      signal.throwIfAborted();
      await probe.#load(variant);
    }
    return probe;
  }

  private constructor(
    device: Device,
    state: DecoderState,
    variants: ReadonlyMap<string, RegisteredVariant>,
    sequences: number,
  ) {
    this.#state = state;
    this.#stepper = new Stepper(device, state);
    this.#variants = variants;
    this.#residency = new Residency(capacityOf(state.pools?.layout));
    this.#sequences = sequences;
  }

  /** Device memory of the base's weights. */
  get baseBytes(): number {
    return this.#state.weights.byteLength;
  }

  /** Device memory that a variant takes while it is resident. */
  residentBytes(variant: string): number {
    return this.#variant(variant).residentBytes;
  }

  /** Begins a text; null reads as the base. One reading a variant at a time. */
  read(variant: string | null, tokens: readonly number[]): Reading {
    const region = variant === null ? 0 : 1 + [...this.#variants.keys()].indexOf(variant);
    return new Reading(this.#stepper, { variant, tokens, region, resident: (name) => this.#resident(name) });
  }

  /**
   * Greedy answers, many at a time; null answers as the base. The token that ends an answer is its last, unless `tokensMax` or the
   * context ended it first.
   *
   * @throws the signal's reason when it is aborted
   */
  async answer(
    variant: string | null,
    questions: readonly Question[],
    options: { readonly endTokens: readonly number[]; readonly signal: AbortSignal },
  ): Promise<number[][]> {
    const scheduler = new Scheduler({
      regions: this.#sequences,
      contextLength: this.#state.cache.contextLength,
      stepTokens,
      queueMax: questions.length,
    });
    for (const [index, question] of questions.entries()) {
      scheduler.add(specOf(`${index}`, variant, question, options.endTokens));
    }
    const answers = questions.map((): number[] => []);
    while (!scheduler.isIdle) {
      options.signal.throwIfAborted();
      const plan = scheduler.plan({ residency: () => "resident", identity: (name) => name, hasRoom: () => true });
      const drawn = this.#stepper.step(plan, (name) => this.#resident(name));
      for (const { id, token } of drawn) answers[Number(id)]!.push(token);
      scheduler.commit(plan, drawn);
      await new Promise(setImmediate);
    }
    return answers;
  }

  async #load(variant: RegisteredVariant): Promise<void> {
    const placement = this.#residency.place(variant.name, variant.needs, new Set());
    assert(placement, `the pools were made for all variants, and ${variant.name} does not fit`);
    await loadVariant(variant, placement, this.#state);
    this.#residency.loaded(variant.name);
  }

  #variant(name: string): RegisteredVariant {
    const variant = this.#variants.get(name);
    assert(variant, `the probe has no variant ${name}`);
    return variant;
  }

  #resident(name: string): ResidentVariant | undefined {
    const placement = this.#residency.find(name);
    return placement && { ...placement, vocabSize: this.#variant(name).vocabSize };
  }
}

function specOf(
  id: string,
  variant: string | null,
  { prompt, tokensMax }: Question,
  endTokens: readonly number[],
): SequenceSpec {
  const sampling = { ...defaultSampling, temperature: 0, seed: 0 };
  return { id, variant, prompt, generated: [], sampling, maxTokens: tokensMax, endTokens, topLogprobs: null };
}
