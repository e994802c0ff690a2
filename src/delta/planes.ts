// A plane is a matrix in one of ggml's types, each row filled up to whole blocks; scales are little-endian f16.
//
//   q1_0    0    2                                       18        128 signs, 1.125 bits a weight
//           ├────┼────────────────────────────────────────┤
//           │ d  │ bit j (LSB first): set +d, clear -d     │
//
//   tq1_0   0                        32           48   52  54      256 trits, 1.6875 bits a weight
//           ├────────────────────────┼────────────┼────┼───┤
//           │ trits 0…159            │ 160…239    │240…│ d │       trit 0, 1, 2: -d, 0, +d
//
//           In a run of w bytes that start at trit b, byte m holds trits b + m, b + m + w, b + m + 2w, …: five of
//           them, four in the last run, the first the most significant. As a number n in base 3 (five digits, the
//           fifth 0 where there are four) they are the fraction n / 243 of a byte, rounded up; multiplying by 3
//           carries a digit out at the top each time.
//
//   q4_0    0    2                18                               32 whole multiples of d from -8 to 7, 4.5 bits a weight
//           ├────┼────────────────┤
//           │ d  │ low halves: weights 0…15, high halves: 16…31; a half h is the multiple h - 8
//
//   f16     the numbers themselves, no scale

import { type MatrixShape, type PlaneDType, paddedCols, planeBytes } from "../formats/index.js";
import { assert, f16ToNumber, numberToF16 } from "../util/index.js";

/** Weights of one `q1_0` block. */
export const SIGN_BLOCK = 128;
const SIGN_BLOCK_BYTES = 18;

/** Weights of one `tq1_0` block. */
export const TERNARY_BLOCK = 256;
const TERNARY_BLOCK_BYTES = 54;
const TERNARY_SCALE_OFFSET = 52;

/** Weights of one `q4_0` block. */
export const FOUR_BIT_BLOCK = 32;
const FOUR_BIT_BLOCK_BYTES = 18;

/** The three runs of a `tq1_0` block: `bytes` wide, from byte `at` on, `digits` trits a byte. */
const TERNARY_RUNS = [
  { at: 0, bytes: 32, digits: 5 },
  { at: 32, bytes: 16, digits: 5 },
  { at: 48, bytes: 4, digits: 4 },
] as const;

/**
 * Writes block `index` of a sign plane.
 *
 * @param codes of {@link SIGN_BLOCK} weights; bit `plane` of each says whether it adds the scale
 */
export function writeSignBlock(into: Uint8Array, index: number, scale: number, codes: Uint8Array, plane: number): void {
  const start = index * SIGN_BLOCK_BYTES;
  writeHalf(into, start, scale);
  for (let byte = 0; byte < SIGN_BLOCK / 8; byte++) {
    let bits = 0;
    for (let bit = 0; bit < 8; bit++) bits |= ((codes[byte * 8 + bit]! >> plane) & 1) << bit;
    into[start + 2 + byte] = bits;
  }
}

/**
 * Writes block `index` of a ternary plane.
 *
 * @param trits of {@link TERNARY_BLOCK} weights: 0, 1, 2 for minus the scale, zero, plus the scale
 */
export function writeTernaryBlock(into: Uint8Array, index: number, scale: number, trits: Uint8Array): void {
  const start = index * TERNARY_BLOCK_BYTES;
  let first = 0;
  for (const { at, bytes, digits } of TERNARY_RUNS) {
    for (let m = 0; m < bytes; m++) {
      let number = 0;
      for (let digit = 0; digit < digits; digit++) number = number * 3 + trits[first + m + digit * bytes]!;
      if (digits === 4) number *= 3;
      into[start + at + m] = Math.ceil((number * 256) / 243);
    }
    first += bytes * digits;
  }
  writeHalf(into, start + TERNARY_SCALE_OFFSET, scale);
}

/** Writes block `index` of a plane of {@link FOUR_BIT_BLOCK} whole multiples of a scale, each from -8 to 7. */
export function writeFourBitBlock(into: Uint8Array, index: number, scale: number, multiples: Int8Array): void {
  const start = index * FOUR_BIT_BLOCK_BYTES;
  writeHalf(into, start, scale);
  for (let i = 0; i < FOUR_BIT_BLOCK / 2; i++) {
    into[start + 2 + i] = (multiples[i]! + 8) | ((multiples[FOUR_BIT_BLOCK / 2 + i]! + 8) << 4);
  }
}

/**
 * Decodes a plane and adds it to `into`, a row-major `[rows, cols]`; what fills up the rows is dropped. The plain
 * reading of the drawing above, against which every kernel can be checked. O(rows · cols).
 */
export function addPlane(into: Float32Array, dtype: PlaneDType, bytes: Uint8Array, shape: MatrixShape): void {
  assert(
    bytes.length === planeBytes(dtype, shape),
    `A plane of ${bytes.length} bytes, expected ${planeBytes(dtype, shape)}`,
  );
  assert(
    into.length === shape.rows * shape.cols,
    `A matrix of ${into.length} values, expected ${shape.rows * shape.cols}`,
  );
  switch (dtype) {
    case "q1_0":
      addSigns(into, bytes, shape);
      break;
    case "tq1_0":
      addTernary(into, bytes, shape);
      break;
    case "q4_0":
      addFourBits(into, bytes, shape);
      break;
    case "f16":
      addHalves(into, bytes);
      break;
  }
}

/** Decodes one plane: row-major `[rows, cols]`. */
export function decodePlane(dtype: PlaneDType, bytes: Uint8Array, shape: MatrixShape): Float32Array {
  const values = new Float32Array(shape.rows * shape.cols);
  addPlane(values, dtype, bytes, shape);
  return values;
}

function addSigns(into: Float32Array, bytes: Uint8Array, { rows, cols }: MatrixShape): void {
  const rowBlocks = paddedCols("q1_0", cols) / SIGN_BLOCK;
  for (let row = 0; row < rows; row++) {
    for (let block = 0; block < rowBlocks; block++) {
      const start = (row * rowBlocks + block) * SIGN_BLOCK_BYTES;
      const scale = readHalf(bytes, start);
      const first = block * SIGN_BLOCK;
      const count = Math.min(SIGN_BLOCK, cols - first);
      for (let j = 0; j < count; j++) {
        const isSet = (bytes[start + 2 + (j >> 3)]! >> (j & 7)) & 1;
        into[row * cols + first + j]! += isSet ? scale : -scale;
      }
    }
  }
}

function addTernary(into: Float32Array, bytes: Uint8Array, { rows, cols }: MatrixShape): void {
  const rowBlocks = paddedCols("tq1_0", cols) / TERNARY_BLOCK;
  for (let row = 0; row < rows; row++) {
    for (let block = 0; block < rowBlocks; block++) {
      const start = (row * rowBlocks + block) * TERNARY_BLOCK_BYTES;
      const scale = readHalf(bytes, start + TERNARY_SCALE_OFFSET);
      let column = block * TERNARY_BLOCK;
      for (const run of TERNARY_RUNS) {
        for (let digit = 0; digit < run.digits; digit++) {
          const shift = 3 ** digit;
          for (let m = 0; m < run.bytes && column < cols; m++, column++) {
            const fraction = (bytes[start + run.at + m]! * shift) & 255;
            const trit = (fraction * 3) >> 8;
            into[row * cols + column]! += (trit - 1) * scale;
          }
        }
      }
    }
  }
}

function addFourBits(into: Float32Array, bytes: Uint8Array, { rows, cols }: MatrixShape): void {
  const rowBlocks = paddedCols("q4_0", cols) / FOUR_BIT_BLOCK;
  const half = FOUR_BIT_BLOCK / 2;
  for (let row = 0; row < rows; row++) {
    for (let block = 0; block < rowBlocks; block++) {
      const start = (row * rowBlocks + block) * FOUR_BIT_BLOCK_BYTES;
      const scale = readHalf(bytes, start);
      const first = block * FOUR_BIT_BLOCK;
      const count = Math.min(FOUR_BIT_BLOCK, cols - first);
      for (let j = 0; j < count; j++) {
        const pair = bytes[start + 2 + (j % half)]!;
        const multiple = (j < half ? pair & 15 : pair >> 4) - 8;
        into[row * cols + first + j]! += multiple * scale;
      }
    }
  }
}

function addHalves(into: Float32Array, bytes: Uint8Array): void {
  for (let i = 0; i < into.length; i++) into[i]! += readHalf(bytes, i * 2);
}

/** Rounds to half precision as {@link writeSignBlock} and {@link writeTernaryBlock} store a scale. */
export function roundToHalf(value: number): number {
  return f16ToNumber(numberToF16(value));
}

export function writeHalf(into: Uint8Array, offset: number, value: number): void {
  const half = numberToF16(value);
  into[offset] = half & 255;
  into[offset + 1] = half >> 8;
}

function readHalf(bytes: Uint8Array, offset: number): number {
  return f16ToNumber(bytes[offset]! | (bytes[offset + 1]! << 8));
}
