// A ternary plane as two planes of signs of half its scale, which is how slots hold it: both say what it is where it is not zero, and one
// the opposite of the other where it is, so that nothing but sign planes is ever multiplied. native/arrange-planes.c does the same for
// kernels, and lays them out as these want them.
//
//   tq1_0   256 trits of scale d        −d, 0, +d                  drawn in delta/planes.ts
//   q1_0    twice 128 signs of d / 2    first  − + +
//                                       second − − +

import { type DType, dtypes } from "../core/index.js";
import { type PlaneDType, paddedCols } from "./delta-tensor.js";

const ternaryDType = "tq1_0";
const signDType = "q1_0";
const { blockBytes: ternaryBlockBytes } = dtypes[ternaryDType];
const { blockSize: signBlock, blockBytes: signBlockBytes } = dtypes[signDType];
const ternaryScaleOffset = 52;

/** Which of the two planes a ternary one becomes: they are told apart where it is zero. */
export type TernaryHalf = "first" | "second";

/** The least of the trits 0, 1 and 2 for which a half has a plus. */
export const leastTrits: Readonly<Record<TernaryHalf, 1 | 2>> = { first: 1, second: 2 };

/** What slots hold a plane as: of which dtype, and how many for one. */
export function slotPlanesOf(dtype: PlaneDType): { readonly dtype: DType; readonly count: number } {
  return dtype === ternaryDType ? { dtype: signDType, count: 2 } : { dtype, count: 1 };
}

/**
 * One of the two sign planes that a ternary plane is the sum of; of scales that half precision cannot halve, below 2⁻¹⁴, the nearest.
 *
 * @param bytes rows of ternary blocks
 * @param cols columns of the matrix, or these filled up to whole blocks of signs
 * @returns as many rows of blocks of signs
 */
export function signsOfTernary(bytes: Uint8Array, cols: number, half: TernaryHalf): Uint8Array {
  const digitsOf = setDigits[half];
  const ternaryBlocks = paddedCols(ternaryDType, cols) / dtypes[ternaryDType].blockSize;
  const signBlocks = paddedCols(signDType, cols) / signBlock;
  const rows = bytes.length / (ternaryBlocks * ternaryBlockBytes);
  const signs = new Uint8Array(rows * signBlocks * signBlockBytes);
  const bits = new Uint8Array(dtypes[ternaryDType].blockSize / 8);
  let [from, to] = [0, 0];
  for (let row = 0; row < rows; row++) {
    for (let block = 0; block < ternaryBlocks; block++, from += ternaryBlockBytes) {
      const scaleAt = from + ternaryScaleOffset;
      const scale = halved(bytes[scaleAt]! | (bytes[scaleAt + 1]! << 8));
      gatherBits(bytes, from, digitsOf, bits);
      // Where the columns end in the middle of a block there is one of signs for it.
      const count = Math.min(2, signBlocks - 2 * block);
      for (let own = 0; own < count; own++, to += signBlockBytes) {
        signs[to] = scale & 255;
        signs[to + 1] = scale >> 8;
        for (let i = 0; i < signBlock / 8; i++) signs[to + 2 + i] = bits[own * (signBlock / 8) + i]!;
      }
    }
  }
  return signs;
}

/** Half of a half float, by their bits: to the nearest, ties to even; what is no number stays none. */
function halved(half: number): number {
  const magnitude = half & 0x7fff;
  if (magnitude >= 0x7c00) return half;
  if (magnitude >= 0x800) return half - 0x400;
  return (half & 0x8000) | ((magnitude + ((magnitude >> 1) & 1)) >> 1);
}

/** The bits of a block's 256 trits. Bytes side by side hold trits side by side, five times: four bytes a half of five bytes of bits. */
function gatherBits(bytes: Uint8Array, block: number, digitsOf: Int32Array, bits: Uint8Array): void {
  const four = (at: number) =>
    digitsOf[bytes[at]!]! |
    (digitsOf[bytes[at + 1]!]! << 1) |
    (digitsOf[bytes[at + 2]!]! << 2) |
    (digitsOf[bytes[at + 3]!]! << 3);
  for (let m = 0; m < 48; m += 8) {
    const low = four(block + m);
    const high = four(block + m + 4);
    // 32 bytes, whose trits of one digit are 4 bytes of bits, then 16, whose are 2.
    const digitBytes = m < 32 ? 4 : 2;
    const to = m < 32 ? m / 8 : 20 + (m - 32) / 8;
    for (let digit = 0; digit < 5; digit++) {
      bits[to + digit * digitBytes] = ((low >> (4 * digit)) & 15) | (((high >> (4 * digit)) & 15) << 4);
    }
  }
  const last = four(block + 48);
  bits[30] = last;
  bits[31] = last >> 8;
}

/** Of each byte, which of its five digits set a sign: bit 0 for the first, bit 4 for the second, and so on. */
const setDigits: Readonly<Record<TernaryHalf, Int32Array>> = {
  first: digitsFrom(leastTrits.first),
  second: digitsFrom(leastTrits.second),
};

function digitsFrom(least: number): Int32Array {
  return Int32Array.from({ length: 256 }, (_, byte) => {
    let set = 0;
    for (let digit = 0; digit < 5; digit++) {
      const fraction = (byte * 3 ** digit) & 255;
      set |= Number((fraction * 3) >> 8 >= least) << (4 * digit);
    }
    return set;
  });
}
