import {
  type FinishedSequence,
  Overloaded,
  type RegionCopy,
  type SampledToken,
  Sequence,
  type SequenceSpec,
  type Span,
  type StepPlan,
  type WantedVariant,
} from "../core/index.js";
import { type CellMemory, RegionPool } from "../kv/index.js";
import { assert } from "../util/index.js";
import { CellDemand } from "./cell-demand.js";
import { type Facts, residencyOf } from "./facts.js";
import { type Demand, Fairness } from "./fairness.js";
import { compareClaims, memoryVictims, regionVictims, slotVictims } from "./preemption.js";
import { defaultRules, type Rules } from "./rules.js";
import { whoIsTurnedOut } from "./turning-out.js";
import { type WaitingGroup, WaitingLine } from "./waiting-line.js";
import { wantedVariants } from "./wanted.js";

export interface SchedulerLimits {
  /** Sequences that run at once: the cache's regions. */
  readonly regions: number;
  /** Tokens a sequence may have in all: a region's cells. */
  readonly contextLength: number;
  /** Tokens of one step over all sequences. */
  readonly stepTokens: number;
  /** Sequences that may wait beyond those running. */
  readonly queueMax: number;
  /** Default: {@link defaultRules}. */
  readonly rules?: Rules;
  /** What cells take. Its budget must hold a whole region beside any variant. Default: there is memory for all. */
  readonly memory?: CellMemory;
}

/**
 * Decides what each step computes; reads no clock and waits for nothing. Running sequences come first, one token each or a
 * chunk of their prompt, as far as the step's budget goes; then waiting ones are let in, in the order of {@link WaitingLine}, except
 * that one whose variant is not resident is overtaken by others, up to a bound. Who is urgent or has waited too long gets the region
 * of another, which goes on later from its tokens; so does, of those who run, one that needs more memory than there is.
 */
export class Scheduler {
  readonly #limits: SchedulerLimits;
  readonly #rules: Rules;
  readonly #regions: RegionPool;
  readonly #fairness = new Fairness();
  readonly #line: WaitingLine;
  readonly #cells: CellDemand;
  /** Everybody, waiting or running. */
  readonly #sequences = new Map<string, Sequence>();
  /** In the order in which they were let in. */
  readonly #running: Sequence[] = [];
  /** Cells to be copied before the next span is computed. */
  #copies: RegionCopy[] = [];
  #arrivals = 0;

  constructor(limits: SchedulerLimits) {
    this.#limits = limits;
    this.#rules = limits.rules ?? defaultRules;
    this.#regions = new RegionPool(limits.regions, limits.memory);
    this.#line = new WaitingLine(this.#rules);
    this.#cells = new CellDemand({ contextLength: limits.contextLength, preemptionsMax: this.#rules.preemptionsMax });
  }

  get runningCount(): number {
    return this.#running.length;
  }

  get waitingCount(): number {
    return this.#line.size;
  }

  get isIdle(): boolean {
    return this.#sequences.size === 0;
  }

  /** The variants of running sequences: what must stay resident. */
  get runningVariants(): ReadonlySet<string> {
    return new Set(this.#running.flatMap((sequence) => sequence.variant ?? []));
  }

  /** When the first deadline comes, in milliseconds since 1970; infinity without one. */
  get nextDeadlineMs(): number {
    let next = Number.POSITIVE_INFINITY;
    for (const { standing } of this.#sequences.values()) next = Math.min(next, standing.deadlineMs ?? next);
    return next;
  }

  /**
   * Puts a sequence in line.
   *
   * @returns the sequence that was turned out for it, if any: a full line makes room for a client that has less in it than another
   * @throws {Overloaded} when the line is full
   */
  add(spec: SequenceSpec): string | undefined {
    assert(
      spec.prompt.length + spec.generated.length < this.#limits.contextLength,
      `sequence ${spec.id} does not fit a region`,
    );
    const sequence = new Sequence(spec);
    const isFull = this.#line.size >= this.#limits.queueMax + this.#regions.free;
    const turnedOut = isFull ? whoIsTurnedOut([...this.#line.groups], sequence) : undefined;
    if (isFull && turnedOut === undefined) {
      throw new Overloaded(
        `${this.#running.length} requests are running and ${this.#line.size} waiting, which is all this server takes`,
        1,
      );
    }
    if (turnedOut) this.#forget(turnedOut);
    sequence.keepsRegion = this.#rules.preemptionsMax === 0;
    sequence.arrival = this.#arrivals;
    this.#arrivals += 1;
    this.#fairness.enter(sequence);
    this.#level(sequence.standing.client);
    this.#sequences.set(sequence.id, sequence);
    this.#line.add(sequence);
    return turnedOut?.id;
  }

  /** Forgets a sequence wherever it is; false when it is not here any more. */
  abort(id: string): boolean {
    const sequence = this.#sequences.get(id);
    if (sequence) this.#forget(sequence);
    return sequence !== undefined;
  }

  /** Takes every sequence of a variant out, running or waiting, and names them: the variant cannot be had. */
  abortVariant(variant: string): string[] {
    const ids = [...this.#sequences.values()].filter((sequence) => sequence.variant === variant).map(({ id }) => id);
    for (const id of ids) this.abort(id);
    return ids;
  }

  /** Takes out those whose deadline has come, and says how far they were. */
  expire(nowMs: number): { readonly id: string; readonly generatedTokens: number }[] {
    const late = [...this.#sequences.values()].filter(
      ({ standing: { deadlineMs } }) => deadlineMs !== null && deadlineMs <= nowMs,
    );
    for (const sequence of late) this.#forget(sequence);
    return late.map(({ id, generatedTokens }) => ({ id, generatedTokens }));
  }

  /** Lets in whom it can and divides the next step among those who run. */
  plan(facts: Facts): StepPlan {
    this.#regions.settle();
    this.#grow();
    const wanted = this.#admit(facts);
    const spans: Span[] = [];
    let budget = this.#limits.stepTokens;
    // Decoding sequences first: their one token each must not wait for a long prompt.
    const isPrompt = ({ pendingTokens }: Sequence) => Number(pendingTokens > 1);
    const order = [...this.#running].sort(
      (a, b) => isPrompt(a) - isPrompt(b) || a.standing.priority - b.standing.priority,
    );
    for (const sequence of order) {
      const count = Math.min(sequence.pendingTokens, budget);
      if (count === 0) break;
      const written = sequence.computedTokens + count;
      assert(written <= this.#regions.cellsOf(sequence.region!), "a step writes to cells without memory");
      spans.push({ sequence, count, samples: count === sequence.pendingTokens });
      budget -= count;
    }
    const copies = this.#copies;
    this.#copies = [];
    if (spans.length > 0) return { copies, spans, wanted };
    // Whoever they were for has given way.
    this.#regions.cancelCopies(copies.map(({ to }) => to));
    return { spans, wanted };
  }

  /** Forgets what finished sequences have left in the cache, after a step of which nobody knows how far it came. */
  forgetPrefixes(): void {
    this.#regions.forget();
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
      this.#fairness.chargeOutput(sequence);
      const ended = sequence.spec.endTokens.includes(token);
      const full =
        sequence.generatedTokens >= sequence.spec.maxTokens || sequence.tokens.length >= this.#limits.contextLength;
      if (!ended && !full) continue;
      this.#forget(sequence);
      finished.push({ id: sequence.id, reason: ended ? "stop" : "length" });
    }
    return finished;
  }

  /** Finds memory for what those who run compute next, for the most entitled first. */
  #grow(): void {
    const short = this.#running.filter(({ tokens, region }) => tokens.length > this.#regions.cellsOf(region!));
    for (const sequence of short.sort((a, b) => compareClaims(a, b, this.#fairness))) {
      if (sequence.region !== null) this.#growOne(sequence, sequence.region); // else it has given way to one before it
    }
  }

  /** Finds it in what nobody uses, or in what others have who give way for it; else it gives way itself. */
  #growOne(sequence: Sequence, region: number): void {
    const cells = this.#cells.next(sequence);
    const isComplete = (one: Sequence) => this.#regions.cellsOf(one.region!) >= this.#cells.most(one);
    const among = { running: this.#running, fairness: this.#fairness, isComplete };
    const victims = memoryVictims(sequence, among, (leaving) => {
      const { spared, bytes } = this.#without(leaving);
      return this.#regions.canGrow(region, cells, this.#withAwaited(spared, "starved"), bytes);
    });
    for (const victim of victims ?? [sequence]) this.#preempt(victim);
    if (!victims) return;
    const { spared } = this.#without([]);
    const isGrown =
      this.#regions.grow(region, cells, this.#withAwaited(spared)) ||
      this.#regions.grow(region, cells, this.#withAwaited(spared, "starved"));
    assert(isGrown, "memory was found");
  }

  /** Lets in one after the other, as long as there is a place for the next. */
  #admit(facts: Facts): WantedVariant[] {
    for (;;) {
      const order = this.#line.inOrder(this.#fairness);
      const { next, absent } = this.#next(order, facts);
      if (next === undefined || !this.#findPlace(next)) {
        const first = order.find((group) => residencyOf(group, facts) !== "loading");
        if (first) this.#line.hold(first);
        // The memory that one waits for who could run is not taken by variants of those behind.
        const lacksMemory = next !== undefined && this.#regions.free > 0;
        const groups = lacksMemory ? order.indexOf(next) : order.length;
        return wantedVariants(order, this.runningVariants, facts, groups);
      }
      // Who goes before more urgent ones does so by right, and is not to be preempted by them the next moment.
      const goesByRight =
        next.isStarved || order.slice(order.indexOf(next)).some((one) => one.priority < next.priority);
      this.#start(next, absent, { facts, keepsRegion: goesByRight });
    }
  }

  /** The first whose variant is resident, and those before it whose is neither that nor on its way. */
  #next(
    order: readonly WaitingGroup[],
    facts: Facts,
  ): { next: WaitingGroup | undefined; absent: readonly WaitingGroup[] } {
    const absent: WaitingGroup[] = [];
    for (const group of order) {
      const residency = residencyOf(group, facts);
      if (residency === "resident") return { next: group, absent };
      if (residency === "loading") continue;
      absent.push(group);
      if (!group.isStarved) continue;
      const isEnough = (leaving: readonly Sequence[]) => {
        const { spared, bytes } = this.#without(leaving);
        return facts.hasRoom(group.variant!, spared, bytes);
      };
      for (const victim of slotVictims(group, this.#running, this.#fairness, isEnough) ?? []) this.#preempt(victim);
      break; // nobody goes past it
    }
    return { next: undefined, absent };
  }

  /** Whether there is a region, with memory, for the first of a group, perhaps as others have given way for it. */
  #findPlace(group: WaitingGroup): boolean {
    const first = group.sequences[0]!;
    const cells = this.#cells.first(first);
    const isEnough = (leaving: readonly Sequence[]) => {
      if (this.#regions.free + leaving.length === 0) return false;
      const { spared, bytes } = this.#without(leaving);
      if (first.variant !== null) spared.add(first.variant);
      return this.#regions.hasRoom(cells, spared, bytes);
    };
    if (isEnough([])) return true;
    const victims = regionVictims(group, this.#running, this.#fairness, isEnough);
    for (const victim of victims ?? []) this.#preempt(victim);
    return victims !== undefined;
  }

  /** The variants that others still run on when these have left, and the bytes that these leave. */
  #without(leaving: readonly Sequence[]): { spared: Set<string>; bytes: number } {
    const staying = leaving.length === 0 ? this.#running : this.#running.filter((one) => !leaving.includes(one));
    const spared = new Set(staying.flatMap(({ variant }) => variant ?? []));
    return { spared, bytes: leaving.reduce((sum, { region }) => sum + this.#regions.bytesIfLeft(region!), 0) };
  }

  /** With the variants that somebody waits for, which go last, or with those that somebody starves for, which never go for who runs. */
  #withAwaited(spared: ReadonlySet<string>, by: "anybody" | "starved" = "anybody"): Set<string> {
    const all = new Set(spared);
    for (const { variant, isStarved } of this.#line.groups) {
      if (variant !== null && (by === "anybody" || isStarved)) all.add(variant);
    }
    return all;
  }

  #start(
    group: WaitingGroup,
    overtaken: readonly WaitingGroup[],
    { facts, keepsRegion }: { facts: Facts; keepsRegion: boolean },
  ): void {
    const sequence = this.#line.take(group, overtaken);
    this.#place(sequence, facts);
    sequence.keepsRegion ||= keepsRegion;
    if (sequence.preemptions === 0) {
      sequence.cachedTokens = sequence.computedTokens;
      this.#fairness.chargeInput(sequence);
    }
    this.#running.push(sequence);
  }

  /** Gives a sequence a region, and what the cache holds of its tokens. */
  #place(sequence: Sequence, facts: Facts): void {
    const { variant, standing } = sequence;
    // What one client has sent must not show in how soon another is answered.
    const scope = [standing.client, variant, variant === null ? null : facts.identity(variant)];
    const newcomer = { occupant: sequence, scope: JSON.stringify(scope), cells: this.#cells.first(sequence) };
    const { spared } = this.#without([]);
    if (variant !== null) spared.add(variant);
    const place = this.#regions.take(newcomer, this.#withAwaited(spared)) ?? this.#regions.take(newcomer, spared);
    assert(place !== undefined, "a place was found");
    const { region, cachedTokens, copiedFrom } = place;
    if (copiedFrom !== null) this.#copies.push({ sequence, from: copiedFrom, to: region, cells: cachedTokens });
    sequence.region = region;
    sequence.computedTokens = cachedTokens;
  }

  /** Takes the region of a running sequence, which goes back to its place in line. */
  #preempt(sequence: Sequence): void {
    this.#release(sequence);
    sequence.computedTokens = 0;
    sequence.preemptions += 1;
    sequence.keepsRegion = sequence.preemptions >= this.#rules.preemptionsMax;
    this.#line.add(sequence);
  }

  /** Puts a client that comes on the level of those who wait already, or where nobody waits, of those who run. */
  #level(client: string): void {
    const waiting: readonly Demand[] = [...this.#line.groups];
    const running = this.#running.map(({ standing, variant }) => ({ client: standing.client, variant }));
    this.#fairness.levelClients(waiting.length > 0 ? waiting : running);
    const isOwn = (demand: Demand) => demand.client === client;
    const own = waiting.filter(isOwn);
    this.#fairness.levelVariants(client, own.length > 0 ? own : running.filter(isOwn));
  }

  #forget(sequence: Sequence): void {
    if (sequence.region === null) this.#line.remove(sequence);
    else this.#release(sequence);
    this.#sequences.delete(sequence.id);
    this.#cells.learn(sequence);
    this.#fairness.leave(sequence);
  }

  #release(sequence: Sequence): void {
    assert(sequence.region !== null, `sequence ${sequence.id} released twice`);
    this.#running.splice(this.#running.indexOf(sequence), 1);
    this.#regions.release(sequence.region);
    sequence.region = null;
  }
}
