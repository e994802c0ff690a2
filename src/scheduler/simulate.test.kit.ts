// A server's life at random, without computing: sequences come and leave, variants load and are dropped, and a pretend engine
// checks every plan against what it itself knows of its cache.

import assert from "node:assert/strict";
import { defaultSampling, Overloaded, type SequenceSpec, type StepPlan } from "../core/index.js";
import { uniformAt } from "../util/index.js";
import { Scheduler, type SchedulerLimits } from "./scheduler.js";
import { endToken } from "./scheduler.test.kit.js";

export interface SimulationReport {
  readonly limits: SchedulerLimits;
  readonly steps: number;
  readonly submitted: number;
  readonly refused: number;
  readonly aborted: number;
  readonly finished: number;
  /** The most later sequences that were let in before any one; undefined where steps are too small to show all who run. */
  readonly overtakenMost: number | undefined;
  /** Regions that could not be taken again after everything had ended. */
  readonly regionsLeaked: number;
}

/** What the outside knows of a sequence that was accepted. */
interface Witness {
  readonly spec: SequenceSpec;
  readonly arrival: number;
  overtaken: number;
  /** Tokens the engine has seen of it, by position. */
  readonly computed: number[];
  region: number | null;
  drawn: number;
}

/** Requests come for the first so many steps; from then on there are only ends. */
const openSteps = 60;
/** Enough for a step to have a span of every sequence that runs. */
const everybodysTokens = 1000;
const variantNames = ["clinc", "dates", "roman", "scan"];

/** @throws when a plan breaks a rule, with the seed in the message */
export function simulate(seed: number): SimulationReport {
  const world = new World(seed);
  try {
    while (!world.isOver) world.step();
    return world.report();
  } catch (error) {
    throw new Error(`seed ${seed}, step ${world.steps}: ${(error as Error).message}`, { cause: error });
  }
}

class World {
  steps = 0;
  readonly #seed: number;
  readonly #limits: SchedulerLimits;
  readonly #scheduler: Scheduler;
  readonly #alive = new Map<string, Witness>();
  /** Whose keys lie in which region. */
  readonly #regions = new Map<number, string>();
  readonly #loadedAtStep = new Map<string, number>();
  readonly #count = { submitted: 0, refused: 0, aborted: 0, finished: 0 };
  #overtakenMost = 0;
  #draws = 0;

  constructor(seed: number) {
    this.#seed = seed;
    this.#limits = {
      regions: this.#between(1, 6),
      contextLength: this.#between(8, 40),
      stepTokens: seed % 2 === 0 ? this.#between(1, 24) : everybodysTokens,
      queueMax: this.#between(0, 12),
      overtakenMax: this.#between(0, 6),
    };
    this.#scheduler = new Scheduler(this.#limits);
  }

  get isOver(): boolean {
    return this.steps > openSteps && this.#scheduler.isIdle;
  }

  step(): void {
    this.steps += 1;
    assert.ok(this.steps < 20_000, `sequences never end: ${[...this.#alive.keys()]}`);
    if (this.steps <= openSteps) for (let i = this.#between(0, 3); i > 0; i--) this.#submit();
    if (this.#chance(0.1)) this.#abortSomeone();
    this.#dropSomeVariant();

    const waitingBefore = this.#scheduler.waitingCount;
    const plan = this.#scheduler.plan({ isResident: (variant) => this.#isResident(variant) });
    this.#noteAdmissions(plan);
    this.#checkWork(plan, waitingBefore);
    for (const variant of plan.wanted) this.#load(variant);
    this.#compute(plan);
  }

  report(): SimulationReport {
    assert.equal(this.#alive.size, 0, `sequences were lost: ${[...this.#alive.keys()]}`);
    const probe = this.#scheduler;
    for (let i = 0; i < this.#limits.regions; i++) probe.add(this.#spec(`probe ${i}`, null, 1));
    probe.plan({ isResident: () => false });
    return {
      limits: this.#limits,
      steps: this.steps,
      ...this.#count,
      overtakenMost: this.#limits.stepTokens === everybodysTokens ? this.#overtakenMost : undefined,
      regionsLeaked: this.#limits.regions - probe.runningCount,
    };
  }

  #submit(): void {
    const id = `s${this.#count.submitted}`;
    const variant = this.#chance(0.3) ? null : variantNames[this.#between(0, variantNames.length - 1)]!;
    const spec = this.#spec(id, variant, this.#between(1, this.#limits.contextLength - 1));
    const { runningCount, waitingCount } = this.#scheduler;
    this.#count.submitted += 1;
    try {
      this.#scheduler.add(spec);
      this.#alive.set(id, { spec, arrival: this.#count.submitted, overtaken: 0, computed: [], region: null, drawn: 0 });
    } catch (error) {
      assert.ok(error instanceof Overloaded, String(error));
      const room = this.#limits.regions + this.#limits.queueMax - runningCount - waitingCount;
      assert.ok(room <= 0, `refused with room for ${room}`);
      this.#count.refused += 1;
    }
  }

  #spec(id: string, variant: string | null, promptLength: number): SequenceSpec {
    return {
      id,
      variant,
      prompt: Array.from({ length: promptLength }, (_, at) => 10 + at),
      generated: [],
      sampling: { ...defaultSampling, seed: 0 },
      maxTokens: this.#between(1, 12),
      endTokens: [endToken],
      topLogprobs: null,
    };
  }

  #abortSomeone(): void {
    const ids = [...this.#alive.keys()];
    if (ids.length === 0) return;
    const id = ids[this.#between(0, ids.length - 1)]!;
    assert.ok(this.#scheduler.abort(id), `${id} was lost before it was aborted`);
    this.#forget(id);
    this.#count.aborted += 1;
  }

  #isResident(variant: string): boolean {
    return (this.#loadedAtStep.get(variant) ?? Number.POSITIVE_INFINITY) <= this.steps;
  }

  #load(variant: string): void {
    assert.ok(!this.#isResident(variant), `${variant} is wanted and resident`);
    if (!this.#loadedAtStep.has(variant)) this.#loadedAtStep.set(variant, this.steps + this.#between(1, 15));
  }

  #dropSomeVariant(): void {
    const droppable = variantNames.filter(
      (name) => this.#isResident(name) && !this.#scheduler.runningVariants.has(name),
    );
    if (droppable.length > 0 && this.#chance(0.2)) this.#loadedAtStep.delete(droppable[0]!);
  }

  /** Sequences that appear in a region for the first time were let in, past those that still wait and came before them. */
  #noteAdmissions({ spans }: StepPlan): void {
    for (const { sequence } of spans) {
      const witness = this.#alive.get(sequence.id);
      assert.ok(witness, `${sequence.id} is planned after its end`);
      if (witness.region !== null) {
        assert.equal(sequence.region, witness.region, `${sequence.id} moved`);
        continue;
      }
      assert.ok(sequence.region !== null && sequence.region >= 0 && sequence.region < this.#limits.regions);
      assert.ok(
        !this.#regions.has(sequence.region),
        `${sequence.id} got the region of ${this.#regions.get(sequence.region)}`,
      );
      witness.region = sequence.region;
      this.#regions.set(sequence.region, sequence.id);
      for (const other of this.#alive.values()) {
        if (other.region !== null || other.arrival > witness.arrival || this.#isPlanned(spans, other)) continue;
        other.overtaken += 1;
        this.#overtakenMost = Math.max(this.#overtakenMost, other.overtaken);
      }
    }
  }

  #isPlanned(spans: StepPlan["spans"], { spec }: Witness): boolean {
    return spans.some(({ sequence }) => sequence.id === spec.id);
  }

  #checkWork({ spans, wanted }: StepPlan, waitingBefore: number): void {
    const tokens = spans.reduce((sum, { count }) => sum + count, 0);
    assert.ok(tokens <= this.#limits.stepTokens, `${tokens} tokens in a step of ${this.#limits.stepTokens}`);
    assert.equal(new Set(spans.map(({ sequence }) => sequence.id)).size, spans.length, "a sequence has two spans");
    assert.equal(new Set(wanted).size, wanted.length, "a variant is wanted twice");
    if (this.#scheduler.runningCount > 0) assert.ok(spans.length > 0, "sequences run and nothing is planned");
    else if (waitingBefore > 0) assert.ok(wanted.length > 0, "sequences wait for nothing");
    for (const { sequence } of spans) {
      assert.ok(sequence.variant === null || this.#isResident(sequence.variant), `${sequence.variant} is not resident`);
    }
  }

  #compute(plan: StepPlan): void {
    const tokens = [];
    for (const { sequence, count, samples } of plan.spans) {
      const witness = this.#alive.get(sequence.id)!;
      assert.ok(
        count > 0 && sequence.computedTokens === witness.computed.length,
        `${sequence.id} has a gap in its cache`,
      );
      witness.computed.push(...sequence.tokens.slice(sequence.computedTokens, sequence.computedTokens + count));
      assert.ok(witness.computed.length <= this.#limits.contextLength, `${sequence.id} outgrew its region`);
      assert.equal(samples, witness.computed.length === sequence.tokens.length);
      if (samples) tokens.push({ id: sequence.id, token: this.#chance(0.1) ? endToken : 5, logprob: null, top: [] });
    }
    const finished = new Map(this.#scheduler.commit(plan, tokens).map(({ id, reason }) => [id, reason]));
    for (const { id, token } of tokens) {
      const witness = this.#alive.get(id)!;
      witness.drawn += 1;
      const { maxTokens, prompt } = witness.spec;
      const isFull = witness.drawn >= maxTokens || prompt.length + witness.drawn >= this.#limits.contextLength;
      assert.equal(finished.get(id), token === endToken ? "stop" : isFull ? "length" : undefined, id);
    }
    for (const id of finished.keys()) {
      this.#forget(id);
      this.#count.finished += 1;
    }
  }

  #forget(id: string): void {
    const { region } = this.#alive.get(id)!;
    if (region !== null) this.#regions.delete(region);
    this.#alive.delete(id);
  }

  #between(low: number, high: number): number {
    return low + Math.floor(this.#random() * (high - low + 1));
  }

  #chance(probability: number): boolean {
    return this.#random() < probability;
  }

  #random(): number {
    this.#draws += 1;
    return uniformAt(this.#seed, this.#draws);
  }
}
