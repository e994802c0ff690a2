import { InvalidRequest } from "../core/index.js";
import { type CodecOptions, type MatrixShape, planeBytes } from "../formats/index.js";
import { visitBlocks } from "./blocks.js";
import { type CodecFamily, checkDifference, type DeltaCodec, type EncodedTensor } from "./codec.js";
import { refuseUnknownOptions } from "./codec-options.js";
import { enlarge, gainOf } from "./gain.js";
import { SIGN_BLOCK, writeSignBlock } from "./planes.js";
import { type PlaneCount, SignLevels } from "./sign-levels.js";
import { SortedMagnitudes } from "./sorted-magnitudes.js";

/**
 * Signs with a scale per 128 weights, in one, two or three planes. The scales of a block's planes are solved together,
 * so two planes are the best four levels ±s1 ± s2, and then enlarged as {@link gainOf} says. The larger scale comes first;
 * alone it is coarser than the scale that one plane would have had.
 */
export const sign: CodecFamily = {
  name: "sign",
  summary: "1, 2 or 3 planes of signs (--planes, default 2), a scale per 128 weights: 1.13 bits a weight and plane",
  create(options: CodecOptions): DeltaCodec {
    refuseUnknownOptions("sign", options, ["planes"]);
    return new SignCodec(parsePlanes(options.planes ?? 2));
  },
};

class SignCodec implements DeltaCodec {
  readonly name = "sign";
  readonly options: CodecOptions;
  readonly #planes: PlaneCount;

  constructor(planes: PlaneCount) {
    this.#planes = planes;
    this.options = { planes };
  }

  encode(difference: Float32Array, shape: MatrixShape): EncodedTensor {
    checkDifference(difference, shape);
    const planes = Array.from({ length: this.#planes }, () => new Uint8Array(planeBytes("q1_0", shape)));
    const block = new SortedMagnitudes(SIGN_BLOCK);
    const levels = new SignLevels(this.#planes);
    const codes = new Uint8Array(SIGN_BLOCK);
    visitBlocks("q1_0", shape, (index, start, count) => {
      block.load(difference, start, count);
      const gain = gainOf(levels.fit(block), block.sumOfSquares);
      chooseCodes(difference, start, count, levels, codes);
      for (let plane = 0; plane < planes.length; plane++) {
        writeSignBlock(planes[plane]!, index, enlarge(levels.scales[plane]!, gain), codes, plane);
      }
    });
    return { planes: planes.map((bytes) => ({ dtype: "q1_0", bytes })) };
  }
}

/** The code of the nearest level for each value of a block; those past `count` are 0. */
function chooseCodes(values: Float32Array, start: number, count: number, levels: SignLevels, into: Uint8Array): void {
  const { codes, thresholds } = levels;
  for (let j = 0; j < count; j++) {
    const value = values[start + j]!;
    const magnitude = Math.abs(value);
    // Arithmetic rather than branches, which signs and magnitudes make unpredictable.
    let level = 0;
    for (let i = 0; i < thresholds.length; i++) level += Number(magnitude > thresholds[i]!);
    into[j] = codes[level]! ^ -Number(value < 0);
  }
  into.fill(0, count);
}

function parsePlanes(value: string | number | boolean): PlaneCount {
  const planes = Number(value);
  if (planes === 1 || planes === 2 || planes === 3) return planes;
  throw new InvalidRequest("planes", `The codec "sign" has 1, 2 or 3 planes, not ${JSON.stringify(value)}`);
}
