// A server's life at random, without computing: sequences come and leave, variants load, fail and are dropped, some are urgent and
// some have deadlines, and a pretend engine holds every plan against what it itself knows.

import assert from "node:assert/strict";
import { defaultSampling, Overloaded, type SequenceSpec, type StepPlan } from "../core/index.js";
import { Budget } from "../memory/index.js";
import { Dice } from "./dice.test.kit.js";
import { PretendEngine } from "./pretend-engine.test.kit.js";
import { PretendSlots } from "./pretend-slots.test.kit.js";
import type { Rules } from "./rules.js";
import { Scheduler, type SchedulerLimits } from "./scheduler.js";
import { endToken } from "./scheduler.test.kit.js";

export interface SimulationOptions {
  /** Steps in which requests come; after them there are only ends. */
  readonly steps: number;
  /** What comes: anything at any time, or, of one priority and with time, from every client as much as its share of the line holds. */
  readonly traffic: "random" | "saturated";
  /** Requests leave out how long answers may get, so that each may come to need a whole region; in saturated traffic. Default: false. */
  readonly isOpen?: boolean;
  /** How many times longer each client's requests are than those of the one before; in saturated traffic. Default: 1. */
  readonly growth?: number;
  /** Random where they are left out. */
  readonly limits?: Partial<Omit<SchedulerLimits, "rules">>;
  readonly rules?: Partial<Rules>;
  readonly clients?: number;
  readonly slots?: number;
  /** Bytes that cells and variants share, beyond the least that they must have. Random where they are left out. */
  readonly spareBytes?: number;
}

export interface SimulationReport {
  readonly limits: SchedulerLimits & { readonly rules: Rules };
  readonly steps: number;
  readonly submitted: number;
  /** How requests ended: each in one of these ways. */
  readonly refused: number;
  readonly turnedOut: number;
  readonly aborted: number;
  readonly expired: number;
  /** The variant could not be loaded. */
  readonly failed: number;
  readonly finished: number;
  readonly preemptions: number;
  /** Tokens that sequences found in the cache when they were let in, and regions that were copied for it. */
  readonly cachedTokens: number;
  readonly copies: number;
  /** The most steps from a request's arrival or preemption to its next span. */
  readonly waitMost: number;
  /** Regions that could not be taken again after everything had ended. */
  readonly regionsLeaked: number;
  /** Bytes that were still committed after everything had ended, been forgotten and dropped. */
  readonly bytesLeaked: number;
  /** Steps in which somebody who had all else waited for memory. */
  readonly memoryWaits: number;
  /** Steps in which those who ran could together have come to need more memory than there is. */
  readonly stepsBeyond: number;
  /** Sequences that ran, on average, while requests came. */
  readonly runningMean: number;
  /** Weighted tokens that each client had while requests came: a token read counts once however often it was computed, and not if it never was. */
  readonly service: readonly number[];
  /** Mean time of a plan and of a commit. */
  readonly planMicroseconds: number;
}

const variantNames = ["banking", "clinc", "dates", "roman", "scan", "wiki"];

/** @throws when a plan breaks a rule, with the seed in the message */
export function simulate(seed: number, options: SimulationOptions): SimulationReport {
  const world = new World(seed, options);
  try {
    while (!world.isOver) world.step();
    return world.report();
  } catch (error) {
    throw new Error(`seed ${seed}, step ${world.steps}: ${(error as Error).message}`, { cause: error });
  }
}

/** Jain's index of fairness: 1 when all have the same, 1/n when one has everything. */
export function jainIndex(shares: readonly number[]): number {
  const sum = shares.reduce((a, b) => a + b, 0);
  return sum ** 2 / (shares.length * shares.reduce((a, b) => a + b ** 2, 0));
}

/** What is not at random in a request. */
interface Arrival {
  readonly client?: number;
  readonly variant?: string | null;
  /** Tokens. */
  readonly prompt?: number;
  /** What its prompt begins with. */
  readonly said?: readonly number[];
  readonly maxTokens?: number;
  readonly priority?: number;
  readonly deadlineMs?: number | null;
}

class World {
  steps = 0;
  readonly #options: SimulationOptions;
  readonly #dice: Dice;
  readonly #limits: SchedulerLimits & { readonly rules: Rules };
  readonly #scheduler: Scheduler;
  readonly #slots: PretendSlots;
  readonly #engine: PretendEngine;
  readonly #budget: Budget;
  readonly #bytesOf: (cells: number) => number;
  #memoryWaits = 0;
  #stepsBeyond = 0;
  #running = 0;
  readonly #service: number[];
  readonly #count = { submitted: 0, refused: 0, turnedOut: 0, aborted: 0, expired: 0, failed: 0, finished: 0 };
  /** The last few requests with their answers. */
  readonly #said: Arrival[] = [];
  #plannedMs = 0;

  constructor(seed: number, options: SimulationOptions) {
    const dice = new Dice(seed);
    this.#options = options;
    this.#dice = dice;
    const rules: Rules = {
      overtakenMax: dice.between(1, 6),
      turnsMax: dice.between(1, 40),
      preemptionsMax: dice.between(0, 3),
      leadMax: dice.between(0, 300),
      ...options.rules,
    };
    this.#limits = {
      regions: dice.between(1, 6),
      contextLength: dice.chance(0.7) ? dice.between(8, 80) : dice.between(80, 400),
      stepTokens: dice.chance(0.5) ? dice.between(1, 24) : 1000,
      queueMax: dice.between(0, 12),
      ...options.limits,
      rules,
    };
    this.#service = new Array<number>(options.clients ?? dice.between(1, 4)).fill(0);
    const [pageCells, cellBytes] = [dice.between(1, 8), dice.between(1, 3)];
    this.#bytesOf = (cells) => Math.ceil(cells / pageCells) * pageCells * cellBytes;
    const variantBytes = new Map(variantNames.map((name) => [name, dice.between(1, 60)]));
    const { regions, contextLength } = this.#limits;
    const [least, most] = [
      this.#bytesOf(contextLength) + Math.max(...variantBytes.values()),
      this.#bytesOf(contextLength) * regions + [...variantBytes.values()].reduce((a, b) => a + b),
    ];
    const spare = options.spareBytes ?? (dice.chance(0.3) ? most : dice.between(0, most >> 2));
    this.#budget = new Budget(least + spare);
    this.#scheduler = new Scheduler({
      ...this.#limits,
      memory: {
        budget: this.#budget,
        bytesOf: this.#bytesOf,
        msOf: (tokens) => tokens * dice.between(0, 20),
        discard: (region, fromCell) => this.#engine.discard(region, fromCell),
      },
    });
    this.#slots = new PretendSlots(dice, options.slots ?? dice.between(1, 4), {
      budget: this.#budget,
      bytesOf: (variant) => variantBytes.get(variant)!,
    });
    this.#engine = new PretendEngine(this.#limits, rules.preemptionsMax, (variant) => this.#slots.identity(variant));
  }

  get isOver(): boolean {
    return this.steps > this.#options.steps && this.#scheduler.isIdle;
  }

  step(): void {
    this.steps += 1;
    assert.ok(this.steps < this.#options.steps + 20_000, `sequences never end: ${[...this.#engine.alive.keys()]}`);
    if (this.steps <= this.#options.steps) this.#arrivals();
    if (this.#options.traffic === "random" && this.#dice.chance(0.05)) this.#abortSomeone();
    for (const variant of this.#slots.pass()) {
      for (const id of this.#scheduler.abortVariant(variant)) this.#end(id, "failed");
    }
    for (const { id } of this.#scheduler.expire(this.steps)) {
      const { deadlineMs } = this.#engine.alive.get(id)!.spec.standing!;
      assert.ok(deadlineMs !== null && deadlineMs <= this.steps, `${id} had time`);
      this.#end(id, "expired");
    }
    const startedMs = performance.now();
    const plan = this.#scheduler.plan(this.#slots);
    this.#plannedMs += performance.now() - startedMs;
    this.#checkPlan(plan);
    const running = this.#scheduler.runningVariants;
    for (const wanted of plan.wanted) this.#slots.load(wanted, running);
    this.#compute(plan);
  }

  report(): SimulationReport {
    assert.equal(this.#engine.alive.size, 0, `sequences were lost: ${[...this.#engine.alive.keys()]}`);
    const { regions } = this.#limits;
    this.#scheduler.plan(this.#slots); // what was copied last is settled
    this.#scheduler.forgetPrefixes();
    while (this.#slots.pass().length > 0);
    this.#slots.clear();
    const bytesLeaked = this.#budget.bytesCommitted;
    const fitting = Math.floor(this.#budget.bytesTotal / this.#bytesOf(1));
    for (let i = 0; i < regions; i++)
      this.#scheduler.add(this.#spec(`probe ${i}`, { variant: null, prompt: 1, maxTokens: 1 }));
    this.#scheduler.plan(this.#slots);
    return {
      limits: this.#limits,
      steps: this.steps,
      ...this.#count,
      preemptions: this.#engine.preemptions,
      cachedTokens: this.#engine.cachedTokens,
      copies: this.#engine.copies,
      waitMost: this.#engine.waitMost,
      regionsLeaked: Math.min(regions, fitting) - this.#scheduler.runningCount,
      bytesLeaked,
      memoryWaits: this.#memoryWaits,
      stepsBeyond: this.#stepsBeyond,
      runningMean: this.#running / this.#options.steps,
      service: this.#service,
      planMicroseconds: (1000 * this.#plannedMs) / this.steps,
    };
  }

  #arrivals(): void {
    const clients = this.#service.length;
    if (this.#options.traffic === "saturated") {
      // As many waiting as there is room for, and each client's requests three times as long as the one's before.
      const share = Math.floor((this.#limits.queueMax + this.#limits.regions) / clients);
      const missing = new Array<number>(clients).fill(share);
      for (const { spec } of this.#engine.alive.values()) missing[Number(spec.standing!.client)]! -= 1;
      for (const [client, count] of missing.entries()) {
        for (let i = 0; i < count; i++) {
          const prompt = Math.min(
            this.#limits.contextLength >> 1,
            (this.#options.growth ?? 1) ** client * this.#dice.between(1, 3),
          );
          const maxTokens = this.#options.isOpen ? this.#limits.contextLength : prompt - 1 || 1;
          this.#submit({ client, prompt, maxTokens });
        }
      }
      return;
    }
    for (let i = this.#dice.between(0, 3); i > 1; i--) {
      const priority = this.#dice.chance(0.3) ? this.#dice.between(-2, 2) : 0;
      const deadlineMs = this.#dice.chance(0.1) ? this.steps + this.#dice.between(0, 200) : null;
      const earlier = this.#dice.chance(0.4) && this.#said.length > 0 ? this.#dice.pick(this.#said) : {};
      this.#submit({ ...earlier, priority, deadlineMs });
    }
  }

  #submit(fields: Arrival): void {
    const spec = this.#spec(`s${this.#count.submitted}`, fields);
    const { runningCount, waitingCount } = this.#scheduler;
    this.#count.submitted += 1;
    try {
      const turnedOut = this.#scheduler.add(spec);
      if (turnedOut !== undefined) {
        assert.equal(this.#engine.alive.get(turnedOut)!.drawn.length, 0, `${turnedOut} was answered and turned out`);
        this.#end(turnedOut, "turnedOut");
      }
      this.#engine.accept(spec, this.steps);
    } catch (error) {
      assert.ok(error instanceof Overloaded, String(error));
      const room = this.#limits.regions + this.#limits.queueMax - runningCount - waitingCount;
      assert.ok(room <= 0, `refused with room for ${room}`);
      this.#count.refused += 1;
    }
  }

  #spec(id: string, fields: Arrival): SequenceSpec {
    const client = fields.client ?? this.#dice.between(0, this.#service.length - 1);
    return {
      id,
      variant: fields.variant === undefined ? this.#variant() : fields.variant,
      prompt: this.#prompt(fields),
      generated: [],
      sampling: { ...defaultSampling, seed: 0 },
      maxTokens: fields.maxTokens ?? (this.#dice.chance(0.4) ? this.#limits.contextLength : this.#dice.between(1, 12)),
      endTokens: [endToken],
      topLogprobs: null,
      standing: { client: `${client}`, priority: fields.priority ?? 0, deadlineMs: fields.deadlineMs ?? null },
    };
  }

  /** A text of its own, after what was said before or after a beginning that others have too. */
  #prompt({ said = [], ...fields }: Arrival): number[] {
    const length = fields.prompt ?? this.#dice.between(1, this.#limits.contextLength - 1);
    const [shared, own] = [this.#dice.between(0, length), 1000 * this.#dice.between(1, 9)];
    return Array.from({ length }, (_, at) => said[at] ?? (at < shared ? 10 + at : own + at));
  }

  #variant(): string | null {
    return this.#dice.chance(0.3) ? null : this.#dice.pick(variantNames);
  }

  #abortSomeone(): void {
    const ids = [...this.#engine.alive.keys()];
    if (ids.length === 0) return;
    const id = this.#dice.pick(ids);
    assert.ok(this.#scheduler.abort(id), `${id} was lost before it was aborted`);
    this.#end(id, "aborted");
  }

  #checkPlan({ copies = [], spans, wanted }: StepPlan): void {
    const { runningCount, waitingCount } = this.#scheduler;
    assert.equal(runningCount + waitingCount, this.#engine.alive.size, "a sequence is lost or twice here");
    assert.ok(runningCount <= this.#limits.regions);
    assert.equal(new Set(wanted.map(({ variant }) => variant)).size, wanted.length, "a variant is wanted twice");
    if (runningCount > 0) assert.ok(spans.length > 0, "sequences run and nothing is planned");
    const variants = [...this.#engine.alive.values()].map(({ spec }) => spec.variant);
    const isThere = (variant: string | null) => variant === null || this.#slots.residency(variant) === "resident";
    if (waitingCount > 0 && runningCount < this.#limits.regions && variants.every(isThere)) {
      assert.ok(runningCount > 0 || this.#slots.isLoading, "nobody runs and everybody could");
      const [largest, all] = [this.#bytesOf(this.#limits.contextLength), this.#budget.bytesTotal];
      const needed = largest * (runningCount + 1) + this.#slots.bytes;
      // What is about to be copied is not given to others in the same plan.
      assert.ok(needed > all || copies.length > 0, "a region is free, and memory, and everybody could use it");
      this.#memoryWaits += 1;
    }
    for (const { sequence } of spans) {
      assert.ok(isThere(sequence.variant), `${sequence.variant} is not resident`);
      if (sequence.variant !== null) this.#slots.touch(sequence.variant);
    }
  }

  #compute(plan: StepPlan): void {
    const readBefore = plan.spans.map(({ sequence: { id } }) => this.#engine.alive.get(id)?.promptRead ?? 0);
    const sampled = this.#engine.compute(plan, this.steps);
    if (this.steps <= this.#options.steps) {
      this.#running += this.#scheduler.runningCount;
      for (const [index, { sequence, samples }] of plan.spans.entries()) {
        const { spec, promptRead } = this.#engine.alive.get(sequence.id)!;
        this.#service[Number(spec.standing!.client)]! += promptRead - readBefore[index]! + (samples ? 2 : 0);
      }
    }
    const startedMs = performance.now();
    const finished = this.#scheduler.commit(plan, sampled);
    this.#plannedMs += performance.now() - startedMs;
    this.#engine.checkEnds(sampled, finished);
    this.#checkMemory();
    for (const { id } of finished) this.#end(id, "finished");
  }

  /** Memory that was written to is committed, and no more is committed than there is. */
  #checkMemory(): void {
    const { bytesCommitted, bytesTotal } = this.#budget;
    const inCells = this.#engine.cellCounts.reduce((sum, cells) => sum + this.#bytesOf(cells), 0);
    assert.ok(inCells + this.#slots.bytes <= bytesCommitted, `${inCells} bytes of cells, ${bytesCommitted} committed`);
    assert.ok(bytesCommitted <= bytesTotal, `${bytesCommitted} bytes are committed of ${bytesTotal}`);
    let most = 0;
    for (const { spec, region } of this.#engine.alive.values()) {
      const cells = Math.min(spec.prompt.length + spec.maxTokens, this.#limits.contextLength) - 1;
      if (region !== null) most += this.#bytesOf(cells);
    }
    if (most > bytesTotal) this.#stepsBeyond += 1;
  }

  #end(id: string, how: "turnedOut" | "aborted" | "expired" | "failed" | "finished"): void {
    const { spec, drawn } = this.#engine.alive.get(id)!;
    const { variant, standing } = spec;
    this.#said.push({ variant, client: Number(standing!.client), said: [...spec.prompt, ...drawn] });
    if (this.#said.length > 8) this.#said.shift();
    this.#engine.forget(id, this.steps);
    this.#count[how] += 1;
  }
}
