import { type DType, dtypes } from "../core/index.js";
import type { FloatDType } from "../formats/index.js";
import { fromFloat32, type Tensor, toFloat32 } from "../ggml/index.js";
import { f16ToNumber, numberToF16 } from "../util/index.js";
import type { StudentPlane } from "./student.js";

/**
 * Numbers that training moves. `offsets` start at 0 and are relative to what is trained, so that one step size suits parameters of
 * any magnitude; the values that the student computes with are those that will be stored, rounding included.
 */
export interface Trainable {
  readonly offsets: Float32Array;
  /** Of the loss by `offsets`. */
  readonly gradient: Float32Array;
  /** Has the student compute with what `offsets` now say. */
  store(): void;
}

/** Where the f16 scale lies in a block of each dtype that has one; see docs/delta-format.md. */
const scaleOffsets: Partial<Readonly<Record<DType, number>>> = { q1_0: 0, tq1_0: 52 };

/** True for planes of codes times scales, whose scales can be trained. */
export function hasScales({ dtype }: StudentPlane): boolean {
  return scaleOffsets[dtype] !== undefined;
}

/**
 * The scales of one plane. A scale is its first value times e to its offset: it keeps its sign and, where it is 0, its value.
 */
export class PlaneScales implements Trainable {
  readonly offsets: Float32Array;
  readonly gradient: Float32Array;
  /** The plane with its present scales. */
  readonly bytes: Uint8Array;
  /** The plane on the device. */
  readonly tensor: Tensor;
  readonly #first: Float32Array;
  readonly #scaleOffset: number;
  readonly #blockBytes: number;

  constructor(plane: StudentPlane, tensor: Tensor) {
    const { blockBytes } = dtypes[plane.dtype];
    const blocks = plane.bytes.length / blockBytes;
    this.tensor = tensor;
    this.bytes = plane.bytes.slice();
    this.offsets = new Float32Array(blocks);
    this.gradient = new Float32Array(blocks);
    this.#scaleOffset = scaleOffsets[plane.dtype]!;
    this.#blockBytes = blockBytes;
    this.#first = this.scales;
  }

  /** The scales as they are stored now. */
  get scales(): Float32Array {
    return Float32Array.from(this.offsets, (_, block) => {
      const at = block * this.#blockBytes + this.#scaleOffset;
      return f16ToNumber(this.bytes[at]! | (this.bytes[at + 1]! << 8));
    });
  }

  store(): void {
    for (let block = 0; block < this.offsets.length; block++) {
      const half = numberToF16(this.#first[block]! * Math.exp(this.offsets[block]!));
      const at = block * this.#blockBytes + this.#scaleOffset;
      this.bytes[at] = half & 255;
      this.bytes[at + 1] = half >> 8;
    }
    this.tensor.write(this.bytes);
  }
}

/** A norm or bias, whose offsets are in units of its root mean square. */
export class VectorValues implements Trainable {
  readonly offsets: Float32Array;
  readonly gradient: Float32Array;
  /** The vector on the device, f32. */
  readonly tensor: Tensor;
  /** Values per unit of an offset. */
  readonly unit: number;
  readonly #dtype: FloatDType;
  readonly #first: Float32Array;
  #values: Float32Array;

  /** @param dtype what the vector will be stored in */
  constructor(values: Float32Array, dtype: FloatDType, tensor: Tensor) {
    this.tensor = tensor;
    this.offsets = new Float32Array(values.length);
    this.gradient = new Float32Array(values.length);
    this.unit = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);
    this.#dtype = dtype;
    this.#first = values.slice();
    this.#values = this.#first;
  }

  /** The vector as it is now. */
  get values(): Float32Array {
    return this.#values.slice();
  }

  store(): void {
    const exact = this.#first.map((value, i) => value + this.unit * this.offsets[i]!);
    this.#values = toFloat32(this.#dtype, fromFloat32(this.#dtype, exact, exact.length), exact.length);
    this.tensor.write(this.#values);
  }
}
