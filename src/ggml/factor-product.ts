import { type DType, dtypes } from "../core/index.js";
import { alignUp } from "../util/index.js";
import { type Activations, allThreads } from "./activations.js";
import { type Graph, GraphError } from "./graph.js";
import type { Kernels } from "./kernels.js";
import { addProduct } from "./pool-product.js";
import { pointers, type Tensor } from "./tensor.js";

/** Rows of activations, each of which is multiplied with factors of its own out of pools: `up · (down · x)`. */
export interface FactorProduct {
  /** `[in, rank, slots]`; rows of matrices are filled up to whole blocks, with zeros. */
  readonly down: Tensor;
  /** `[rank, out, slots]`, likewise. */
  readonly up: Tensor;
  /** The input of all rows of y, not filled up. */
  readonly x: Activations;
  /** The slot of each row that is multiplied: `[rows]` i32. */
  readonly ids: Tensor;
  /** The first of these rows. */
  readonly firstRow: number;
  /** The place of the first output in a row of y. */
  readonly firstOutput: number;
}

/** What kernels multiply with. */
const kernelDTypes: readonly DType[] = ["f16", "q8_0", "q4_0"];

/**
 * y with the products added to its rows, perhaps in place: y `[out or more, rows or more]` f32. Through the device's own kernels
 * where it has some, else through ggml's operations.
 */
export function addFactors(g: Graph, y: Tensor, product: FactorProduct): Tensor {
  const { down, up, x, ids, firstRow, firstOutput } = product;
  if (g.kernels && kernelDTypes.includes(down.dtype)) return addByKernels(g, g.kernels, y, product);
  const own = g.padRows(g.rows(x.values, firstRow, ids.extents[0]), down.extents[0]);
  const low = g.mulMatId(down, own, ids);
  return addProduct(g, y, g.mulMatId(up, g.padRows(low, up.extents[0]), ids), firstRow, firstOutput);
}

function addByKernels(g: Graph, kernels: Kernels, y: Tensor, product: FactorProduct): Tensor {
  const { down, up, x, ids, firstRow, firstOutput } = product;
  const [inputs, rank] = down.extents;
  const [paddedRank, out] = up.extents;
  const rows = ids.extents[0];
  const require = (condition: boolean, problem: string) => {
    if (!condition) throw new GraphError("addFactors", problem, [y, down, up, ids]);
  };
  const isFlat = y.dtype === "f32" && y.extents[2] === 1 && y.extents[3] === 1 && y.strides[0] === 4;
  require(isFlat && x.rows === y.extents[1], "y must be a matrix of f32 with the rows of x");
  const { blockSize } = dtypes[down.dtype];
  const fits = alignUp(x.inputs, blockSize) === inputs && alignUp(rank, blockSize) === paddedRank;
  require(fits && up.dtype === down.dtype && up.extents[2] === down.extents[2], "factors differ");
  require(firstOutput >= 0 && firstOutput + out <= y.extents[0], `outputs do not fit from ${firstOutput} on`);
  require(ids.dtype === "i32" && ids.elements === rows, "one i32 id a row");
  require(firstRow >= 0 && firstRow + rows <= y.extents[1], `rows do not fit from ${firstRow} on`);

  const first = [x.quantizedBy(kernels), ids, down];
  const low = g.operation("multiplyDown", first, [rank, rows, 1, 1], (base, c) => {
    const { multiplyDown } = kernels;
    return base.custom(
      c,
      dtypes.f32.id,
      rank,
      rows,
      1,
      1,
      pointers(first),
      3,
      multiplyDown,
      allThreads,
      BigInt(firstRow),
    );
  });
  const second = [low, ids, up];
  const place = BigInt(firstRow) | (BigInt(firstOutput) << 32n);
  return g.operation("addUp", [y, ...second], y.extents, (base, c) =>
    base.customInplace(c, y.pointer, pointers(second), 3, kernels.addUp, allThreads, place),
  );
}
