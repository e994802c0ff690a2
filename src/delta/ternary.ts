import { type CodecOptions, type MatrixShape, planeBytes } from "../formats/index.js";
import { visitBlocks } from "./blocks.js";
import { gridBook } from "./code-book.js";
import {
  type Calibration,
  type CodecFamily,
  checkDifference,
  type DeltaCodec,
  type EncodedTensor,
  type MatrixKind,
} from "./codec.js";
import { refuseUnknownOptions } from "./codec-options.js";
import { enlarge, gainOf } from "./gain.js";
import { roundToHalf, TERNARY_BLOCK, writeTernaryBlock } from "./planes.js";
import type { Solution } from "./solution.js";
import { sharedSolver } from "./solver.js";
import { SortedMagnitudes } from "./sorted-magnitudes.js";

/** Minus, zero or plus one scale per 256 weights: real differences have many small values, and zero is worth a code. */
export const ternary: CodecFamily = {
  name: "ternary",
  summary: "{-s, 0, s} with a scale per 256 weights: 1.69 bits a weight",
  create(options: CodecOptions): DeltaCodec {
    refuseUnknownOptions("ternary", options, []);
    return { name: "ternary", options: {}, rowByRow: true, encode };
  },
};

function encode(
  difference: Float32Array,
  shape: MatrixShape,
  _kind: MatrixKind,
  calibration?: Calibration,
): EncodedTensor {
  checkDifference(difference, shape);
  const solution = nearest(difference, shape, calibration === undefined);
  if (calibration) {
    const book = gridBook(-1, 3, TERNARY_BLOCK);
    sharedSolver().solve({ difference, shape, calibration, gains: solution.gains }, book, solution);
  }
  return pack(solution, shape);
}

/** The closest codes and scales, enlarged or not. */
function nearest(difference: Float32Array, shape: MatrixShape, enlarged: boolean): Solution & { gains: Float64Array } {
  const block = new SortedMagnitudes(TERNARY_BLOCK);
  const codes = new Uint8Array(difference.length);
  const scales = new Float64Array(shape.rows * Math.ceil(shape.cols / TERNARY_BLOCK));
  const gains = new Float64Array(scales.length);
  visitBlocks("tq1_0", shape, (index, start, count) => {
    block.load(difference, start, count);
    const { scale, error } = bestScale(block);
    for (let at = start; at < start + count; at++) {
      const value = difference[at]!;
      codes[at] = 1 + Number(2 * value > scale) - Number(2 * value < -scale);
    }
    gains[index] = gainOf(error, block.sumOfSquares);
    scales[index] = enlarge(roundToHalf(scale), enlarged ? gains[index]! : 1);
  });
  return { codes, scales, gains };
}

function pack({ codes, scales }: Solution, shape: MatrixShape): EncodedTensor {
  const bytes = new Uint8Array(planeBytes("tq1_0", shape));
  const trits = new Uint8Array(TERNARY_BLOCK);
  visitBlocks("tq1_0", shape, (index, start, count) => {
    trits.set(codes.subarray(start, start + count));
    trits.fill(1, count);
    writeTernaryBlock(bytes, index, scales[index]!, trits);
  });
  return { planes: [{ dtype: "tq1_0", bytes }] };
}

/**
 * The scale with the least squared error, and that error. If the k largest magnitudes get ±s and the others 0, the best s
 * is their mean and saves sum² / k of the error; every k is tried.
 */
function bestScale(block: SortedMagnitudes): { scale: number; error: number } {
  let bestGain = 0;
  let scale = 0;
  for (let kept = 1; kept <= block.count; kept++) {
    const sum = block.sumBetween(block.count - kept, block.count);
    const gain = (sum * sum) / kept;
    if (gain <= bestGain) continue;
    bestGain = gain;
    scale = sum / kept;
  }
  return { scale, error: block.sumOfSquares - bestGain };
}
