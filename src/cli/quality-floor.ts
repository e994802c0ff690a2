import { rename, rm } from "node:fs/promises";
import { basename, resolve } from "node:path";
import { InvalidRequest, KindredError, type ModelConfig, parametersOf } from "../core/index.js";
import { createCodec, type DeltaCodec, type DeltaReport } from "../delta/index.js";
import { defaultEngineOptions } from "../engine/index.js";
import { type Checkpoint, planeBytes } from "../formats/index.js";
import { evaluate } from "../quality/index.js";
import { assert } from "../util/index.js";

/** A delta that loses more than its maker allowed; it was not written. */
export class QualityTooLow extends KindredError {
  constructor(out: string, worst: Divergence, max: number, codec: DeltaCodec) {
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

const planeCounts = [1, 2, 3, 4] as const;

/**
 * The codecs that `--codec auto` tries, the leanest first: as few planes of signs as the floor needs, or else as many as `targetBits` hold.
 *
 * @throws {InvalidRequest} if neither is given, or one plane is more than the target
 */
export function autoCodecs(
  config: ModelConfig,
  { targetBits, floor }: { targetBits: number | undefined; floor: QualityFloor | undefined },
): readonly DeltaCodec[] {
  if (targetBits === undefined && !floor) {
    throw new InvalidRequest("codec", "--codec auto needs an aim: --target-bits, or --max-kld with --check");
  }
  const fitting = planeCounts.filter((planes) => targetBits === undefined || bitsOf(config, planes) <= targetBits);
  const most = fitting.at(-1);
  if (most === undefined) {
    const least = bitsOf(config, 1).toFixed(2);
    throw new InvalidRequest(
      "target-bits",
      `One plane takes ${least} bits a weight, --target-bits allows ${targetBits}`,
    );
  }
  return (floor ? fitting : [most]).map((planes) => createCodec("sign", { planes }));
}

/**
 * Makes a delta with one codec after the other until one keeps what it must, and gives it its name then.
 *
 * @param make writes a delta to a folder
 * @throws {QualityTooLow} if none does, with nothing at `out`
 */
export async function compressToFloor(
  options: {
    base: Checkpoint;
    tuned: Checkpoint;
    out: string;
    codecs: readonly DeltaCodec[];
    floor: QualityFloor;
    signal: AbortSignal;
  },
  make: (codec: DeltaCodec, out: string) => Promise<DeltaReport>,
): Promise<{ report: DeltaReport; worst: Divergence }> {
  const { out, codecs, floor } = options;
  const candidate = `${out}.candidate`;
  for (const [index, codec] of codecs.entries()) {
    const report = await make(codec, candidate);
    try {
      const worst = await divergenceOf(candidate, options);
      const isLast = index === codecs.length - 1;
      if (worst.kl <= floor.maxKl || (isLast && floor.force)) {
        await rename(candidate, out);
        return { report: { ...report, name: basename(resolve(out)) }, worst };
      }
      if (isLast) throw new QualityTooLow(out, worst, floor.maxKl, codec);
    } finally {
      await rm(candidate, { recursive: true, force: true });
    }
  }
  assert(false, "there was no codec to try");
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

/** Bits a weight of so many planes of signs, vectors in 16 bits. */
function bitsOf(config: ModelConfig, planes: number): number {
  let [bytes, weights] = [0, 0];
  for (const { shape, kind } of parametersOf(config)) {
    const [rows = 1, cols = 1] = shape;
    bytes += kind === "vector" ? 2 * rows : planes * planeBytes("q1_0", { rows, cols });
    weights += rows * cols;
  }
  return (8 * bytes) / weights;
}
