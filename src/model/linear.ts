import { addPoolProduct, type Graph, type Tensor } from "../ggml/index.js";
import { assert } from "../util/index.js";
import type { DeltaPools, Part } from "./delta-pools.js";

/** Rows of a step, side by side, whose variants all have parts of one class to add. */
export interface PartRun {
  readonly classId: string;
  readonly firstRow: number;
  readonly rows: number;
  /** The slot of each row's variant: `[rows]` i32. */
  readonly slots: Tensor;
}

/** Which variants the rows of a tensor belong to. Rows of the base come last and are in no run. */
export interface VariantRows {
  readonly runs: readonly PartRun[];
  /** Each row's row in the vector pools, 0 for the base: `[rows]` i32. Undefined when all rows are the base's. */
  readonly vectorRows: Tensor | undefined;
}

/** The parameters of one linear layer on the device. */
export interface Linear {
  /** What there is of a class to add to the product, if anything; see {@link DeltaPools.part}. */
  readonly part: (pools: DeltaPools, classId: string) => Part | undefined;
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
 * Where variants meet the base: `y = W·x + Σ Δ[slot]·x`, W once for all rows, then each run of variant rows through the pools of
 * its class, which group them by slot. A step of base rows alone does no more than the first product.
 *
 * @param x `[in, rows]` → `[out, rows]`
 */
export function linear(g: Graph, x: Tensor, layer: Linear, pools: DeltaPools | undefined, rows: VariantRows): Tensor {
  let y = g.mulMat(layer.weight, x);
  for (const run of rows.runs) {
    const part = pools && layer.part(pools, run.classId);
    if (!part) continue;
    y = addPartProduct(g, y, part, g.rows(x, run.firstRow, run.rows), run);
  }
  return layer.bias ? g.add(y, perRow(g, layer.bias, pools, rows)) : y;
}

/** y with `Δ[slot]·x` added to the run's rows: x `[in, run.rows]` → `[out, rows]` */
function addPartProduct(g: Graph, y: Tensor, part: Part, x: Tensor, { slots: ids, firstRow }: PartRun): Tensor {
  if (part.kind === "plane") return addPoolProduct(g, y, { pool: part.plane, x, ids, firstRow });
  assert(part.down, "factors are multiplied with that only rows are taken from");
  const low = g.mulMatId(part.down, g.padRows(x, part.down.extents[0]), ids);
  return addPoolProduct(g, y, { pool: part.up, x: low, ids, firstRow });
}

/**
 * Rows of an embedding's difference.
 *
 * @param places of each row: `slot * vocabulary + token` `[rows]` i32
 * @returns `[in, rows]`
 */
export function partRows(g: Graph, part: Part, run: PartRun, places: Tensor, hiddenSize: number): Tensor {
  const look = (pool: Tensor) => {
    const [cols, vocabulary, slots] = pool.extents;
    return g.getRows(g.reshape(pool, [cols, vocabulary * slots]), places);
  };
  if (part.kind === "plane") {
    const wide = look(part.plane); // [in in whole blocks, rows]
    return wide.extents[0] === hiddenSize ? wide : g.view(wide, [hiddenSize, run.rows], { offset: 0 });
  }
  assert(part.turned, "rows are taken from factors that are not an embedding's");
  return g.mulMatId(part.turned, look(part.up), run.slots);
}

/** A vector as the rows see it: the base's own, or each row's by its variant. → `[n]` or `[n, rows]` */
export function perRow(g: Graph, vector: Vector, pools: DeltaPools | undefined, rows: VariantRows): Tensor {
  return rows.vectorRows && pools ? g.getRows(pools.vector(vector.name), rows.vectorRows) : vector.base;
}
