import { type DType, dtypes, rowBytes } from "../core/index.js";
import { assert } from "../util/index.js";
import { type HostRange, openHostRange } from "./host-range.js";
import type { BaseFunctions, Pointer } from "./signatures.js";

/** Extents in ggml's order: the fastest dimension first, always four. */
export type Extents = readonly [number, number, number, number];

/** One to four extents, fastest first. */
export type ShapeLike = readonly number[];

export function extentsOf(shape: ShapeLike): Extents {
  assert(shape.length >= 1 && shape.length <= 4, `a tensor has one to four dimensions, got ${shape.length}`);
  const isExtent = (extent: number) => Number.isInteger(extent) && extent > 0;
  assert(shape.every(isExtent), `extents are positive whole numbers, got [${shape}]`);
  return [shape[0]!, shape[1] ?? 1, shape[2] ?? 1, shape[3] ?? 1];
}

/** Strides in bytes of a tensor without gaps. */
export function contiguousStrides(dtype: DType, [e0, e1, e2]: Extents): Extents {
  const row = rowBytes(dtype, e0);
  return [dtypes[dtype].blockBytes, row, row * e1, row * e1 * e2];
}

/**
 * A tensor of ggml: a shape and a place in some buffer. It does not own its memory; the {@link Arena} or graph that it
 * came from does, and using it after that was disposed is a mistake.
 */
export class Tensor {
  readonly name: string;
  readonly dtype: DType;
  readonly extents: Extents;
  /** Bytes between neighbours along each dimension. */
  readonly strides: Extents;
  readonly pointer: Pointer;
  readonly #base: BaseFunctions;

  constructor(
    base: BaseFunctions,
    init: { name: string; dtype: DType; extents: Extents; strides?: Extents; pointer: Pointer },
  ) {
    this.#base = base;
    this.name = init.name;
    this.dtype = init.dtype;
    this.extents = init.extents;
    this.strides = init.strides ?? contiguousStrides(init.dtype, init.extents);
    this.pointer = init.pointer;
  }

  get elements(): number {
    return this.extents.reduce((product, extent) => product * extent, 1);
  }

  /** Bytes from the first element to the end of the last one. */
  get byteLength(): number {
    return this.isContiguous
      ? rowBytes(this.dtype, this.extents[0]) * (this.elements / this.extents[0])
      : rowBytes(this.dtype, this.extents[0]) +
          [1, 2, 3].reduce((sum, d) => sum + (this.extents[d]! - 1) * this.strides[d]!, 0);
  }

  get isContiguous(): boolean {
    const packed = contiguousStrides(this.dtype, this.extents);
    return packed.every((stride, d) => this.extents[d] === 1 || stride === this.strides[d]);
  }

  /** Copies bytes in, wherever the buffer lives. */
  write(bytes: ArrayBufferView, offset = 0): void {
    this.#check("write", bytes.byteLength, offset);
    this.#base.tensorSet(this.pointer, bytes, offset, bytes.byteLength);
  }

  /** Copies bytes out, wherever the buffer lives. */
  read(into: ArrayBufferView, offset = 0): void {
    this.#check("read", into.byteLength, offset);
    this.#base.tensorGet(this.pointer, into, offset, into.byteLength);
  }

  /** Copies bytes from one place in it to another, wherever the buffer lives. */
  copyWithin(from: number, to: number, byteLength: number): void {
    const bytes = new Uint8Array(byteLength);
    this.read(bytes, from);
    this.write(bytes, to);
  }

  /** A copy of the values of an f32 tensor without gaps. */
  values(): Float32Array {
    assert(this.dtype === "f32", `${this} does not hold f32`);
    const values = new Float32Array(this.elements);
    this.read(values);
    return values;
  }

  /** A window on the tensor's bytes for direct reads from files. Only where memory is the host's: in an arena with `isHost`, and in graphs of a CPU. */
  hostBytes(offset: number, byteLength: number): Uint8Array {
    return openHostRange(this.hostRange(offset, byteLength));
  }

  /** The same, not opened yet: for another thread. */
  hostRange(offset: number, byteLength: number): HostRange {
    this.#check("map", byteLength, offset);
    const address = this.#base.getData(this.pointer);
    assert(address !== null, `tensor ${this.name} has no memory`);
    return { address: address + BigInt(offset), byteLength };
  }

  toString(): string {
    return `${this.name}: ${this.dtype}[${this.extents.join(", ")}]`;
  }

  #check(verb: string, byteLength: number, offset: number): void {
    assert(
      offset >= 0 && offset + byteLength <= this.byteLength,
      `cannot ${verb} bytes ${offset}…${offset + byteLength} of ${this}, which has ${this.byteLength}`,
    );
  }
}

/** Tensors as an array of C's pointers. */
export const pointers = (tensors: readonly Tensor[]) => BigUint64Array.from(tensors, ({ pointer }) => pointer);
