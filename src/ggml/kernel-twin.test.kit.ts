// A slow twin of the kernels in native/: the same rounding, one operation after the other.

import { f16ToNumber, numberToF16 } from "../util/index.js";
import { toFloat32 } from "./quantize.js";

const groupInputs = 32;
const blockInputs = 128;

/** Activations as 8-bit values times a whole multiplier a group, all times one scale. */
interface QuantizedRow {
  readonly scale: number;
  readonly multipliers: readonly number[];
  readonly values: readonly number[];
}

/** One row in 8 bits, as native/activations.h says. */
function quantizeRow(x: ArrayLike<number>): QuantizedRow {
  const f = Math.fround;
  const largest = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, i) => Math.abs(x[from + i] ?? 0)).reduce((a, b) => Math.max(a, b), 0);
  const most = largest(0, x.length);
  const scale = most < 1e-30 ? 0 : f(most / (127 * 127));
  if (scale === 0) return { scale, multipliers: [], values: [] };
  const multipliers: number[] = [];
  const values: number[] = [];
  for (let from = 0; from < x.length; from += groupInputs) {
    const part = Math.ceil(f(f(largest(from, from + groupInputs) * 127) / most));
    const multiplier = Math.min(127, Math.max(1, part));
    const inverse = f(1 / f(scale * multiplier));
    multipliers.push(multiplier);
    for (let i = from; i < Math.min(x.length, from + groupInputs); i++) {
      values.push(roundHalfToEven(f(f(x[i]!) * inverse)));
    }
  }
  return { scale, multipliers, values };
}

function roundHalfToEven(value: number): number {
  const rounded = Math.round(value);
  return Math.abs(value % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

/** Sums of four inputs each, for all signs that they can have, rounded to 8 bits, as native/sign-tables.h says. */
function tabulateRow(x: ArrayLike<number>): { readonly step: number; readonly quads: readonly (readonly number[])[] } {
  const f = Math.fround;
  const at = (i: number) => f(x[i] ?? 0);
  const groups = Math.ceil(x.length / groupInputs);
  const sizeOf = (quad: number) => {
    const [a, b, c, d] = [0, 1, 2, 3].map((i) => Math.abs(at(quad * 4 + i))) as [number, number, number, number];
    return f(f(a + b) + f(c + d));
  };
  const sizes = Array.from({ length: groups }, (_, group) =>
    Math.max(...Array.from({ length: 8 }, (_, quad) => sizeOf(group * 8 + quad))),
  );
  const most = Math.max(...sizes);
  const step = most < 1e-30 ? 0 : f(most / (127 * 127));
  if (step === 0) return { step, quads: [] };
  const quads = Array.from({ length: groups * 8 }, (_, quad) => {
    const part = Math.ceil(f(sizes[Math.floor(quad / 8)]! * f(127 / most)));
    const multiplier = Math.min(127, Math.max(1, part));
    const inverse = f(f(1 / step) / multiplier);
    return Array.from({ length: 16 }, (_, bits) => {
      const signed = (i: number) => ((bits >> i) & 1 ? 1 : -1) * f(at(quad * 4 + i) * inverse);
      const sum = f(f(f(signed(0) + signed(1)) + signed(2)) + signed(3));
      return multiplier * roundHalfToEven(sum);
    });
  });
  return { step, quads };
}

/**
 * The product of one row with sign planes as the kernels compute it, but for the order of the last sums.
 *
 * @param planes q1_0 rows of whole blocks, one an output
 */
export function signProduct(planes: Uint8Array, x: ArrayLike<number>): number[] {
  const blocks = Math.ceil(x.length / blockInputs);
  const blockBytes = 18;
  const { step, quads } = tabulateRow(x);
  return Array.from({ length: planes.length / blockBytes / blocks }, (_, output) => {
    let sum = 0;
    for (const [quad, sums] of quads.entries()) {
      const block = (output * blocks + Math.floor(quad / 32)) * blockBytes;
      const scale = f16ToNumber(planes[block]! | (planes[block + 1]! << 8));
      const byte = planes[block + 2 + ((quad % 32) >> 1)]!;
      sum += scale * sums[quad % 2 === 0 ? byte & 15 : byte >> 4]!;
    }
    return step * sum;
  });
}

/**
 * The same with a matrix in 8 bits.
 *
 * @param matrix q8_0 rows, one an output
 */
export function baseProduct(matrix: Uint8Array, x: ArrayLike<number>): number[] {
  const blockBytes = 34;
  return productOf(toFloat32("q8_0", matrix, (matrix.length / blockBytes) * groupInputs), x.length, x);
}

/**
 * The same with a matrix in 8 bits and sign planes merged into it, as native/merged-planes.h says.
 *
 * @param matrix q8_0 rows, one an output
 * @param planes of each plane q1_0 rows of whole blocks, one an output
 */
export function mergedProduct(matrix: Uint8Array, planes: readonly Uint8Array[], x: ArrayLike<number>): number[] {
  const f = Math.fround;
  const half = (bytes: Uint8Array, at: number) => f16ToNumber(bytes[at]! | (bytes[at + 1]! << 8));
  const groups = x.length / groupInputs;
  const blocks = Math.ceil(x.length / blockInputs);
  const merged = new Float32Array((matrix.length / 34) * groupInputs);
  for (let group = 0; group < matrix.length / 34; group++) {
    const [output, own] = [Math.floor(group / groups), group % groups];
    const block = (output * blocks + Math.floor(own / 4)) * 18;
    const scale = half(matrix, group * 34);
    const sum = planes.reduce((all, plane) => f(all + Math.abs(half(plane, block))), f(138 * scale));
    const nearest = numberToF16(f(sum / 127));
    const newScale = f16ToNumber(f16ToNumber(nearest) < f(sum / 127) ? nearest + 1 : nearest);
    const inverse = newScale > 0 ? f(1 / newScale) : 0;
    const shrink = roundHalfToEven(f(f(scale * inverse) * 32768));
    for (let i = 0; i < groupInputs; i++) {
      const weight = (matrix[group * 34 + 2 + i]! << 24) >> 24;
      let value = Math.floor((weight * 256 * shrink + 16384) / 32768);
      for (const plane of planes) {
        const step = roundHalfToEven(f(f(half(plane, block) * inverse) * 256));
        const isPlus = (plane[block + 2 + (own % 4) * 4 + (i >> 3)]! >> (i % 8)) & 1;
        value += isPlus ? step : -step;
      }
      merged[group * groupInputs + i] = newScale * Math.floor((value + 128) / 256);
    }
  }
  return productOf(merged, x.length, x);
}

/**
 * The same with factors, `up · (down · x)`.
 *
 * @param down rows of `columns` decoded weights, one a rank
 * @param up rows of decoded weights, as many as ranks or filled up, one an output
 */
export function factorProduct(
  down: { readonly weights: Float32Array; readonly columns: number },
  up: { readonly weights: Float32Array; readonly columns: number },
  x: ArrayLike<number>,
): number[] {
  const low = productOf(down.weights, down.columns, x);
  return Array.from({ length: up.weights.length / up.columns }, (_, output) =>
    low.reduce((sum, value, rank) => sum + value * up.weights[output * up.columns + rank]!, 0),
  );
}

/** @param rowLength weights of an output, of which there may be more than inputs */
function productOf(weights: Float32Array, rowLength: number, x: ArrayLike<number>): number[] {
  const { scale, multipliers, values } = quantizeRow(x);
  return Array.from({ length: weights.length / rowLength }, (_, output) => {
    let sum = 0;
    for (let i = 0; i < values.length; i++) {
      sum += weights[output * rowLength + i]! * values[i]! * multipliers[Math.floor(i / groupInputs)]!;
    }
    return scale * sum;
  });
}
