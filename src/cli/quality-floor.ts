import { rename, rm } from "node:fs/promises";
import { basename, resolve } from "node:path";
import { KindredError } from "../core/index.js";
import { type Allocation, allocate, type DeltaCodec, type DeltaReport, type Survey } from "../delta/index.js";
import { defaultEngineOptions } from "../engine/index.js";
import type { Checkpoint, CodecOptions } from "../formats/index.js";
import { evaluate } from "../quality/index.js";
import { assert } from "../util/index.js";

/** A delta that loses more than its maker allowed; it was not written. */
export class QualityTooLow extends KindredError {
  constructor(out: string, worst: Divergence, max: number, codec: DeltaCodec | Allocation) {
    const options = Object.entries(codec.options).map(([name, value]) => ` ${name} ${value}`);
    super(
      "quality_too_low",
      422,
      `Did not write ${out}: with ${codec.name}${options.join(",")} it diverges from the fine-tune by ${worst.kl.toPrecision(3)} nats a token on ${worst.set}, at most ${max} was allowed; --force writes it all the same`,
      { details: { ...worst, max } },
    );
  }
}

/** Mean KL(fine-tune ‖ delta) over the set of texts where it is largest, in nats a token. */
export interface Divergence {
  readonly set: string;
  readonly kl: number;
}

/** What a delta must keep to be written. */
export interface QualityFloor {
  readonly maxKl: number;
  /** Files of chats or text that it is measured on, best none that it was calibrated on. */
  readonly check: readonly string[];
  /** Write it whatever it keeps. */
  readonly force: boolean;
}

/** What to make next, told how far the one before diverges; ends when there is nothing better. */
export type Attempts = Generator<DeltaCodec | Allocation, void, number>;

/** One attempt. */
export function* attemptOf(codec: DeltaCodec | Allocation): Attempts {
  yield codec;
}

/** Each takes minutes. */
const attemptsMax = 4;
/** What comes of a survey's losses; corrected by every attempt. */
const firstRatio = 1.2;

/**
 * Allocations that should keep what they must with as few bytes as possible; after one that does not, one that spends more, until
 * `bitsMax` are spent or nothing more could be kept.
 */
export function* attemptsAt(survey: Survey, options: CodecOptions, aim: { maxKl: number; bitsMax?: number }): Attempts {
  let ratio = firstRatio;
  let last = Number.POSITIVE_INFINITY;
  for (let attempt = 1; attempt <= attemptsMax; attempt++) {
    const isLast = attempt === attemptsMax;
    const allocation = allocate(survey, options, { ...aim, lossMax: isLast ? 0 : aim.maxKl / ratio });
    if (allocation.loss >= last) return;
    last = allocation.loss;
    const kl = yield allocation;
    // A little more than what was missing, so that the next one does.
    ratio = Math.max((1.1 * kl) / allocation.loss, 1.5 * ratio);
  }
}

/**
 * Makes one delta after the other until one keeps what it must, and gives it its name then.
 *
 * @param make writes a delta to a folder
 * @throws {QualityTooLow} if none does, with nothing at `out`
 */
export async function compressToFloor(
  options: {
    base: Checkpoint;
    tuned: Checkpoint;
    out: string;
    attempts: Attempts;
    floor: QualityFloor;
    signal: AbortSignal;
  },
  make: (codec: DeltaCodec | Allocation, out: string) => Promise<DeltaReport>,
): Promise<{ report: DeltaReport; worst: Divergence }> {
  const { out, attempts, floor } = options;
  const candidate = `${out}.candidate`;
  let attempt = attempts.next();
  assert(!attempt.done, "there is nothing to try");
  for (let codec = attempt.value; ; codec = attempt.value) {
    try {
      const report = await make(codec, candidate);
      const worst = await divergenceOf(candidate, options);
      const isEnough = worst.kl <= floor.maxKl;
      if (!isEnough) attempt = attempts.next(worst.kl);
      if (isEnough || (attempt.done && floor.force)) {
        await rename(candidate, out);
        return { report: { ...report, name: basename(resolve(out)) }, worst };
      }
      if (attempt.done) throw new QualityTooLow(out, worst, floor.maxKl, codec);
    } finally {
      await rm(candidate, { recursive: true, force: true });
    }
  }
}

async function divergenceOf(
  path: string,
  options: { base: Checkpoint; tuned: Checkpoint; floor: QualityFloor; signal: AbortSignal },
): Promise<Divergence> {
  const { base, tuned, floor, signal } = options;
  const deltas = [{ name: "delta", path }];
  const { candidates } = await evaluate({
    base,
    tuned,
    deltas,
    data: floor.check,
    engine: defaultEngineOptions,
    signal,
  });
  const sets = candidates.find(({ name }) => name === "delta")!.results;
  const divergences = sets.map(({ set, fidelity }) => ({ set, kl: fidelity.kl.mean }));
  return divergences.reduce((worst, own) => (own.kl > worst.kl ? own : worst));
}
