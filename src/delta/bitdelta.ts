import { type CodecOptions, type MatrixShape, planeBytes } from "../formats/index.js";
import { visitBlocks } from "./blocks.js";
import { type CodecFamily, checkDifference, type DeltaCodec, type EncodedTensor, type MatrixKind } from "./codec.js";
import { refuseUnknownOptions } from "./codec-options.js";
import { SIGN_BLOCK, writeHalf, writeSignBlock } from "./planes.js";

/**
 * The published baseline (BitDelta, arXiv 2402.10193, §3.1, before its scales are trained): signs with one scale per
 * matrix, the mean magnitude; embeddings and output heads are kept in 16 bits.
 */
export const bitdelta: CodecFamily = {
  name: "bitdelta",
  summary: "baseline: signs with one scale per matrix, embeddings and head in 16 bits",
  create(options: CodecOptions): DeltaCodec {
    refuseUnknownOptions("bitdelta", options, []);
    return { name: "bitdelta", options: {}, rowByRow: false, ignoresInputs: true, encode };
  },
};

function encode(difference: Float32Array, shape: MatrixShape, kind: MatrixKind): EncodedTensor {
  checkDifference(difference, shape);
  return kind === "linear" ? encodeSigns(difference, shape) : encodeHalves(difference, shape);
}

function encodeSigns(difference: Float32Array, shape: MatrixShape): EncodedTensor {
  let sum = 0;
  for (let i = 0; i < difference.length; i++) sum += Math.abs(difference[i]!);
  const scale = sum / difference.length;

  const bytes = new Uint8Array(planeBytes("q1_0", shape));
  const codes = new Uint8Array(SIGN_BLOCK);
  visitBlocks("q1_0", shape, (index, start, count) => {
    for (let j = 0; j < count; j++) codes[j] = Number(difference[start + j]! >= 0);
    codes.fill(0, count);
    writeSignBlock(bytes, index, scale, codes, 0);
  });
  return { planes: [{ dtype: "q1_0", bytes }] };
}

function encodeHalves(difference: Float32Array, shape: MatrixShape): EncodedTensor {
  const bytes = new Uint8Array(planeBytes("f16", shape));
  for (let i = 0; i < difference.length; i++) writeHalf(bytes, i * 2, difference[i]!);
  return { planes: [{ dtype: "f16", bytes }] };
}
