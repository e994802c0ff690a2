// Small graphs for tests: numbers in, numbers out.

import assert from "node:assert/strict";
import type { DType } from "../core/index.js";
import { numberToF16, uniformAt } from "../util/index.js";
import { computeOnce } from "./compute-once.js";
import type { Device } from "./device.js";
import type { Graph } from "./graph.js";
import { GraphMemory } from "./graph-memory.js";
import { fromFloat32 } from "./quantize.js";
import type { ShapeLike, Tensor } from "./tensor.js";

/** Makes an input of the graph under test; its values are written before the graph runs. */
export type Input = (dtype: DType, shape: ShapeLike, values: ArrayLike<number>) => Tensor;

/** Builds a graph whose result is an f32 tensor without gaps, runs it once, and returns the result's values. */
export function evaluate(device: Device, build: (graph: Graph, input: Input) => Tensor): Float32Array {
  using memory = new GraphMemory(device);
  return computeOnce({ device, memory }, (graph, bind) =>
    build(graph, (dtype, shape, values) => bind(dtype, shape, encode(dtype, values, shape[0]!))),
  );
}

/** Numbers as the bytes of a dtype. */
export function encode(dtype: DType, values: ArrayLike<number>, rowLength: number): ArrayBufferView {
  if (dtype === "i32") return Int32Array.from(values);
  if (dtype === "i64") return BigInt64Array.from(Array.from(values, BigInt));
  if (dtype === "f16") return Uint16Array.from(values, numberToF16); // keeps infinities, which masks are made of
  return fromFloat32(dtype, Float32Array.from(values), rowLength);
}

/** Numbers in [-1, 1) that depend on the seed alone. */
export function noise(count: number, seed: number): Float32Array {
  return Float32Array.from({ length: count }, (_, at) => 2 * uniformAt(seed, at) - 1);
}

/** Equal up to rounding: each difference is at most `tolerance` times the largest expected magnitude. */
export function assertClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance = 1e-6): void {
  assert.equal(actual.length, expected.length);
  const scale = Array.from(expected).reduce((max, value) => Math.max(max, Math.abs(value)), 0);
  for (let at = 0; at < expected.length; at++) {
    const difference = Math.abs(actual[at]! - expected[at]!);
    assert.ok(difference <= tolerance * scale, `element ${at} is ${actual[at]}, expected ${expected[at]}`);
  }
}

/** `W · x` in double precision: W `[in, out]`, x `[in, rows]`, both as ggml lays them out. → `[out, rows]` */
export function product(w: ArrayLike<number>, x: ArrayLike<number>, columns: number): number[] {
  const [out, rows] = [w.length / columns, x.length / columns];
  const dot = (row: number, o: number) => {
    let sum = 0;
    for (let i = 0; i < columns; i++) sum += w[o * columns + i]! * x[row * columns + i]!;
    return sum;
  };
  return Array.from({ length: rows * out }, (_, at) => dot(Math.floor(at / out), at % out));
}
