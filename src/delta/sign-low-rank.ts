import { InvalidRequest } from "../core/index.js";
import { type CodecOptions, type FactorDType, type MatrixShape, planeBytes } from "../formats/index.js";
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
import { dampedMoment } from "./moment.js";
import { signWithin } from "./sign.js";

/** Encodes the part of a difference that is not of low rank, as {@link DeltaCodec.encode} does. */
export type DenseEncoder = (
  difference: Float32Array,
  shape: MatrixShape,
  kind: MatrixKind,
  calibration?: Calibration,
) => readonly Plane[];

/** Turns of the two parts; each improves what the other leaves, and a fourth gains less than a hundredth. */
const rounds = 3;
/** Four bits and twice the rank leave 0.65 to 0.85 of the error that eight bits do, on the fine-tunes that were measured. */
const factorDType: FactorDType = "q4_0";
/** Two passes of the solver a turn: with six, its own number, errors are within 2 % of what they are so, either way. */
const oneSign = signWithin({ planes: 1, sweeps: 2 });
/** Of a plane of signs whose rows are whole blocks. */
const planeBits = 1.125;

/** A low-rank part, and a plane of signs for the rest. See {@link signLowRankOf}. */
export const signLowRank: CodecFamily = signLowRankOf((difference, shape, kind, calibration) => {
  return oneSign.encode(difference, shape, kind, calibration).planes;
});

/**
 * Makes the family from a way to encode the dense part. The two parts take turns: the best low-rank L for what planes miss of Δ,
 * weighted by the inputs' second moment where that is known, damped as the solver damps it, then planes for Δ − L. L comes first: signs that had to say what is of low
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
  readonly rowByRow = false;
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
      this.#rankOf = (shape) => rankWithin(own, shape);
    }
  }

  encode(difference: Float32Array, shape: MatrixShape, kind: MatrixKind, calibration?: Calibration): EncodedTensor {
    checkDifference(difference, shape);
    const rank = this.#rankOf(shape);
    const moment = calibration && dampedMoment(calibration.moment, shape.cols);
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

/** The rank whose factors come nearest to the bits that a plane leaves. */
function rankWithin(bits: number, shape: MatrixShape): number {
  const left = bits * shape.rows * shape.cols - 8 * planeBytes("q1_0", shape);
  const steps = Math.round(left / (RANK_STEP * bitsPerRank(factorDType, shape)));
  return RANK_STEP * Math.max(0, Math.min(steps, Math.ceil(Math.min(shape.rows, shape.cols) / RANK_STEP)));
}
