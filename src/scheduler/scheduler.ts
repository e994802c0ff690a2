import {
  type FinishedSequence,
  Overloaded,
  type SampledToken,
  Sequence,
  type SequenceSpec,
  type Span,
  type StepPlan,
} from "../core/index.js";
import { RegionPool } from "../kv/index.js";
import { assert } from "../util/index.js";

export interface SchedulerLimits {
  /** Sequences that run at once: the cache's regions. */
  readonly regions: number;
  /** Tokens a sequence may have in all: a region's cells. */
  readonly contextLength: number;
  /** Tokens of one step over all sequences. */
  readonly stepTokens: number;
  /** Sequences that may wait beyond those running. */
  readonly queueMax: number;
  /** A waiting sequence that was overtaken this often lets nobody past any more. */
  readonly overtakenMax: number;
}

/** What a plan needs to know of the world. */
export interface Facts {
  /** The variant's planes lie in slots. */
  isResident(variant: string): boolean;
}

/**
 * Decides what each step computes; reads no clock and waits for nothing. Running sequences come first, one token each or a
 * chunk of their prompt, as far as the step's budget goes; then waiting ones are let in, in order of arrival, except that
 * one whose variant is still loading is overtaken by others, up to a bound.
 */
export class Scheduler {
  readonly #limits: SchedulerLimits;
  readonly #regions: RegionPool;
  readonly #waiting: Sequence[] = [];
  readonly #running: Sequence[] = [];

  constructor(limits: SchedulerLimits) {
    this.#limits = limits;
    this.#regions = new RegionPool(limits.regions);
  }

  get runningCount(): number {
    return this.#running.length;
  }

  get waitingCount(): number {
    return this.#waiting.length;
  }

  get isIdle(): boolean {
    return this.#running.length === 0 && this.#waiting.length === 0;
  }

  /** The variants of running sequences: what must stay resident. */
  get runningVariants(): ReadonlySet<string> {
    return new Set(this.#running.flatMap((sequence) => sequence.variant ?? []));
  }

  /** @throws {Overloaded} when the queue is full */
  add(spec: SequenceSpec): void {
    assert(
      spec.prompt.length + spec.generated.length < this.#limits.contextLength,
      `sequence ${spec.id} does not fit a region`,
    );
    if (this.#waiting.length >= this.#limits.queueMax + this.#regions.free) {
      throw new Overloaded(
        `${this.#running.length} requests are running and ${this.#waiting.length} waiting, which is all this server takes`,
        1,
      );
    }
    this.#waiting.push(new Sequence(spec));
  }

  /** Forgets a sequence wherever it is; false when it is not here any more. */
  abort(id: string): boolean {
    const waiting = this.#waiting.findIndex((sequence) => sequence.id === id);
    if (waiting !== -1) {
      this.#waiting.splice(waiting, 1);
      return true;
    }
    const running = this.#running.find((sequence) => sequence.id === id);
    if (running) this.#retire(running);
    return running !== undefined;
  }

  /** Takes every sequence of a variant out, running or waiting, and names them: the variant cannot be had. */
  abortVariant(variant: string): string[] {
    const ids = [...this.#waiting, ...this.#running].filter((s) => s.variant === variant).map((s) => s.id);
    for (const id of ids) this.abort(id);
    return ids;
  }

  plan(facts: Facts): StepPlan {
    const wanted = this.#admit(facts);
    const spans: Span[] = [];
    let budget = this.#limits.stepTokens;
    // Decoding sequences first: their one token each must not wait for a long prompt.
    const byPending = [...this.#running].sort((a, b) => Number(a.pendingTokens > 1) - Number(b.pendingTokens > 1));
    for (const sequence of byPending) {
      const count = Math.min(sequence.pendingTokens, budget);
      if (count === 0) break;
      spans.push({ sequence, count, samples: count === sequence.pendingTokens });
      budget -= count;
    }
    return { spans, wanted };
  }

  /** Books a computed step: tokens are appended, and sequences that end give their regions back. */
  commit(plan: StepPlan, sampled: readonly SampledToken[]): FinishedSequence[] {
    const tokens = new Map(sampled.map((token) => [token.id, token.token]));
    const finished: FinishedSequence[] = [];
    for (const { sequence, count, samples } of plan.spans) {
      if (sequence.region === null) continue; // aborted while the step ran
      sequence.computedTokens += count;
      if (!samples) continue;
      const token = tokens.get(sequence.id);
      assert(token !== undefined, `no token was drawn for sequence ${sequence.id}`);
      sequence.tokens.push(token);
      const ended = sequence.spec.endTokens.includes(token);
      const full =
        sequence.generatedTokens >= sequence.spec.maxTokens || sequence.tokens.length >= this.#limits.contextLength;
      if (!ended && !full) continue;
      this.#retire(sequence);
      finished.push({ id: sequence.id, reason: ended ? "stop" : "length" });
    }
    return finished;
  }

  #admit(facts: Facts): string[] {
    const wanted = new Set<string>();
    const overtaken: Sequence[] = [];
    for (const sequence of [...this.#waiting]) {
      if (overtaken.some((passed) => passed.overtaken >= this.#limits.overtakenMax)) break;
      if (sequence.variant !== null && !facts.isResident(sequence.variant)) {
        wanted.add(sequence.variant);
        overtaken.push(sequence);
        continue;
      }
      const region = this.#regions.take();
      if (region === undefined) break;
      sequence.region = region;
      this.#waiting.splice(this.#waiting.indexOf(sequence), 1);
      this.#running.push(sequence);
      for (const passed of overtaken) passed.overtaken += 1;
    }
    return [...wanted];
  }

  #retire(sequence: Sequence): void {
    assert(sequence.region !== null, `sequence ${sequence.id} retired twice`);
    this.#running.splice(this.#running.indexOf(sequence), 1);
    this.#regions.release(sequence.region);
    sequence.region = null;
  }
}
