// An engine without its process: a model on a device, and sequences that run on it to their end.

import assert from "node:assert/strict";
import { defaultSampling, type SequenceSpec } from "../core/index.js";
import type { Checkpoint } from "../formats/index.js";
import { Device } from "../ggml/index.js";
import type { Budget } from "../memory/index.js";
import { type BaseDType, DeltaPools, KvCache, type KvDType, type PoolLayout, Weights } from "../model/index.js";
import { Scheduler } from "../scheduler/index.js";
import type { ResidentVariant } from "./batch.js";
import { largestStep } from "./largest-step.js";
import { sampleToken } from "./sampler.js";
import { Stepper } from "./stepper.js";

interface WorkbenchOptions {
  readonly device?: Device;
  readonly dtype?: BaseDType;
  readonly kvDType?: KvDType;
  readonly contextLength?: number;
  readonly regions?: number;
  readonly pools?: PoolLayout;
}

/** What became of a sequence. */
export interface Outcome {
  readonly tokens: number[];
  /** Logits before each of the tokens, as the model gave them. */
  readonly logits: Float32Array[];
  /** Tokens of its prompt that were not computed. */
  cachedTokens: number;
  /** How often it gave way. */
  preemptions: number;
}

/** A sequence that decodes greedily, or as `fields` say. */
export function spec(id: string, prompt: readonly number[], fields: Partial<SequenceSpec> = {}): SequenceSpec {
  const sampling = { ...defaultSampling, seed: 1, temperature: 0 };
  return {
    id,
    variant: null,
    prompt,
    generated: [],
    sampling,
    maxTokens: 1,
    endTokens: [],
    topLogprobs: null,
    ...fields,
  };
}

export class Workbench implements Disposable {
  readonly weights: Weights;
  readonly cache: KvCache;
  readonly pools: DeltaPools | undefined;
  readonly stepper: Stepper;
  readonly #device: Device;

  /** F32 weights and f32 keys and values unless told otherwise. */
  static async open(checkpoint: Checkpoint, options: WorkbenchOptions = {}): Promise<Workbench> {
    // Models this small are computed sooner by one thread than by two that wait for each other.
    const device = options.device ?? Device.open({ kind: "cpu", threads: 1 });
    const weights = await Weights.load(device, checkpoint, { dtype: options.dtype ?? "f32" });
    return new Workbench(device, weights, options);
  }

  private constructor(device: Device, weights: Weights, options: WorkbenchOptions) {
    this.#device = device;
    this.weights = weights;
    this.cache = new KvCache(device, weights.config, {
      contextLength: options.contextLength ?? weights.config.contextLength,
      regions: options.regions ?? 8,
      dtype: options.kvDType ?? "f32",
    });
    this.pools = options.pools && new DeltaPools(device, weights.config, options.pools);
    this.pools?.copyBaseVectors(weights);
    const state = { weights, cache: this.cache, pools: this.pools };
    this.stepper = new Stepper(device, state);
    const { plan, resident } = largestStep(state, 512);
    this.stepper.reserve(plan, resident);
  }

  /** Runs sequences together until all have ended. Cells have memory for all that may come, or as much of it as `budget` says. */
  run(
    specs: readonly SequenceSpec[],
    options: {
      stepTokens?: number;
      budget?: Budget;
      resident?: (variant: string) => ResidentVariant | undefined;
    } = {},
  ): Map<string, Outcome> {
    const resident = options.resident ?? (() => undefined);
    const { cache } = this;
    const memory = options.budget && {
      budget: options.budget,
      bytesOf: (cells: number) => cache.bytesOf(cells),
      msOf: (tokens: number) => tokens,
      discard: (region: number, fromCell: number) => cache.discard(region, fromCell),
    };
    const scheduler = new Scheduler({
      regions: cache.regions,
      contextLength: cache.contextLength,
      ...(memory && { memory }),
      stepTokens: options.stepTokens ?? 512,
      queueMax: specs.length,
    });
    const outcomes = new Map<string, Outcome>();
    for (const one of specs) {
      scheduler.add(one);
      outcomes.set(one.id, { tokens: [], logits: [], cachedTokens: 0, preemptions: 0 });
    }
    while (!scheduler.isIdle) {
      const plan = scheduler.plan({
        residency: (variant) => (resident(variant) ? "resident" : "absent"),
        identity: (variant) => variant,
        hasRoom: () => false,
      });
      assert.ok(plan.spans.length > 0, "sequences wait for what never comes");
      const { batch, logits } = this.stepper.logits(plan, resident);
      const drawn = batch.outputs.map(({ sequence }, row) => {
        const outcome = outcomes.get(sequence.id)!;
        outcome.logits.push(logits[row]!.slice());
        outcome.cachedTokens = sequence.cachedTokens;
        outcome.preemptions = sequence.preemptions;
        const token = sampleToken(logits[row]!, sequence);
        outcome.tokens.push(token.token);
        return token;
      });
      scheduler.commit(plan, drawn);
    }
    return outcomes;
  }

  [Symbol.dispose](): void {
    this.#device[Symbol.dispose]();
  }
}

/** The largest difference between two vectors' elements. */
export function largestDifference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  assert.equal(actual.length, expected.length);
  let largest = 0;
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(actual[i]! - expected[i]!);
    if (!(difference <= largest)) largest = difference; // NaN stays
  }
  return largest;
}

/** How far a vector leads, its best over its second best. */
export function marginOf(logits: ArrayLike<number>): number {
  const [first, second] = Array.from(logits).sort((a, b) => b - a);
  return first! - second!;
}
