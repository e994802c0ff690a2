import { InvalidRequest } from "../core/index.js";
import type { CodecOptions } from "../formats/index.js";
import type { DeltaCodec } from "./codec.js";
import type { Candidate, Survey } from "./survey.js";

/** A codec of its own for every matrix. */
export interface Allocation {
  readonly name: "auto";
  /** What was aimed at. */
  readonly options: CodecOptions;
  /** By matrix; null leaves it as the base has it. */
  readonly codecs: ReadonlyMap<string, DeltaCodec | null>;
  /** On the kind of text where it is largest, as the survey has it, nats a token. */
  readonly loss: number;
}

/** When to stop spending bytes. */
export interface AllocationAim {
  /** Bits a weight on disk, over all parameters. Default: any. */
  readonly bitsMax?: number;
  /** In terms of {@link Allocation.loss}. Default: 0, as low as bits allow. */
  readonly lossMax?: number;
}

/**
 * Gives every matrix the form that is worth its bytes: one upgrade after the other, the one that saves the most loss a byte first, until
 * the loss is low enough or bits are spent.
 *
 * @throws {InvalidRequest} if what has no other form is more than the bits
 */
export function allocate(survey: Survey, options: CodecOptions, aim: AllocationAim): Allocation {
  const { bitsMax = Number.POSITIVE_INFINITY, lossMax = 0 } = aim;
  const bytesMax = (bitsMax * survey.parameters) / 8;
  if (survey.fixedBytes > bytesMax) {
    const least = ((survey.fixedBytes * 8) / survey.parameters).toFixed(2);
    const problem = `Norms, biases and added vocabulary alone take ${least} bits a weight, --target-bits allows ${bitsMax}`;
    throw new InvalidRequest("target-bits", problem);
  }
  const measure = relativeTo(survey);
  const chosen = new Map<string, Candidate>();
  const steps: { name: string; from: Candidate; to: Candidate; bytes: number; gain: number }[] = [];
  let bytes = survey.fixedBytes;
  for (const [name, candidates] of survey.candidates) {
    const [first, ...upgrades] = worthwhile(candidates, measure);
    chosen.set(name, first!);
    bytes += first!.bytes;
    let from = first!;
    for (const to of upgrades) {
      steps.push({ name, from, to, bytes: to.bytes - from.bytes, gain: measure(from) - measure(to) });
      from = to;
    }
  }
  const losses = sumOf([...chosen.values()]);
  // The steps of a matrix gain less and less a byte, so that they stay in order.
  const full = new Set<string>();
  for (const { name, from, to, ...step } of steps.sort((a, b) => b.gain / b.bytes - a.gain / a.bytes)) {
    if (Math.max(...losses) <= lossMax) break;
    if (full.has(name) || bytes + step.bytes > bytesMax) {
      // What comes after a step that did not fit does not either; those of others may.
      full.add(name);
      continue;
    }
    chosen.set(name, to);
    bytes += step.bytes;
    losses.forEach((_, kind) => {
      losses[kind]! += to.losses[kind]! - from.losses[kind]!;
    });
  }
  return {
    name: "auto",
    options,
    codecs: new Map([...chosen].map(([name, { codec }]) => [name, codec])),
    loss: Math.max(...losses),
  };
}

/** A candidate's loss as a share of what is lost where nothing is stored, on the average of kinds of text. */
function relativeTo({ candidates }: Survey): (candidate: Candidate) => number {
  const most = sumOf([...candidates.values()].map(([nothing]) => nothing!));
  return ({ losses }) => losses.reduce((sum, loss, kind) => sum + (loss > 0 ? loss / most[kind]! : 0), 0);
}

function sumOf(candidates: readonly Candidate[]): number[] {
  const kinds = candidates[0]?.losses.length ?? 0;
  return Array.from({ length: kinds }, (_, kind) => candidates.reduce((sum, { losses }) => sum + losses[kind]!, 0));
}

/** Candidates from few bytes to many, those alone that no mixture of two others beats: their lower convex hull. */
function worthwhile(candidates: readonly Candidate[], loss: (candidate: Candidate) => number): readonly Candidate[] {
  /** Loss saved a byte. */
  const slope = (from: Candidate, to: Candidate) => (loss(from) - loss(to)) / (to.bytes - from.bytes);
  const hull: Candidate[] = [];
  for (const next of candidates.toSorted((a, b) => a.bytes - b.bytes || loss(a) - loss(b))) {
    if (hull.length > 0 && loss(next) >= loss(hull.at(-1)!)) continue;
    while (hull.length > 1 && slope(hull.at(-2)!, hull.at(-1)!) <= slope(hull.at(-1)!, next)) hull.pop();
    hull.push(next);
  }
  return hull;
}
