import { type DType, dtypes } from "../core/index.js";
import { alignUp } from "../util/index.js";
import { type Activations, allThreads } from "./activations.js";
import { stripOutputs } from "./base-matrix.js";
import { type Graph, GraphError } from "./graph.js";
import type { Kernels } from "./kernels.js";
import { pointers, type Tensor } from "./tensor.js";

/** Rows of activations, each of which is multiplied with a matrix of its own out of a pool. */
export interface PoolProduct {
  /** `[in, out, slots]`; rows of matrices are filled up to whole blocks, with zeros. In strips where {@link fitsStrips} says so. */
  readonly pool: Tensor;
  /** The input of all rows of y, not filled up; those that are multiplied with strips have tables. */
  readonly x: Activations;
  /** The slot of each row that is multiplied: `[rows]` i32. */
  readonly ids: Tensor;
  /** The first of these rows. */
  readonly firstRow: number;
  /** The place of the first output in a row of y. */
  readonly firstOutput: number;
}

/** What kernels multiply with. */
const signDType = "q1_0";

/**
 * Whether planes of this form can lie in strips (native/sign-planes.h). They do on devices with kernels, which multiply them then; otherwise
 * they lie in rows, as ggml has them.
 */
export function fitsStrips(dtype: DType, outputs: number): boolean {
  return dtype === signDType && outputs % stripOutputs === 0;
}

/**
 * y with the products added to its rows, perhaps in place: y `[out or more, rows or more]` f32. Planes in
 * strips go through the device's own kernels, everything else through ggml's operations.
 */
export function addPoolProduct(g: Graph, y: Tensor, product: PoolProduct): Tensor {
  const { pool, x, ids, firstRow, firstOutput } = product;
  if (g.kernels && fitsStrips(pool.dtype, pool.extents[1])) return addSignPlanes(g, g.kernels, y, product);
  const own = g.mulMatId(pool, g.padRows(g.rows(x.values, firstRow, ids.extents[0]), pool.extents[0]), ids);
  return addProduct(g, y, own, firstRow, firstOutput);
}

/** y with a product of some of its rows and outputs added, perhaps in place. */
export function addProduct(g: Graph, y: Tensor, product: Tensor, firstRow: number, firstOutput: number): Tensor {
  const isWhole = String(product.extents) === String(y.extents);
  return isWhole ? g.add(y, product) : g.addRows(y, product, firstRow, firstOutput);
}

function addSignPlanes(g: Graph, kernels: Kernels, y: Tensor, product: PoolProduct): Tensor {
  const { pool, x, ids, firstRow, firstOutput } = product;
  const [padded, out] = pool.extents;
  const rows = ids.extents[0];
  const require = (condition: boolean, problem: string) => {
    if (!condition) throw new GraphError("addSignPlanes", problem, [y, pool, ids]);
  };
  const isFlat = y.dtype === "f32" && y.extents[2] === 1 && y.extents[3] === 1 && y.strides[0] === 4;
  require(isFlat && x.rows === y.extents[1], "y must be a matrix of f32 with the rows of x");
  const outputsFit = firstOutput >= 0 && firstOutput + out <= y.extents[0];
  require(alignUp(x.inputs, dtypes[signDType].blockSize) === padded && outputsFit, "inner dimensions differ");
  require(ids.dtype === "i32" && ids.elements === rows, "one i32 id a row");
  require(firstRow >= 0 && firstRow + rows <= y.extents[1], `rows do not fit from ${firstRow} on`);
  const { tabled } = x;
  const areTabled = firstRow >= tabled.firstRow && firstRow + rows <= tabled.firstRow + tabled.rows;
  require(areTabled, `not all ${rows} rows from ${firstRow} on have tables`);

  const operands = [x.quantizedBy(kernels), ids, pool];
  const place = BigInt(firstRow) | (BigInt(firstOutput) << 32n);
  return g.operation("addSignPlanes", [y, ...operands], y.extents, (base, c) =>
    base.customInplace(c, y.pointer, pointers(operands), 3, kernels.addSigns, allThreads, place),
  );
}

/**
 * Rows of planes, wherever they lie: places `[m]` i32, each `slot * out + output`. → `[inputs, m]` f32
 */
export function lookUpPlanes(g: Graph, pool: Tensor, places: Tensor, inputs: number): Tensor {
  const [padded, outputs, slots] = pool.extents;
  const { kernels } = g;
  if (!kernels || !fitsStrips(pool.dtype, outputs)) {
    const wide = g.getRows(g.reshape(pool, [padded, outputs * slots]), places);
    return padded === inputs ? wide : g.view(wide, [inputs, places.elements], { offset: 0 });
  }
  const count = places.elements;
  if (places.dtype !== "i32" || places.extents[0] !== count || inputs > padded) {
    throw new GraphError("lookUpPlanes", `places must be i32 numbers of rows of ${inputs}`, [pool, places]);
  }
  return g.operation("lookUpPlanes", [pool, places], [inputs, count, 1, 1], (base, c) => {
    const operands = pointers([pool, places]);
    return base.custom(c, dtypes.f32.id, inputs, count, 1, 1, operands, 2, kernels.lookUpSigns, allThreads, 0n);
  });
}
