// The reference of an exact layer, bit by bit the same on every machine. The values stored for a vector; the base's tensor as it
// is, where there are no planes and the fine-tune has the base's dtype. Otherwise, element by element:
//
//   x  = the base's value as f32
//   x  = f32(x + plane 1), f32(x + plane 2), …       each sum rounded to nearest, ties to even
//   the reference = x in the fine-tune's dtype       rounded to nearest, ties to even; beyond its range, infinity;
//                                                    NaN is 0x7fc00000, 0x7fc0 or 0x7e00, whichever NaN it was

import type { FloatDType, MatrixShape } from "../formats/index.js";
import { assert, f16ToNumber, numberToF16 } from "../util/index.js";
import type { Plane } from "./codec.js";
import { bytesOf, type FloatBits, floatBits } from "./float-bits.js";
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

/** What is restored of a tensor without an exact layer, but for its extra rows. */
export function referenceOf({ dtype, baseDType, base, planes, shape }: ReferenceParts): FloatBits {
  if (planes.length === 0 && dtype === baseDType) return floatBits(dtype, base);
  const values = widen(baseDType, base);
  for (const plane of planes) addPlane(values, plane.dtype, plane.bytes, shape);
  return roundTo(dtype, values);
}

/**
 * Stored floats as numbers, in the same memory where they are f32. ggml has this too, but this runs in threads that may be ended at
 * any time, and the native library does not survive that while it is loaded.
 */
function widen(dtype: FloatDType, bytes: Uint8Array): Float32Array {
  const bits = floatBits(dtype, bytes);
  if (dtype === "f32") return new Float32Array(bits.buffer, bits.byteOffset, bits.length);
  const values = new Float32Array(bits.length);
  if (dtype === "f16") {
    for (let i = 0; i < values.length; i++) values[i] = f16ToNumber(bits[i]! & 0xffff);
  } else {
    const wide = new Int32Array(values.buffer);
    for (let i = 0; i < wide.length; i++) wide[i] = bits[i]! << 16;
  }
  return values;
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
