import { InvalidRequest } from "../core/index.js";
import { type CodecOptions, type MatrixShape, planeBytes } from "../formats/index.js";
import { visitBlocks } from "./blocks.js";
import { signBook } from "./code-book.js";
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
import { SIGN_BLOCK, writeSignBlock } from "./planes.js";
import { type PlaneCount, SignLevels } from "./sign-levels.js";
import type { Solution } from "./solution.js";
import { sharedSolver } from "./solver.js";
import { SortedMagnitudes } from "./sorted-magnitudes.js";

/**
 * Signs with a scale per 128 weights, in one to four planes. The scales of a block's planes are solved together,
 * so two planes are the best four levels ±s1 ± s2. With a calibration, codes and scales are what the solver finds; without one,
 * they are the closest to the difference, enlarged as {@link gainOf} says.
 */
export const sign: CodecFamily = {
  name: "sign",
  summary: "1 to 4 planes of signs (--planes, default 2), a scale per 128 weights: 1.13 bits a weight and plane",
  create(options: CodecOptions): DeltaCodec {
    refuseUnknownOptions("sign", options, ["planes"]);
    return new SignCodec(parsePlanes(options.planes ?? 2));
  },
};

/** The same as a part of another codec, with `sweeps` passes of the solver in place of its own number. */
export function signWithin(options: { planes: PlaneCount; sweeps: number }): DeltaCodec {
  return new SignCodec(options.planes, options.sweeps);
}

class SignCodec implements DeltaCodec {
  readonly name = "sign";
  readonly options: CodecOptions;
  readonly rowByRow = true;
  readonly #planes: PlaneCount;
  readonly #sweeps: number | undefined;

  constructor(planes: PlaneCount, sweeps?: number) {
    this.#planes = planes;
    this.#sweeps = sweeps;
    this.options = { planes };
  }

  encode(difference: Float32Array, shape: MatrixShape, _kind: MatrixKind, calibration?: Calibration): EncodedTensor {
    checkDifference(difference, shape);
    const solution = this.#nearest(difference, shape, calibration === undefined);
    if (calibration) {
      const book = signBook(this.#planes, SIGN_BLOCK);
      sharedSolver().solve({ difference, shape, calibration, gains: solution.gains }, book, solution, this.#sweeps);
    }
    return this.#pack(solution, shape);
  }

  /** The closest codes and scales, enlarged or not. */
  #nearest(difference: Float32Array, shape: MatrixShape, enlarged: boolean): Solution & { gains: Float64Array } {
    const block = new SortedMagnitudes(SIGN_BLOCK);
    const levels = new SignLevels(this.#planes);
    const codes = new Uint8Array(difference.length);
    const scales = new Float64Array(shape.rows * Math.ceil(shape.cols / SIGN_BLOCK) * this.#planes);
    const gains = new Float64Array(shape.rows * Math.ceil(shape.cols / SIGN_BLOCK));
    visitBlocks("q1_0", shape, (index, start, count) => {
      block.load(difference, start, count);
      const error = levels.fit(block);
      gains[index] = gainOf(error, block.sumOfSquares);
      const gain = enlarged ? gains[index]! : 1;
      chooseCodes(difference, start, count, levels, codes);
      for (let plane = 0; plane < this.#planes; plane++) {
        scales[index * this.#planes + plane] = enlarge(levels.scales[plane]!, gain);
      }
    });
    return { codes, scales, gains };
  }

  #pack({ codes, scales }: Solution, shape: MatrixShape): EncodedTensor {
    const planes = Array.from({ length: this.#planes }, () => new Uint8Array(planeBytes("q1_0", shape)));
    const padded = new Uint8Array(SIGN_BLOCK);
    visitBlocks("q1_0", shape, (index, start, count) => {
      padded.set(codes.subarray(start, start + count));
      padded.fill(0, count);
      for (const [plane, bytes] of planes.entries()) {
        writeSignBlock(bytes, index, scales[index * planes.length + plane]!, padded, plane);
      }
    });
    return { planes: planes.map((bytes) => ({ dtype: "q1_0", bytes })) };
  }
}

/** Writes the code of the nearest level for each value of a block. */
function chooseCodes(values: Float32Array, start: number, count: number, levels: SignLevels, into: Uint8Array): void {
  const { codes, thresholds } = levels;
  const all = 2 * codes.length - 1;
  for (let at = start; at < start + count; at++) {
    const value = values[at]!;
    const magnitude = Math.abs(value);
    // Arithmetic rather than branches, which signs and magnitudes make unpredictable.
    let level = 0;
    for (let i = 0; i < thresholds.length; i++) level += Number(magnitude > thresholds[i]!);
    into[at] = codes[level]! ^ (all & -Number(value < 0));
  }
}

function parsePlanes(value: string | number | boolean): PlaneCount {
  const planes = Number(value);
  if (planes === 1 || planes === 2 || planes === 3 || planes === 4) return planes;
  throw new InvalidRequest("planes", `The codec "sign" has 1 to 4 planes, not ${JSON.stringify(value)}`);
}
