import {
  type Activations,
  addPoolProduct,
  addProduct,
  type BaseMatrix,
  type Graph,
  multiplyInterleaved,
  type Tensor,
} from "../ggml/index.js";
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
  readonly weight: BaseMatrix;
  /** `[out]` */
  readonly bias: Vector | undefined;
}

/** A norm's scale or a bias: one of the base, and one a variant in the pool of the same name. */
export interface Vector {
  readonly name: string;
  readonly base: Tensor;
}

/**
 * Where variants meet the base: `y = W·x + Σ Δ[slot]·x` of layers that take the same input, W once for all rows, then each run of
 * variant rows through the pools of its class, which group them by slot. A step of base rows alone does no more than the first product.
 * Where kernels multiply, the layers are one product, and what they return may have gaps between its rows.
 *
 * @param x `[in, rows]` → of each layer `[out, rows]`
 */
export function linears(
  g: Graph,
  x: Activations,
  layers: readonly Linear[],
  pools: DeltaPools | undefined,
  rows: VariantRows,
): Tensor[] {
  if (!layers.every(({ weight }) => weight.isInterleaved)) {
    return layers.map((layer) =>
      addBias(g, addParts(g, product(g, x, layer), x, layer, pools, rows, 0), layer, pools, rows),
    );
  }
  const outputsOf = ({ weight }: Linear) => weight.tensor.extents[1];
  const firstOutputs = layers.map((_, index) => layers.slice(0, index).reduce((sum, own) => sum + outputsOf(own), 0));
  let y = multiplyInterleaved(
    g,
    layers.map(({ weight }) => weight),
    x,
  );
  for (const [index, layer] of layers.entries()) y = addParts(g, y, x, layer, pools, rows, firstOutputs[index]!);
  return layers.map((layer, index) =>
    addBias(g, g.columns(y, firstOutputs[index]!, outputsOf(layer)), layer, pools, rows),
  );
}

/**
 * `onto + W·x + Σ Δ[slot]·x`, perhaps in place: nothing may take `onto` that is computed later.
 *
 * @param x `[in, rows]`, onto `[out, rows]` → `[out, rows]`
 */
export function addLinear(
  g: Graph,
  onto: Tensor,
  x: Activations,
  layer: Linear,
  pools: DeltaPools | undefined,
  rows: VariantRows,
): Tensor {
  const { weight } = layer;
  const sum = weight.isInterleaved ? multiplyInterleaved(g, [weight], x, onto) : g.add(onto, product(g, x, layer));
  return addBias(g, addParts(g, sum, x, layer, pools, rows, 0), layer, pools, rows);
}

/** `W·x` of one layer. */
function product(g: Graph, x: Activations, { weight }: Linear): Tensor {
  return weight.isInterleaved ? multiplyInterleaved(g, [weight], x) : g.mulMat(weight.tensor, x.values);
}

const addBias = (g: Graph, y: Tensor, { bias }: Linear, pools: DeltaPools | undefined, rows: VariantRows) =>
  bias ? g.add(y, perRow(g, bias, pools, rows)) : y;

/** y with `Σ Δ[slot]·x` added to the rows of each run, at the outputs from `firstOutput` on. */
function addParts(
  g: Graph,
  y: Tensor,
  x: Activations,
  layer: Linear,
  pools: DeltaPools | undefined,
  rows: VariantRows,
  firstOutput: number,
): Tensor {
  let sum = y;
  for (const run of rows.runs) {
    const part = pools && layer.part(pools, run.classId);
    if (!part) continue;
    const { slots: ids, firstRow } = run;
    if (part.kind === "plane") {
      sum = addPoolProduct(g, sum, { pool: part.plane, x, ids, firstRow, firstOutput });
      continue;
    }
    assert(part.down, "factors are multiplied with that only rows are taken from");
    const own = g.padRows(g.rows(x.values, firstRow, run.rows), part.down.extents[0]);
    const low = g.mulMatId(part.down, own, ids);
    sum = addProduct(g, sum, g.mulMatId(part.up, g.padRows(low, part.up.extents[0]), ids), firstRow, firstOutput);
  }
  return sum;
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
