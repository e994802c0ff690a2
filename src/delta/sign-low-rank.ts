import { InvalidRequest } from "../core/index.js";
import { type CodecOptions, type FactorDType, type MatrixShape, planeBytes } from "../formats/index.js";
import { visitBlocks } from "./blocks.js";
import {
  type Calibration,
  type CodecFamily,
  checkDifference,
  type DeltaCodec,
  type EncodedTensor,
  type Factors,
  type MatrixKind,
  type Plane,
} from "./codec.js";
import { numberOption, refuseUnknownOptions } from "./codec-options.js";
import { addEncoded } from "./decoded.js";
import { bitsPerRank, encodeFactors, RANK_STEP } from "./factors.js";
import { strongestDirections } from "./low-rank.js";
import { SIGN_BLOCK, writeSignBlock } from "./planes.js";

/** Encodes the part of a difference that is not of low rank, as {@link DeltaCodec.encode} does. */
export type DenseEncoder = (
  difference: Float32Array,
  shape: MatrixShape,
  kind: MatrixKind,
  calibration?: Calibration,
) => readonly Plane[];

/** Turns of the two parts; each improves what the other leaves, and a fourth gains less than a hundredth. */
const rounds = 3;
/** Four bits and twice the rank leave 0.7 to 0.9 of what eight bits do, on the fine-tunes that were measured. */
const factorDType: FactorDType = "q4_0";
/** Of a plane of signs. */
const planeBits = 1.125;

/** A low-rank part, and a plane of signs for the rest. See {@link signLowRankOf}. */
export const signLowRank: CodecFamily = signLowRankOf(nearestSigns);

/**
 * Makes the family from a way to encode the dense part. The two parts take turns: the best low-rank L for what planes miss of Δ,
 * weighted by the inputs' second moment where that is known, then planes for Δ − L. L comes first: signs that had to say what is of low
 * rank would leave an error that is not.
 */
export function signLowRankOf(encodeDense: DenseEncoder): CodecFamily {
  return {
    name: "signlr",
    summary:
      "low-rank factors in 4 bits and a plane of signs for the rest (--bits a weight in all, default 1.75, or --rank)",
    create(options: CodecOptions): DeltaCodec {
      refuseUnknownOptions("signlr", options, ["bits", "rank"]);
      return new SignLowRankCodec(encodeDense, options);
    },
  };
}

class SignLowRankCodec implements DeltaCodec {
  readonly name = "signlr";
  readonly options: CodecOptions;
  readonly #encodeDense: DenseEncoder;
  readonly #rankOf: (shape: MatrixShape) => number;

  constructor(encodeDense: DenseEncoder, { rank, bits }: CodecOptions) {
    this.#encodeDense = encodeDense;
    if (rank !== undefined && bits !== undefined) {
      throw new InvalidRequest("rank", 'The codec "signlr" takes rank or bits, not both');
    }
    if (rank !== undefined) {
      const own = numberOption("signlr", "rank", rank, { above: 0, max: 4096 });
      if (own % RANK_STEP !== 0) {
        throw new InvalidRequest("rank", `The codec "signlr" has ranks in steps of ${RANK_STEP}, not ${own}`);
      }
      this.options = { rank: own };
      this.#rankOf = () => own;
    } else {
      const own = numberOption("signlr", "bits", bits ?? 1.75, { above: planeBits, max: 8 });
      this.options = { bits: own };
      this.#rankOf = (shape) => rankWithin((own - planeBits) * shape.rows * shape.cols, shape);
    }
  }

  encode(difference: Float32Array, shape: MatrixShape, kind: MatrixKind, calibration?: Calibration): EncodedTensor {
    checkDifference(difference, shape);
    const rank = this.#rankOf(shape);
    const moment = calibration?.moment;
    let planes: readonly Plane[] = [];
    let factors: readonly Factors[] = [];
    for (let round = 0; round < (rank > 0 ? rounds : 1); round++) {
      const e = { ...shape, values: without(difference, { planes, factors: [] }, shape) };
      const pair = encodeFactors(e, strongestDirections(e, rank, moment), factorDType, moment);
      factors = pair ? [pair] : [];
      planes = this.#encodeDense(without(difference, { planes: [], factors }, shape), shape, kind, calibration);
    }
    return { planes, factors };
  }
}

/** What a part of the encoding leaves of a difference. */
function without(difference: Float32Array, part: EncodedTensor, shape: MatrixShape): Float32Array {
  const rest = new Float32Array(difference.length);
  addEncoded(rest, part, shape);
  for (let i = 0; i < rest.length; i++) rest[i] = difference[i]! - rest[i]!;
  return rest;
}

/**
 * One plane that is nearest to the difference: its scales are mean magnitudes. They are not enlarged as those of `sign` are, for what
 * inputs are aligned with is in the low-rank part.
 */
function nearestSigns(difference: Float32Array, shape: MatrixShape): readonly Plane[] {
  const bytes = new Uint8Array(planeBytes("q1_0", shape));
  const codes = new Uint8Array(SIGN_BLOCK);
  visitBlocks("q1_0", shape, (index, start, count) => {
    let sum = 0;
    for (let j = 0; j < count; j++) {
      const value = difference[start + j]!;
      sum += Math.abs(value);
      codes[j] = Number(value > 0);
    }
    codes.fill(0, count);
    writeSignBlock(bytes, index, sum / count, codes, 0);
  });
  return [{ dtype: "q1_0", bytes }];
}

/** The largest rank that these bits hold, or the nearest step of it. */
function rankWithin(bits: number, shape: MatrixShape): number {
  const steps = Math.round(bits / (RANK_STEP * bitsPerRank(factorDType, shape)));
  return RANK_STEP * Math.min(steps, Math.ceil(Math.min(shape.rows, shape.cols) / RANK_STEP));
}
