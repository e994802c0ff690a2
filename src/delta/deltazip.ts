import { InvalidRequest } from "../core/index.js";
import { type CodecOptions, type MatrixShape, planeBytes } from "../formats/index.js";
import { visitBlocks } from "./blocks.js";
import {
  type Calibration,
  type CodecFamily,
  checkDifference,
  type DeltaCodec,
  type EncodedTensor,
  type MatrixKind,
} from "./codec.js";
import { refuseUnknownOptions } from "./codec-options.js";
import { dampedMoment } from "./moment.js";
import { FOUR_BIT_BLOCK, writeFourBitBlock } from "./planes.js";
import { sign } from "./sign.js";
import { compensatedSparse, nearestSparse } from "./sparse-rounding.js";

/**
 * The other published baseline (DeltaZip, arXiv 2312.05215, §4): of every four weights of a linear layer two are kept, in whole multiples
 * of one scale a row; columns are decided one after the other, and what each loses is made up for by the later ones (SparseGPT). For
 * embeddings and heads, which DeltaZip keeps in 16 bits, it has one plane of signs, so that sizes can be compared. Planes are q4_0, since
 * ggml has no sparse products: what DeltaZip would hold in memory is 3 bits a weight, or 2 for two-bit values.
 */
export const deltazip: CodecFamily = {
  name: "deltazip",
  summary: "baseline: 2 of 4 weights in 4 bits (--bits 2: in 2), by SparseGPT; embeddings and head as a plane of signs",
  create(options: CodecOptions): DeltaCodec {
    refuseUnknownOptions("deltazip", options, ["bits"]);
    const bits = Number(options.bits ?? 4);
    if (bits === 2 || bits === 4) return new DeltaZipCodec(bits);
    throw new InvalidRequest("bits", `The codec "deltazip" has 2 or 4 bits, not ${JSON.stringify(options.bits)}`);
  },
};

/** Of the mean input energy, what is added to every input's so that the factor exists; DeltaZip's and SparseGPT's value. */
const DAMPING = 0.01;

class DeltaZipCodec implements DeltaCodec {
  readonly name = "deltazip";
  readonly options: CodecOptions;
  // Rows do not need each other, but all of a matrix need one factorisation.
  readonly rowByRow = false;
  readonly #signs = sign.create({ planes: 1 });
  /** The largest multiple of the scale; the lowest is one further from zero. */
  readonly #highest: number;

  constructor(bits: 2 | 4) {
    this.#highest = 2 ** (bits - 1) - 1;
    this.options = { bits };
  }

  encode(difference: Float32Array, shape: MatrixShape, kind: MatrixKind, calibration?: Calibration): EncodedTensor {
    if (kind !== "linear") return this.#signs.encode(difference, shape, kind);
    checkDifference(difference, shape);
    const scales = largestOfRows(difference, shape).map((largest) => largest / this.#highest);
    const problem = { difference, shape, scales, highest: this.#highest };
    const multiples = calibration
      ? compensatedSparse(problem, dampedMoment(calibration.moment, shape.cols, DAMPING))
      : nearestSparse(problem);
    return pack(multiples, scales, shape);
  }
}

function largestOfRows(difference: Float32Array, { rows, cols }: MatrixShape): Float64Array {
  return Float64Array.from({ length: rows }, (_, row) => {
    let largest = 0;
    for (let at = row * cols; at < (row + 1) * cols; at++) largest = Math.max(largest, Math.abs(difference[at]!));
    return largest;
  });
}

function pack(multiples: Int8Array, scales: Float64Array, shape: MatrixShape): EncodedTensor {
  const bytes = new Uint8Array(planeBytes("q4_0", shape));
  const block = new Int8Array(FOUR_BIT_BLOCK);
  visitBlocks("q4_0", shape, (index, start, count) => {
    block.set(multiples.subarray(start, start + count));
    block.fill(0, count);
    writeFourBitBlock(bytes, index, scales[Math.floor(start / shape.cols)]!, block);
  });
  return { planes: [{ dtype: "q4_0", bytes }] };
}
