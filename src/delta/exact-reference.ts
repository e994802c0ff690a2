// The reference of an exact layer, bit by bit the same on every machine: the values stored for a vector, the base's tensor for a matrix,
// as they are where the fine-tune has their dtype. Planes in q1_0 and tq1_0 are hints beside it: they say in which of a few ranges a change
// lies, and little of where in there. Planes in q4_0 and f16 say nearly all, and are added too. Element by element:
//
//   x    = the base's value as f32
//   hint = f32(plane 1 + plane 2), f32(hint + plane 3), …
//   x    = f32(x + hint)                              only of q4_0 and f16
//   the reference = x in the fine-tune's dtype
//
// all rounded to nearest, ties to even; beyond a dtype's range, infinity; NaN is 0x7fc00000, 0x7fc0 or 0x7e00, whichever NaN it was.
// Factors are left out: in which order the sums of their products are rounded depends on the machine.

import type { FloatDType, MatrixShape } from "../formats/index.js";
import { assert, numberToF16 } from "../util/index.js";
import type { Plane } from "./codec.js";
import { bytesOf, type FloatBits, floatBits, numbersOf } from "./float-bits.js";
import { addPlane } from "./planes.js";

/** What a reference is made from. */
export interface ReferenceParts {
  /** The fine-tune's, and so the reference's. */
  readonly dtype: FloatDType;
  readonly baseDType: FloatDType;
  /** The base's tensor as stored, or the values that stand in its place. Its memory is used up. */
  readonly base: Uint8Array;
  /** Resident bytes of each, the coarsest first. */
  readonly planes: readonly Plane[];
  /** Of the base's tensor; a vector is one row. */
  readonly shape: MatrixShape;
}

/** What a tensor is coded against. */
export interface Reference {
  readonly elements: FloatBits;
  /** For each element the sum of its planes; null where there are none. */
  readonly hints: Float32Array | null;
}

/**
 * Makes the reference that the drawing above describes. Without ggml, which could do parts of it: this runs in threads that may be ended
 * at any time, and the native library does not survive that while it is loaded.
 */
export function referenceOf({ dtype, baseDType, base, planes, shape }: ReferenceParts): Reference {
  if (planes.length === 0) return { elements: convert(dtype, baseDType, base), hints: null };
  const hints = new Float32Array(shape.rows * shape.cols);
  for (const plane of planes) addPlane(hints, plane.dtype, plane.bytes, shape);
  if (!planes.some((plane) => plane.dtype === "q4_0" || plane.dtype === "f16")) {
    return { elements: convert(dtype, baseDType, base), hints };
  }
  const values = numbersOf(baseDType, floatBits(baseDType, base));
  for (let i = 0; i < values.length; i++) values[i]! += hints[i]!;
  return { elements: roundTo(dtype, values), hints };
}

function convert(to: FloatDType, from: FloatDType, bytes: Uint8Array): FloatBits {
  return to === from ? floatBits(from, bytes) : roundTo(to, numbersOf(from, floatBits(from, bytes)));
}

/** Numbers as the bits of a dtype, as the drawing above says. The memory of `values` is used up. */
export function roundTo(dtype: FloatDType, values: Float32Array): FloatBits {
  const bits = new Int32Array(values.buffer, values.byteOffset, values.length);
  if (dtype === "f32") {
    for (let i = 0; i < bits.length; i++) if ((bits[i]! & 0x7fffffff) > 0x7f800000) bits[i] = 0x7fc00000;
    return bits;
  }
  const halves = new Int16Array(bits.length);
  if (dtype === "f16") {
    for (let i = 0; i < halves.length; i++) halves[i] = Number.isNaN(values[i]) ? 0x7e00 : numberToF16(values[i]!);
    return halves;
  }
  for (let i = 0; i < halves.length; i++) {
    const x = bits[i]!;
    halves[i] = (x & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : (x + 0x7fff + ((x >>> 16) & 1)) >> 16;
  }
  return halves;
}

/** Numbers as stored bytes of a dtype. The memory of `values` is used up. */
export function storeAs(dtype: FloatDType, values: Float32Array): Uint8Array {
  return bytesOf(roundTo(dtype, values));
}

/** Narrows a dtype to those that have references. */
export function isFloatDType(dtype: string): dtype is FloatDType {
  return dtype === "f32" || dtype === "f16" || dtype === "bf16";
}

/** Rows and columns as {@link ReferenceParts} has them. */
export function asMatrix(shape: readonly number[]): MatrixShape {
  assert(shape.length === 1 || shape.length === 2, `[${shape.join(", ")}] is neither a vector nor a matrix`);
  return shape.length === 2 ? { rows: shape[0]!, cols: shape[1]! } : { rows: 1, cols: shape[0]! };
}
