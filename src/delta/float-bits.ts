// The bits of a float as a signed number, and a number that grows with the float: the key.
//
//   sign │ exponent, 8 in bf16 and f32, 5 in f16 │ fraction
//
// A positive float's key is its bits; a negative one's has all but the sign inverted. Keys of neighbouring floats differ by
// 1; -0 and +0 have keys of their own, as have infinities and every NaN, so a key says all the bits. The difference of one float
// from another is that of their keys, counted away from zero: while the sign stays, it is that of their bits.
//
// Where the low bits of all floats are 0, keys are of the bits above these.

import type { FloatDType } from "../formats/index.js";
import { assert, f16ToNumber } from "../util/index.js";

/** A tensor's elements as bits, whatever they stand for; signed, so that the sign is the float's. */
export type FloatBits = Int16Array | Int32Array;

/** Values of a float's upper nine bits: a sign and an exponent, and what of the fraction f16 has there. */
export const UPPER_VALUES = 512;

/** Bits of an exponent. */
const exponentBits: Readonly<Record<FloatDType, number>> = { f32: 8, bf16: 8, f16: 5 };

/** The exponent that the upper nine bits of a float say; 1 for subnormals, whose steps are the same. */
export function exponentOf(dtype: FloatDType, upper: number): number {
  return Math.max(1, (upper & 255) >> (8 - exponentBits[dtype]));
}

/** How far right a float's upper nine bits are shifted, of which the lowest then are {@link UPPER_VALUES}. */
export function upperShiftOf(elements: FloatBits): number {
  return elements instanceof Int32Array ? 23 : 7;
}

/** Stored bytes as elements in the same memory, or in a copy where they do not lie as an array of words needs it. */
export function floatBits(dtype: FloatDType, bytes: Uint8Array): FloatBits {
  const elementBytes = dtype === "f32" ? 4 : 2;
  assert(bytes.length % elementBytes === 0, `${bytes.length} bytes are not elements of ${dtype}`);
  const { buffer, byteOffset, length } = bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes);
  return dtype === "f32"
    ? new Int32Array(buffer, byteOffset, length / 4)
    : new Int16Array(buffer, byteOffset, length / 2);
}

/** The memory of elements as bytes. */
export function bytesOf({ buffer, byteOffset, byteLength }: FloatBits): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** The numbers that elements stand for. */
export function numbersOf(dtype: FloatDType, elements: FloatBits): Float32Array {
  if (dtype === "f16") return Float32Array.from(elements, (bits) => f16ToNumber(bits & 0xffff));
  const wide = new Int32Array(elements.length);
  const shift = dtype === "bf16" ? 16 : 0;
  for (let i = 0; i < wide.length; i++) wide[i] = elements[i]! << shift;
  return new Float32Array(wide.buffer);
}

/** The bits that are not the sign. */
export function magnitudeMaskOf(elements: FloatBits): number {
  return elements instanceof Int32Array ? 0x7fffffff : 0x7fff;
}

/** How far `to` lies from `from`, both bits of floats, without the low `droppedBits`. Of f32, modulo 2^32: the nearer way round. */
export function differenceOf(from: number, to: number, magnitudeMask: number, droppedBits: number): number {
  const sign = from >> 31;
  const difference = keyOf(to, magnitudeMask, droppedBits) - keyOf(from, magnitudeMask, droppedBits);
  return ((difference ^ sign) - sign) | 0;
}

/** The float that lies so far from `from`: what {@link differenceOf} was given. */
export function stepFrom(from: number, difference: number, magnitudeMask: number, droppedBits: number): number {
  const stepped = (from + (difference << droppedBits)) | 0;
  if (((stepped ^ from) & ~magnitudeMask) === 0) return stepped;
  const sign = from >> 31;
  const distance = (difference ^ sign) - sign;
  // At the top of the word, so that it wraps as a difference did.
  const raised = (keyOf(from, magnitudeMask, droppedBits) << droppedBits) + (distance << droppedBits);
  const key = (raised | 0) >> droppedBits;
  return (key ^ ((key >> 31) & (magnitudeMask >>> droppedBits))) << droppedBits;
}

/** The key of a float's bits without the low `droppedBits`. */
function keyOf(bits: number, magnitudeMask: number, droppedBits: number): number {
  return (bits ^ ((bits >> 31) & magnitudeMask)) >> droppedBits;
}
