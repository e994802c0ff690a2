// An engine that computes nothing and believes nothing: it keeps its own account of what lies in which region and what everybody was
// answered, and holds every plan against it.

import assert from "node:assert/strict";
import type { FinishedSequence, SampledToken, Sequence, SequenceSpec, StepPlan } from "../core/index.js";
import { uniformAt } from "../util/index.js";
import type { SchedulerLimits } from "./scheduler.js";
import { endToken } from "./scheduler.test.kit.js";

/** What the outside knows of a sequence that was accepted. */
export interface Witness {
  readonly spec: SequenceSpec;
  /** Known since its first span. */
  sequence: Sequence | undefined;
  region: number | null;
  /** Tokens in its region, by position. */
  computed: number[];
  readonly drawn: number[];
  /** Tokens of its prompt that were computed at least once. */
  promptSeen: number;
  preemptions: number;
  /** The step since which it waits. */
  waitsSince: number;
}

/** What a pretend engine draws for a sequence at a place: a function of the two alone, as the real one's. */
export function tokenOf(id: string, place: number): number {
  const name = [...id].reduce((sum, letter) => sum * 31 + letter.charCodeAt(0), 7) % 2 ** 31;
  const value = uniformAt(name, place);
  return value < 0.05 ? endToken : 3 + Math.floor(100 * value);
}

export class PretendEngine {
  readonly alive = new Map<string, Witness>();
  preemptions = 0;
  waitMost = 0;
  readonly #limits: SchedulerLimits;
  readonly #preemptionsMax: number;
  /** Whose keys lie in which region. */
  readonly #regions = new Map<number, string>();

  constructor(limits: SchedulerLimits, preemptionsMax: number) {
    this.#limits = limits;
    this.#preemptionsMax = preemptionsMax;
  }

  accept(spec: SequenceSpec, step: number): void {
    const empty = { sequence: undefined, region: null, computed: [], drawn: [], promptSeen: 0, preemptions: 0 };
    this.alive.set(spec.id, { ...empty, spec, waitsSince: step });
  }

  forget(id: string, step: number): void {
    const { region, waitsSince } = this.alive.get(id)!;
    if (region !== null) this.#regions.delete(region);
    else this.#noteWait(step - waitsSince);
    this.alive.delete(id);
  }

  /** Computes a plan and draws what it asks for. */
  compute({ spans }: StepPlan, step: number): SampledToken[] {
    for (const witness of this.alive.values()) this.#notePreemption(witness, step);
    const tokens = spans.reduce((sum, { count }) => sum + count, 0);
    assert.ok(tokens <= this.#limits.stepTokens, `${tokens} tokens in a step of ${this.#limits.stepTokens}`);
    assert.equal(new Set(spans.map(({ sequence }) => sequence.id)).size, spans.length, "a sequence has two spans");
    for (const { sequence } of spans) this.#noteStart(sequence, step);
    const sampled: SampledToken[] = [];
    for (const { sequence, count, samples } of spans) {
      const witness = this.alive.get(sequence.id)!;
      const { spec, computed } = witness;
      assert.ok(count > 0 && sequence.computedTokens === computed.length, `${sequence.id} has a gap in its cache`);
      for (const token of sequence.tokens.slice(computed.length, computed.length + count)) computed.push(token);
      assert.ok(computed.length <= this.#limits.contextLength, `${sequence.id} outgrew its region`);
      assert.equal(
        samples,
        computed.length === spec.prompt.length + witness.drawn.length,
        `${sequence.id} draws wrongly`,
      );
      witness.promptSeen = Math.max(witness.promptSeen, Math.min(computed.length, spec.prompt.length));
      if (!samples) continue;
      const token = tokenOf(sequence.id, computed.length);
      witness.drawn.push(token);
      sampled.push({ id: sequence.id, token, logprob: null, top: [] });
    }
    return sampled;
  }

  /** Those who ended, and only they, have the answer they would have had alone. */
  checkEnds(sampled: readonly SampledToken[], finished: readonly FinishedSequence[]): void {
    const reasons = new Map(finished.map(({ id, reason }) => [id, reason]));
    for (const { id, token } of sampled) {
      const { spec, drawn } = this.alive.get(id)!;
      const isFull = drawn.length >= spec.maxTokens || spec.prompt.length + drawn.length >= this.#limits.contextLength;
      assert.equal(reasons.get(id), token === endToken ? "stop" : isFull ? "length" : undefined, id);
    }
    for (const { id } of finished) {
      const { spec, drawn } = this.alive.get(id)!;
      const alone = drawn.map((_, at) => tokenOf(id, spec.prompt.length + at));
      assert.deepEqual(drawn, alone, `${id} was answered something else for being interrupted`);
    }
  }

  #notePreemption(witness: Witness, step: number): void {
    const { sequence } = witness;
    if (sequence === undefined || sequence.preemptions === witness.preemptions) return;
    this.preemptions += sequence.preemptions - witness.preemptions;
    witness.preemptions = sequence.preemptions;
    assert.ok(witness.preemptions <= this.#preemptionsMax, `${sequence.id} was preempted again and again`);
    if (witness.region === null) return;
    this.#regions.delete(witness.region);
    witness.region = null;
    witness.computed = [];
    witness.waitsSince = step;
  }

  #noteStart(sequence: Sequence, step: number): void {
    const witness = this.alive.get(sequence.id);
    assert.ok(witness, `${sequence.id} is planned after its end`);
    if (witness.sequence === undefined) {
      witness.sequence = sequence;
      this.#notePreemption(witness, step); // before its first span
    }
    if (witness.region !== null) {
      assert.equal(sequence.region, witness.region, `${sequence.id} moved`);
      return;
    }
    const { region } = sequence;
    assert.ok(region !== null && region >= 0 && region < this.#limits.regions);
    assert.ok(!this.#regions.has(region), `${sequence.id} got the region of ${this.#regions.get(region)}`);
    assert.deepEqual(sequence.tokens, [...witness.spec.prompt, ...witness.drawn], `${sequence.id} lost tokens`);
    witness.region = region;
    this.#regions.set(region, sequence.id);
    this.#noteWait(step - witness.waitsSince);
  }

  #noteWait(steps: number): void {
    this.waitMost = Math.max(this.waitMost, steps);
  }
}
