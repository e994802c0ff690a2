import {
  type Activations,
  addFactors,
  addPoolProduct,
  type BaseMatrix,
  canMultiplyTogether,
  type Graph,
  lookUpPlanes,
  multiplyInterleaved,
  multiplyMerged,
  type RowRange,
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

/** Rows of a step, side by side, of one variant whose planes are merged into the base's weights for them. */
export interface MergedRun {
  readonly rows: number;
  /** The variant's classes. */
  readonly classIds: readonly string[];
  /** The first row, how many rows, and the slot of each class: `[2 + classes]` i32. */
  readonly place: Tensor;
}

/**
 * Which variants the rows of a tensor belong to. Those of merged runs come first; runs of parts have them too, for what is no
 * linear layer, but none has some of them and others. Rows of the base come last and are in no run.
 */
export interface VariantRows {
  readonly merged: readonly MergedRun[];
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
 * variant rows through the pools of its class, which group them by slot; for merged runs, `(W + Σ Δ[slot])·x`. A step
 * of base rows alone does no more than the first product.
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
  const matrices = layers.map(({ weight }) => weight);
  const [first] = layers;
  if (layers.length > 1 && !canMultiplyTogether(matrices)) {
    return layers.flatMap((layer) => linears(g, x, [layer], pools, rows));
  }
  if (first && !first.weight.isInterleaved) {
    const y = addPlanes(g, product(g, x, first), x, first, pools, rows, 0);
    return [addBias(g, addAllFactors(g, y, x, first, pools, rows, 0), first, pools, rows)];
  }
  const outputsOf = ({ weight }: Linear) => weight.tensor.extents[1];
  const firstOutputs = layers.map((_, index) => layers.slice(0, index).reduce((sum, own) => sum + outputsOf(own), 0));
  let y = multiplyInterleaved(g, matrices, x, { firstRow: mergedRows(rows) });
  for (const [index, layer] of layers.entries()) {
    const firstOutput = firstOutputs[index]!;
    y = addPlanes(g, y, x, layer, pools, rows, firstOutput);
    y = multiplyMergedRuns(g, y, x, layer, pools, rows, { firstOutput, adds: false });
    y = addAllFactors(g, y, x, layer, pools, rows, firstOutput);
  }
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
  const sum = weight.isInterleaved
    ? multiplyInterleaved(g, [weight], x, { onto, firstRow: mergedRows(rows) })
    : g.add(onto, product(g, x, layer));
  const withPlanes = addPlanes(g, sum, x, layer, pools, rows, 0);
  const ofAllRows = multiplyMergedRuns(g, withPlanes, x, layer, pools, rows, { firstOutput: 0, adds: true });
  return addBias(g, addAllFactors(g, ofAllRows, x, layer, pools, rows, 0), layer, pools, rows);
}

/** `W·x` of one layer. */
function product(g: Graph, x: Activations, { weight }: Linear): Tensor {
  return weight.isInterleaved ? multiplyInterleaved(g, [weight], x) : g.mulMat(weight.tensor, x.values);
}

const addBias = (g: Graph, y: Tensor, { bias }: Linear, pools: DeltaPools | undefined, rows: VariantRows) =>
  bias ? g.add(y, perRow(g, bias, pools, rows)) : y;

/** The rows that sign planes are multiplied with, and perhaps some between them: not those of merged runs. */
export function tabledRows(pools: DeltaPools | undefined, rows: VariantRows): RowRange {
  const first = mergedRows(rows);
  const own = rows.runs.filter(({ classId, firstRow }) => {
    const slotClass = pools?.layout.classes.get(classId)?.slotClass;
    return firstRow >= first && slotClass?.kind === "plane" && slotClass.dtype === "q1_0";
  });
  if (own.length === 0) return { firstRow: 0, rows: 0 };
  const firstRow = Math.min(...own.map((run) => run.firstRow));
  return { firstRow, rows: Math.max(...own.map((run) => run.firstRow + run.rows)) - firstRow };
}

const mergedRows = ({ merged }: VariantRows) => merged.reduce((sum, { rows }) => sum + rows, 0);

/** What runs have to add to a layer's product, each with the slots of its rows. */
function partsOf({ part: find }: Linear, pools: DeltaPools | undefined, { runs }: VariantRows) {
  return runs.flatMap(({ classId, slots: ids, firstRow }) => {
    const part = pools && find(pools, classId);
    return part ? [{ part, ids, firstRow }] : [];
  });
}

/** y with each row's planes times x added, but to merged rows, at the outputs from `firstOutput` on. */
function addPlanes(
  g: Graph,
  y: Tensor,
  x: Activations,
  layer: Linear,
  pools: DeltaPools | undefined,
  rows: VariantRows,
  firstOutput: number,
): Tensor {
  let sum = y;
  const first = mergedRows(rows);
  for (const { part, ids, firstRow } of partsOf(layer, pools, rows)) {
    if (part.kind === "plane" && firstRow >= first)
      sum = addPoolProduct(g, sum, { pool: part.plane, x, ids, firstRow, firstOutput });
  }
  return sum;
}

/** y with each row's factors times x added, at the outputs from `firstOutput` on. */
function addAllFactors(
  g: Graph,
  y: Tensor,
  x: Activations,
  layer: Linear,
  pools: DeltaPools | undefined,
  rows: VariantRows,
  firstOutput: number,
): Tensor {
  let sum = y;
  for (const { part, ids, firstRow } of partsOf(layer, pools, rows)) {
    if (part.kind !== "factors") continue;
    const { down, up } = part;
    assert(down, "factors are multiplied with that only rows are taken from");
    sum = addFactors(g, sum, { down, up, x, ids, firstRow, firstOutput });
  }
  return sum;
}

/** y with `(W + Σ Δ[slot])·x` in the rows of merged runs, or added to them. */
function multiplyMergedRuns(
  g: Graph,
  y: Tensor,
  x: Activations,
  { weight: matrix, part }: Linear,
  pools: DeltaPools | undefined,
  { merged }: VariantRows,
  place: { readonly firstOutput: number; readonly adds: boolean },
): Tensor {
  return merged.reduce((sum, { classIds, place: run }) => {
    const planes = new Map<number, Tensor>();
    for (const [index, classId] of classIds.entries()) {
      const own = pools && part(pools, classId);
      if (own && own.kind === "plane") planes.set(index, own.plane);
    }
    return multiplyMerged(g, sum, { matrix, planes, x, run, ...place });
  }, y);
}

/**
 * Rows of an embedding's difference.
 *
 * @param places of each row: `slot * vocabulary + token` `[rows]` i32
 * @returns `[in, rows]`
 */
export function partRows(g: Graph, part: Part, run: PartRun, places: Tensor, hiddenSize: number): Tensor {
  if (part.kind === "plane") return lookUpPlanes(g, part.plane, places, hiddenSize);
  assert(part.turned, "rows are taken from factors that are not an embedding's");
  const [rank, vocabulary, slots] = part.up.extents;
  return g.mulMatId(part.turned, g.getRows(g.reshape(part.up, [rank, vocabulary * slots]), places), run.slots);
}

/** A vector as the rows see it: the base's own, or each row's by its variant. → `[n]` or `[n, rows]` */
export function perRow(g: Graph, vector: Vector, pools: DeltaPools | undefined, rows: VariantRows): Tensor {
  return rows.vectorRows && pools ? g.getRows(pools.vector(vector.name), rows.vectorRows) : vector.base;
}
