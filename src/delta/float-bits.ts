// The bits of a float as a signed number, and a number that grows with the float: the key.
//
//   sign │ exponent, 8 in bf16 and f32, 5 in f16 │ fraction
//
// A positive float's key is its bits; a negative one's has all but the sign inverted. Keys of neighbouring floats differ by
// 1; -0 and +0 have keys of their own, as have infinities and every NaN, so a key says all the bits. Where the low bits of
// all floats are 0, keys are of the bits above these.

import type { FloatDType } from "../formats/index.js";
import { assert } from "../util/index.js";

/** A tensor's elements as bits, whatever they stand for; signed, so that the sign is the float's. */
export type FloatBits = Int16Array | Int32Array;

/** Values of a sign and an exponent together: the upper nine bits, though f16 has fewer in its exponent. */
const UPPER_VALUES = 512;

/** Bits of an exponent. */
const exponentBits: Readonly<Record<FloatDType, number>> = { f32: 8, bf16: 8, f16: 5 };

/** The exponent that the lowest nine bits of `upper`, a float's upper nine, say. */
export function exponentOf(dtype: FloatDType, upper: number): number {
  return (upper & 255) >> (8 - exponentBits[dtype]);
}

/** Stored bytes as elements in the same memory, or in a copy where they do not lie as an array needs it. */
export function floatBits(dtype: FloatDType, bytes: Uint8Array): FloatBits {
  const elementBytes = dtype === "f32" ? 4 : 2;
  assert(bytes.length % elementBytes === 0, `${bytes.length} bytes are not elements of ${dtype}`);
  const { buffer, byteOffset, length } = bytes.byteOffset % elementBytes === 0 ? bytes : new Uint8Array(bytes);
  return dtype === "f32"
    ? new Int32Array(buffer, byteOffset, length / 4)
    : new Int16Array(buffer, byteOffset, length / 2);
}

/** The memory of elements as bytes. */
export function bytesOf({ buffer, byteOffset, byteLength }: FloatBits): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** From each exponent's context, the context of each value of the upper nine bits. */
export function contextsByUpper(dtype: FloatDType, contextOf: Uint8Array): Uint8Array {
  return Uint8Array.from({ length: UPPER_VALUES }, (_, upper) => contextOf[exponentOf(dtype, upper)]!);
}

/** Looks up the upper nine bits of every element in a table, such as {@link contextsByUpper} makes. */
export function lookUpUpper(elements: FloatBits, table: Uint8Array, into: Uint8Array): void {
  // Shifts by a constant take a third of the time, and two halves in a word one load.
  if (elements instanceof Int32Array) {
    for (let i = 0; i < elements.length; i++) into[i] = table[elements[i]! >>> 23]!;
    return;
  }
  const pairs = elements.byteOffset % 4 === 0 ? elements.length >> 1 : 0;
  const words = pairs > 0 ? new Int32Array(elements.buffer, elements.byteOffset, pairs) : new Int32Array(0);
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    into[2 * i] = table[(word >>> 7) & 511]!;
    into[2 * i + 1] = table[word >>> 23]!;
  }
  for (let i = 2 * pairs; i < elements.length; i++) into[i] = table[(elements[i]! >>> 7) & 511]!;
}

/** The bits that are not the sign. */
export function magnitudeMaskOf(elements: FloatBits): number {
  return elements instanceof Int32Array ? 0x7fffffff : 0x7fff;
}

/** The key of a float's bits without the low `droppedBits`. */
export function keyOf(bits: number, magnitudeMask: number, droppedBits: number): number {
  return (bits ^ ((bits >> 31) & magnitudeMask)) >> droppedBits;
}
