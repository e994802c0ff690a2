import { type CodecOptions, type MatrixShape, planeBytes } from "../formats/index.js";
import { visitBlocks } from "./blocks.js";
import { type CodecFamily, checkDifference, type DeltaCodec, type EncodedTensor } from "./codec.js";
import { refuseUnknownOptions } from "./codec-options.js";
import { enlarge, gainOf } from "./gain.js";
import { TERNARY_BLOCK, writeTernaryBlock } from "./planes.js";
import { SortedMagnitudes } from "./sorted-magnitudes.js";

/** Minus, zero or plus one scale per 256 weights: real differences have many small values, and zero is worth a code. */
export const ternary: CodecFamily = {
  name: "ternary",
  summary: "{-s, 0, s} with a scale per 256 weights: 1.69 bits a weight",
  create(options: CodecOptions): DeltaCodec {
    refuseUnknownOptions("ternary", options, []);
    return { name: "ternary", options: {}, encode };
  },
};

function encode(difference: Float32Array, shape: MatrixShape): EncodedTensor {
  checkDifference(difference, shape);
  const bytes = new Uint8Array(planeBytes("tq1_0", shape));
  const block = new SortedMagnitudes(TERNARY_BLOCK);
  const trits = new Uint8Array(TERNARY_BLOCK);
  visitBlocks("tq1_0", shape, (index, start, count) => {
    block.load(difference, start, count);
    const { scale, error } = bestScale(block);
    for (let j = 0; j < count; j++) {
      const value = difference[start + j]!;
      trits[j] = 1 + Number(2 * value > scale) - Number(2 * value < -scale);
    }
    trits.fill(1, count);
    writeTernaryBlock(bytes, index, enlarge(scale, gainOf(error, block.sumOfSquares)), trits);
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
