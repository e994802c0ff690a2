import { dtypes } from "../core/index.js";
import { alignUp } from "../util/index.js";
import { type Graph, GraphError } from "./graph.js";
import type { Kernels } from "./kernels.js";
import type { Tensor } from "./tensor.js";

/** Rows of activations, each of which is multiplied with a matrix of its own out of a pool. */
export interface PoolProduct {
  /** `[in, out, slots]`; rows of matrices are filled up to whole blocks, with zeros. */
  readonly pool: Tensor;
  /** `[in, rows]` f32, not filled up. */
  readonly x: Tensor;
  /** The slot of each row: `[rows]` i32. */
  readonly ids: Tensor;
  /** The row of y that the first of x belongs to. */
  readonly firstRow: number;
}

/** What kernels multiply with. */
const signDType = "q1_0";
/** GGML_N_TASKS_MAX: as many threads as the device has. */
const allThreads = -1;

/**
 * y with the products added to its rows, perhaps in place: y `[out, more rows]` f32. Sign planes go
 * through the device's own kernels where it has some, everything else through ggml's operations.
 */
export function addPoolProduct(g: Graph, y: Tensor, product: PoolProduct): Tensor {
  const { pool, x, ids, firstRow } = product;
  if (g.kernels && pool.dtype === signDType) return addSignPlanes(g, g.kernels, y, product);
  const own = g.mulMatId(pool, g.padRows(x, pool.extents[0]), ids);
  return ids.extents[0] === y.extents[1] ? g.add(y, own) : g.addRows(y, own, firstRow);
}

function addSignPlanes(g: Graph, kernels: Kernels, y: Tensor, { pool, x, ids, firstRow }: PoolProduct): Tensor {
  const [inputs, rows] = x.extents;
  const [padded, out] = pool.extents;
  const require = (condition: boolean, problem: string) => {
    if (!condition) throw new GraphError("addSignPlanes", problem, [y, pool, x, ids]);
  };
  const isFlat = ({ dtype, extents, strides }: Tensor) =>
    dtype === "f32" && extents[2] === 1 && extents[3] === 1 && strides[0] === 4;
  require(isFlat(y) && isFlat(x), "y and x must be matrices of f32");
  require(alignUp(inputs, dtypes[signDType].blockSize) === padded && y.extents[0] === out, "inner dimensions differ");
  require(ids.dtype === "i32" && ids.elements === rows && ids.extents[0] === rows, "one i32 id a row");
  require(firstRow >= 0 && firstRow + rows <= y.extents[1], `rows do not fit from ${firstRow} on`);

  // f32 in name only: as many words as the kernels want for their bytes. Matrices that share an input share these.
  const words = Math.ceil(kernels.quantizedBytes(inputs, rows) / 4);
  const quantized = g.once(`quantize ${x.pointer}`, () =>
    g.operation("quantize", [x], [words, 1, 1, 1], (base, c) =>
      base.custom(c, dtypes.f32.id, words, 1, 1, 1, pointers(x), 1, kernels.quantize, allThreads, 0n),
    ),
  );
  return g.operation("addSignPlanes", [y, quantized, ids, pool], y.extents, (base, c) => {
    const operands = pointers(quantized, ids, pool);
    return base.customInplace(c, y.pointer, operands, 3, kernels.addSigns, allThreads, BigInt(firstRow));
  });
}

const pointers = (...tensors: Tensor[]) => BigUint64Array.from(tensors, ({ pointer }) => pointer);
