// The operations that the decoder is made of, on any device, to hold one kind of device against another.

import type { DType } from "../core/index.js";
import { Arena } from "./arena.js";
import type { Device } from "./device.js";
import { evaluate, type Input, noise, product } from "./evaluate.test.kit.js";
import type { Graph } from "./graph.js";
import { fromFloat32, toFloat32 } from "./quantize.js";
import type { Tensor } from "./tensor.js";

/** Values by what computed them. */
export type Results = Record<string, readonly number[]>;

/** A product of the base, of a pool, or a look-up, with so many rows. */
interface ProductCase {
  readonly dtype: DType;
  readonly op: "mulMat" | "mulMatId" | "getRows";
  readonly rows: number;
}

const [columns, out, slots] = [256, 32, 4];
const rowsOf = (rows: number) => noise(columns * rows, 2);
const idsOf = (rows: number, below: number) => Array.from({ length: rows }, (_, row) => (row * 37 + 1) % below);

/**
 * Over every dtype that bases and deltas have. The thorough ones include products of many rows with every dtype, which software
 * drivers take minutes to compile.
 */
export function productCases(isThorough: boolean): ProductCase[] {
  const dtypes: readonly DType[] = ["f32", "f16", "q8_0", "q4_0", "q1_0", "tq1_0", "tq2_0"];
  return dtypes.flatMap((dtype) => [
    ...(isThorough ? [1, 8, 40] : [1]).map((rows) => ({ dtype, op: "mulMat" as const, rows })),
    ...(isThorough || dtype === "q1_0" ? [1, 8, 40] : [1, 8]).map((rows) => ({ dtype, op: "mulMatId" as const, rows })),
    { dtype, op: "getRows" as const, rows: 3 },
  ]);
}

const nameOf = ({ dtype, op, rows }: ProductCase) => `${dtype} ${op} of ${rows} rows`;
const weightsOf = (dtype: DType) => fromFloat32(dtype, noise(columns * out * slots, 1), columns);

export function productsOn(device: Device, cases: readonly ProductCase[]): Results {
  const dtypes = [...new Set(cases.map(({ dtype }) => dtype))];
  using arena = new Arena(
    device,
    dtypes.map((dtype) => ({ name: dtype, dtype, shape: [columns, out, slots] })),
  );
  for (const dtype of dtypes) arena.get(dtype).write(weightsOf(dtype));
  const compute = ({ dtype, op, rows }: ProductCase) =>
    evaluate(device, (g, input) => {
      const pool = arena.get(dtype);
      if (op === "mulMatId") {
        return g.mulMatId(pool, input("f32", [columns, rows], rowsOf(rows)), input("i32", [rows], idsOf(rows, slots)));
      }
      const matrix = g.reshape(pool, [columns, out * slots]);
      if (op === "getRows") return g.getRows(matrix, input("i32", [rows], idsOf(rows, out * slots)));
      return g.mulMat(matrix, input("f32", [columns, rows], rowsOf(rows)));
    });
  return Object.fromEntries(cases.map((one) => [nameOf(one), Array.from(compute(one))]));
}

/** The same in double precision over the decoded weights. */
export function exactProducts(cases: readonly ProductCase[]): Results {
  const compute = ({ dtype, op, rows }: ProductCase): number[] => {
    const weights = toFloat32(dtype, weightsOf(dtype), columns * out * slots);
    const matrixRow = (row: number) => [...weights.subarray(row * columns, (row + 1) * columns)];
    if (op === "getRows") return idsOf(rows, out * slots).flatMap(matrixRow);
    if (op === "mulMat") return product(weights, rowsOf(rows), columns);
    return idsOf(rows, slots).flatMap((slot, row) =>
      product(
        weights.subarray(slot * columns * out, (slot + 1) * columns * out),
        rowsOf(rows).subarray(row * columns, (row + 1) * columns),
        columns,
      ),
    );
  };
  return Object.fromEntries(cases.map((one) => [nameOf(one), compute(one)]));
}

/** Everything around the products, each in the form in which the decoder uses it. */
export function othersOn(device: Device): Results {
  const [headDim, rows, heads, cells, kvHeads, sequences] = [64, 3, 4, 64, 2, 2];
  const keyDim = headDim * kvHeads;
  using cache = new Arena(device, [{ name: "k", dtype: "f16", shape: [keyDim, cells * sequences] }]);
  const keys = cache.get("k");
  keys.write(fromFloat32("f16", noise(keyDim * cells * sequences, 5), keyDim));

  const rope = { dims: headDim, base: 10_000, scale: 1, factors: undefined };
  const mask = Array.from({ length: cells * rows * sequences }, (_, at) =>
    at % cells <= 20 + (Math.floor(at / cells) % rows) ? 0 : Number.NEGATIVE_INFINITY,
  );
  const x = (input: Input, seed: number, ...shape: number[]) =>
    input(
      "f32",
      shape,
      noise(
        shape.reduce((a, b) => a * b),
        seed,
      ),
    );
  const positions = (input: Input) => input("i32", [3], [0, 7, 500]);
  const regions = (g: Graph) => {
    const strides = [keyDim * 2, headDim * 2, keyDim * 2 * cells];
    return g.view(keys, [headDim, cells, kvHeads, sequences], { strides, offset: 0 });
  };

  const builds: Record<string, (g: Graph, input: Input) => Tensor> = {
    "rmsNorm and scale": (g, input) => g.mul(g.rmsNorm(x(input, 1, 64, 5), 1e-5), x(input, 2, 64)),
    "rmsNorm of heads": (g, input) => g.mul(g.rmsNorm(x(input, 1, 64, 4, 3), 1e-5), x(input, 2, 64, 1, 3)),
    "add and addRows": (g, input) => g.addRows(g.add(x(input, 1, 64, 5), x(input, 2, 64)), x(input, 3, 64, 2), 2),
    "addRows of a window": (g, input) =>
      g.addRows(g.add(x(input, 1, 64, 5), x(input, 2, 64)), g.view(x(input, 3, 128, 2), [64, 2], { offset: 0 }), 1),
    swiglu: (g, input) => g.swiglu(x(input, 1, 64, 5), x(input, 2, 64, 5)),
    "padRows of a window": (g, input) => g.padRows(g.rows(x(input, 1, 64, 5), 1, 3), 128),
    appendRows: (g, input) => g.appendRows(x(input, 1, 64, 2), x(input, 2, 64, 3)),
    rope: (g, input) => g.rope(x(input, 1, headDim, 4, 3), positions(input), rope),
    "rope with factors": (g, input) => {
      const factors = input(
        "f32",
        [32],
        Array.from({ length: 32 }, (_, i) => 1 + i / 8),
      );
      return g.rope(x(input, 1, headDim, 4, 3), positions(input), { ...rope, factors });
    },
    "setRows into a half-float cache": (g, input) => {
      g.expand(g.setRows(keys, x(input, 9, keyDim, 2), input("i64", [2], [70, 1])));
      return g.getRows(keys, input("i32", [3], [1, 70, 2]));
    },
    "attend over regions of a half-float cache": (g, input) => {
      const queries = g.permute(x(input, 4, headDim, heads, rows, sequences), [0, 2, 1, 3]);
      return g.attend(queries, regions(g), regions(g), input("f16", [cells, rows, 1, sequences], mask), 0.125);
    },
  };
  return Object.fromEntries(Object.entries(builds).map(([name, build]) => [name, Array.from(evaluate(device, build))]));
}
