import type { CodecOptions, FactorDType, MatrixShape } from "../formats/index.js";
import {
  type Calibration,
  type CodecFamily,
  checkDifference,
  type DeltaCodec,
  type EncodedTensor,
  type Factors,
  type MatrixKind,
} from "./codec.js";
import { numberOption, refuseUnknownOptions } from "./codec-options.js";
import { addFactors, bitsPerRank, encodeFactors, RANK_STEP } from "./factors.js";
import { strongestDirections } from "./low-rank.js";
import { dampedMoment } from "./moment.js";
import { type Matrix, timesTransposed } from "./products.js";

/**
 * A low-rank approximation, the strongest directions in eight bits and others in four where that leaves less than all in four. (Ping
 * et al. 2024, "Delta-CoMe", give the leading singular vectors more bits.) What one group misses by rounding is left to the next.
 */
export const svd: CodecFamily = {
  name: "svd",
  summary: "low-rank factors in 8 and 4 bits (--bits a weight, default 0.5): for many variants that are seldom asked",
  create(options: CodecOptions): DeltaCodec {
    refuseUnknownOptions("svd", options, ["bits"]);
    return new SvdCodec(numberOption("svd", "bits", options.bits ?? 0.5, { above: 0, max: 8 }));
  },
};

class SvdCodec implements DeltaCodec {
  readonly name = "svd";
  readonly options: CodecOptions;
  readonly rowByRow = false;
  readonly #bits: number;

  constructor(bits: number) {
    this.#bits = bits;
    this.options = { bits };
  }

  encode(difference: Float32Array, shape: MatrixShape, _kind: MatrixKind, calibration?: Calibration): EncodedTensor {
    checkDifference(difference, shape);
    const moment = calibration && dampedMoment(calibration.moment, shape.cols);
    const layouts = layoutsOf(this.#bits * shape.rows * shape.cols, shape);
    const ranks = layouts.map((layout) => layout.reduce((sum, { rank }) => sum + rank, 0));
    const directions = strongestDirections({ ...shape, values: difference }, Math.max(...ranks), moment);
    const trials = layouts.map((layout) => encodeGroups({ ...shape, values: difference }, directions, layout, moment));
    const [best] = trials.sort((a, b) => a.error - b.error);
    return { planes: [], factors: best!.factors };
  }
}

/** How many directions go to which dtype, the strongest first. */
type Layout = readonly { readonly dtype: FactorDType; readonly rank: number }[];

/** The layouts that come nearest to these bits, but never less than one step of ranks. */
function layoutsOf(bits: number, shape: MatrixShape): readonly Layout[] {
  const stepBits = (dtype: FactorDType) => RANK_STEP * bitsPerRank(dtype, shape);
  const stepsMax = Math.ceil(Math.min(shape.rows, shape.cols) / RANK_STEP);
  const steps = (left: number) => Math.round(left / stepBits("q4_0"));
  const layouts: Layout[] = [[{ dtype: "q4_0", rank: Math.min(Math.max(1, steps(bits)), stepsMax) * RANK_STEP }]];
  const others = Math.min(steps(bits - stepBits("q8_0")), stepsMax - 1);
  const leading = { dtype: "q8_0", rank: RANK_STEP } as const;
  if (others >= 1) layouts.push([leading, { dtype: "q4_0", rank: others * RANK_STEP }]);
  else if (bits >= stepBits("q8_0")) layouts.push([leading]);
  return layouts;
}

function encodeGroups(
  { rows, cols, values }: Matrix,
  directions: Matrix,
  layout: Layout,
  moment: Float32Array | undefined,
): { factors: readonly Factors[]; error: number } {
  const rest: Matrix = { rows, cols, values: values.slice() };
  const factors: Factors[] = [];
  let first = 0;
  for (const { dtype, rank } of layout) {
    const pair = encodeFactors(rest, rowsOf(directions, first, rank), dtype, moment);
    if (!pair) break;
    factors.push(pair);
    first += rank;
    subtract(rest.values, pair, rest);
  }
  return { factors, error: energyOf(rest, moment) };
}

/** tr(R H Rᵀ), or ‖R‖² without a moment. */
function energyOf(rest: Matrix, moment: Float32Array | undefined): number {
  const weighted = moment ? timesTransposed(rest, { rows: rest.cols, cols: rest.cols, values: moment }) : rest;
  let energy = 0;
  for (let i = 0; i < rest.values.length; i++) energy += rest.values[i]! * weighted.values[i]!;
  return energy;
}

function rowsOf({ rows, cols, values }: Matrix, first: number, count: number): Matrix {
  const end = Math.min(rows, first + count);
  return { rows: Math.max(0, end - first), cols, values: values.slice(first * cols, end * cols) };
}

function subtract(values: Float32Array, factors: Factors, shape: MatrixShape): void {
  const part = new Float32Array(values.length);
  addFactors(part, factors, shape);
  for (let i = 0; i < values.length; i++) values[i]! -= part[i]!;
}
