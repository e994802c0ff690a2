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
import { cholesky, inverseOfLower } from "./dense.js";
import { FOUR_BIT_BLOCK, writeFourBitBlock } from "./planes.js";
import { sign } from "./sign.js";

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
const GROUP = 4;
const KEPT = 2;

class DeltaZipCodec implements DeltaCodec {
  readonly name = "deltazip";
  readonly options: CodecOptions;
  // Rows do not need each other, but all of a matrix need one factorisation, which is most of the work.
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
    const { rows, cols } = shape;
    const factor = calibration && factorOfInverse(calibration.moment, cols);
    const multiples = new Int8Array(rows * cols);
    const scales = new Float64Array(rows);
    const row = new Float64Array(cols);
    for (let r = 0; r < rows; r++) {
      row.set(difference.subarray(r * cols, (r + 1) * cols));
      scales[r] = row.reduce((max, value) => Math.max(max, Math.abs(value)), 0) / this.#highest;
      if (scales[r] !== 0) this.#decideRow(row, scales[r]!, factor, multiples.subarray(r * cols, (r + 1) * cols));
    }
    return pack(multiples, scales, shape);
  }

  /** @param factor U, upper triangular `[cols, cols]`, with UᵀU = H⁻¹; without it nothing is made up for */
  #decideRow(row: Float64Array, scale: number, factor: Float64Array | undefined, into: Int8Array): void {
    const cols = row.length;
    const pivotOf = (j: number) => (factor ? factor[j * cols + j]! : 1);
    for (let first = 0; first < cols; first += GROUP) {
      const group = Array.from({ length: Math.min(GROUP, cols - first) }, (_, j) => first + j);
      const cost = (j: number) => (row[j]! / pivotOf(j)) ** 2;
      const kept = new Set([...group].sort((a, b) => cost(b) - cost(a)).slice(0, KEPT));
      for (const j of group) {
        const multiple = kept.has(j) ? Math.round(row[j]! / scale) : 0;
        into[j] = Math.min(this.#highest, Math.max(-this.#highest - 1, multiple));
        if (!factor) continue;
        const lost = (row[j]! - into[j]! * scale) / pivotOf(j);
        if (lost === 0) continue;
        for (let k = j + 1; k < cols; k++) row[k]! -= lost * factor[j * cols + k]!;
      }
    }
  }
}

/** U, upper triangular with UᵀU = (H + damping)⁻¹: the inverse of the Cholesky factor of H with its order turned around. */
function factorOfInverse(moment: Float32Array, cols: number): Float64Array {
  let trace = 0;
  for (let i = 0; i < cols; i++) trace += moment[i * cols + i]!;
  const last = cols * cols - 1;
  const turned = Float64Array.from({ length: cols * cols }, (_, at) => moment[last - at]!);
  for (let i = 0; i < cols; i++) turned[i * cols + i]! += Math.max((DAMPING * trace) / cols, Number.MIN_VALUE);
  return inverseOfLower(cholesky({ n: cols, values: turned })).values.reverse();
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
