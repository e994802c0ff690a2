import { dtypes } from "../core/index.js";
import type { Device } from "./device.js";
import { type Graph, GraphError } from "./graph.js";
import type { Tensor } from "./tensor.js";

/** Queries, and the cells of a cache that they attend to. */
export interface RowAttention {
  /** `[headDim, heads, rows]` f32. Rows of one sequence side by side, in order, are taken together. */
  readonly q: Tensor;
  /** `[headDim, kvHeads, cells]` f32, f16 or q8_0: a sequence's cells lie side by side. */
  readonly keys: Tensor;
  /** As keys. */
  readonly values: Tensor;
  /** Each row's position in its sequence: `[rows]` i32. */
  readonly positions: Tensor;
  /** Each row's own cell, which is written already, as those of all positions before it are: `[rows]` i64. */
  readonly cells: Tensor;
  /** How many cells a row looks back at, its own included; all without it. */
  readonly window: number | undefined;
}

/** The largest head that the kernels have room for: `head_max` in native/attention.h. */
const headDimMax = 256;
/** GGML_N_TASKS_MAX: as many threads as the device has. */
const allThreads = -1;

/** Whether {@link attendByRow} can be built on a device: whether it has kernels, and they have room for a head. */
export function attendsByRow({ kernels }: Pick<Device, "kernels">, headDim: number): boolean {
  return kernels !== undefined && headDim <= headDimMax;
}

/**
 * Softmax attention, scaled by 1/√headDim, in which each row looks at just the cells that its sequence has up to it: no masks, and sequences of any
 * lengths in one operation, whose graph depends on none of them. → `[headDim * heads, rows]`
 */
export function attendByRow(g: Graph, { q, keys, values, positions, cells, window = 0 }: RowAttention): Tensor {
  const [headDim, heads, rows] = q.extents;
  const { kernels } = g;
  const require = (condition: boolean, problem: string) => {
    if (!condition) throw new GraphError("attendByRow", problem, [q, keys, values, positions, cells]);
  };
  if (!kernels || headDim > headDimMax) {
    throw new GraphError("attendByRow", `there are no kernels for heads of ${headDim}`, [q]);
  }
  require(q.dtype === "f32" && q.strides[0] === 4 && q.extents[3] === 1, "queries must be three-dimensional f32");
  require(["f32", "f16", "q8_0"].includes(keys.dtype) &&
    keys.dtype === values.dtype, "keys and values must be f32, f16 or q8_0");
  require(String(keys.extents) === String(values.extents) &&
    keys.extents[0] === headDim &&
    heads % keys.extents[1] === 0, "heads differ");
  require(positions.dtype === "i32" && positions.elements === rows, "one i32 position a row");
  require(cells.dtype === "i64" && cells.elements === rows, "one i64 cell a row");

  const operands = BigUint64Array.from([q, keys, values, positions, cells], ({ pointer }) => pointer);
  const extents = [headDim * heads, rows, 1, 1] as const;
  return g.operation("attendByRow", [q, keys, values, positions, cells], extents, (base, c) =>
    base.custom(c, dtypes.f32.id, ...extents, operands, operands.length, kernels.attend, allThreads, BigInt(window)),
  );
}
