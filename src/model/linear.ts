import type { DType } from "../core/index.js";
import type { Graph, Tensor } from "../ggml/index.js";
import type { DeltaPools } from "./delta-pools.js";

/** Rows of a step, side by side, that each have a plane of `dtype` to add. */
export interface PlaneRun {
  readonly dtype: DType;
  readonly firstRow: number;
  readonly rows: number;
  /** The slot of each row's plane: `[rows]` i32. */
  readonly slots: Tensor;
}

/** Which variants the rows of a tensor belong to. Rows of the base come last and are in no run. */
export interface VariantRows {
  readonly runs: readonly PlaneRun[];
  /** Each row's row in the vector pools, 0 for the base: `[rows]` i32. Undefined when all rows are the base's. */
  readonly vectorRows: Tensor | undefined;
}

/** The parameters of one linear layer on the device. */
export interface Linear {
  /** Hugging Face's name of the weight, by which its pools are found. */
  readonly name: string;
  /** `[in, out]` */
  readonly weight: Tensor;
  /** `[out]` */
  readonly bias: Vector | undefined;
}

/** A norm's scale or a bias: one of the base, and one a variant in the pool of the same name. */
export interface Vector {
  readonly name: string;
  readonly base: Tensor;
}

/**
 * Where variants meet the base: `y = W·x + Σ Δ[slot]·x`, W once for all rows, then each run of variant rows through the pool of
 * its planes, which groups them by slot. A step of base rows alone does no more than the first product.
 *
 * @param x `[in, rows]` → `[out, rows]`
 */
export function linear(g: Graph, x: Tensor, layer: Linear, pools: DeltaPools | undefined, rows: VariantRows): Tensor {
  let y = g.mulMat(layer.weight, x);
  for (const run of rows.runs) {
    const pool = pools?.matrix(layer.name, run.dtype);
    if (!pool) continue;
    const input = g.padRows(g.rows(x, run.firstRow, run.rows), pool.extents[0]);
    const product = g.mulMatId(pool, input, run.slots);
    y = run.rows === y.extents[1] ? g.add(y, product) : g.addRows(y, product, run.firstRow);
  }
  return layer.bias ? g.add(y, perRow(g, layer.bias, pools, rows)) : y;
}

/** A vector as the rows see it: the base's own, or each row's by its variant. → `[n]` or `[n, rows]` */
export function perRow(g: Graph, vector: Vector, pools: DeltaPools | undefined, rows: VariantRows): Tensor {
  return rows.vectorRows && pools ? g.getRows(pools.vector(vector.name), rows.vectorRows) : vector.base;
}
