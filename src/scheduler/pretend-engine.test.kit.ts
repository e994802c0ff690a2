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
  /** Tokens of it that lie in its region. */
  computed: number;
  readonly drawn: number[];
  /** Tokens of its prompt that it was given or that were computed at least once, and those of them that were computed. */
  promptSeen: number;
  promptRead: number;
  preemptions: number;
  /** The step since which it waits. */
  waitsSince: number;
}

/** What lies in a cell: a number that stands for the token in it, all those before it, and whom they were computed for. */
function nextCell(before: number, token: number): number {
  return (Math.imul(before ^ token, 0x9e3779b1) ^ (before >>> 7)) >>> 0;
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
  cachedTokens = 0;
  copies = 0;
  readonly #limits: SchedulerLimits;
  readonly #preemptionsMax: number;
  readonly #identity: (variant: string) => string;
  /** Who is in which region. */
  readonly #regions = new Map<number, string>();
  readonly #cells: number[][];

  constructor(limits: SchedulerLimits, preemptionsMax: number, identity: (variant: string) => string) {
    this.#limits = limits;
    this.#preemptionsMax = preemptionsMax;
    this.#identity = identity;
    this.#cells = Array.from({ length: limits.regions }, () => []);
  }

  /** Cells of each region that have been written to and not been discarded since. */
  get cellCounts(): readonly number[] {
    return this.#cells.map(({ length }) => length);
  }

  /** Forgets the cells of a region from this one on. */
  discard(region: number, fromCell: number): void {
    this.#cells[region]!.splice(fromCell);
  }

  accept(spec: SequenceSpec, step: number): void {
    const empty = { sequence: undefined, region: null, computed: 0, promptSeen: 0, promptRead: 0, preemptions: 0 };
    this.alive.set(spec.id, { ...empty, drawn: [], spec, waitsSince: step });
  }

  forget(id: string, step: number): void {
    const { region, waitsSince } = this.alive.get(id)!;
    if (region !== null) this.#regions.delete(region);
    else this.#noteWait(step - waitsSince);
    this.alive.delete(id);
  }

  /** Computes a plan and draws what it asks for. */
  compute({ copies = [], spans }: StepPlan, step: number): SampledToken[] {
    for (const witness of this.alive.values()) this.#notePreemption(witness, step);
    for (const { from, to, cells } of copies) {
      assert.ok(from !== to && cells <= this.#cells[from]!.length, `${cells} cells of ${from} are not there`);
      this.#cells[to] = this.#cells[from]!.slice(0, cells);
    }
    this.copies += copies.length;
    const tokens = spans.reduce((sum, { count }) => sum + count, 0);
    assert.ok(tokens <= this.#limits.stepTokens, `${tokens} tokens in a step of ${this.#limits.stepTokens}`);
    assert.equal(new Set(spans.map(({ sequence }) => sequence.id)).size, spans.length, "a sequence has two spans");
    for (const { sequence } of spans) this.#noteStart(sequence, step);
    const sampled: SampledToken[] = [];
    for (const { sequence, count, samples } of spans) {
      const witness = this.alive.get(sequence.id)!;
      const { spec } = witness;
      assert.ok(count > 0 && sequence.computedTokens === witness.computed, `${sequence.id} has a gap in its cache`);
      witness.computed += count;
      assert.ok(witness.computed <= this.#limits.contextLength, `${sequence.id} outgrew its region`);
      this.#cells[sequence.region!] = this.#cellsOf(sequence, witness.computed);
      assert.equal(
        samples,
        witness.computed === spec.prompt.length + witness.drawn.length,
        `${sequence.id} draws wrongly`,
      );
      const promptSeen = Math.max(witness.promptSeen, Math.min(witness.computed, spec.prompt.length));
      witness.promptRead += promptSeen - witness.promptSeen;
      witness.promptSeen = promptSeen;
      if (!samples) continue;
      const token = tokenOf(sequence.id, witness.computed);
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
    witness.computed = 0;
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
    this.#noteCached(witness, sequence, region);
  }

  /** What it need not compute must lie in its region, computed for its client and these bytes of its variant. */
  #noteCached(witness: Witness, sequence: Sequence, region: number): void {
    const { computedTokens } = sequence;
    assert.ok(computedTokens < sequence.tokens.length, `${sequence.id} has nothing left to compute`);
    const found = this.#cells[region]!.slice(0, computedTokens);
    assert.deepEqual(found, this.#cellsOf(sequence, computedTokens), `${sequence.id} found what is not its own`);
    if (sequence.preemptions === 0) assert.equal(sequence.cachedTokens, computedTokens);
    witness.computed = computedTokens;
    witness.promptSeen = Math.max(witness.promptSeen, Math.min(computedTokens, witness.spec.prompt.length));
    this.cachedTokens += computedTokens;
  }

  #cellsOf({ standing, variant, tokens }: Sequence, count: number): number[] {
    const owner = `${standing.client} ${variant === null ? "" : `${variant} ${this.#identity(variant)}`}`;
    let cell = [...owner].reduce((before, letter) => nextCell(before, letter.charCodeAt(0)), 1);
    return tokens.slice(0, count).map((token) => {
      cell = nextCell(cell, token);
      return cell;
    });
  }

  #noteWait(steps: number): void {
    this.waitMost = Math.max(this.waitMost, steps);
  }
}
