import { dtypes } from "../core/index.js";
import { alignUp } from "../util/index.js";
import { type Activations, allThreads } from "./activations.js";
import type { BaseMatrix } from "./base-matrix.js";
import { type Graph, GraphError } from "./graph.js";
import { pointers, type Tensor } from "./tensor.js";

/** Rows of activations of one variant, which are multiplied with a matrix of the base and the variant's planes in one. */
export interface MergedProduct {
  /** Interleaved: `[in, out]`. */
  readonly matrix: BaseMatrix;
  /**
   * Pools of sign planes `[in in whole blocks, out, slots]`, each by the place of its slot among those in `run`; at most
   * {@link mergedPlanesMax}.
   */
  readonly planes: ReadonlyMap<number, Tensor>;
  /** The input of all rows of y. */
  readonly x: Activations;
  /** The first row, how many rows, and slots: `[2 + slots]` i32. */
  readonly run: Tensor;
  /** The place of the first output in a row of y. */
  readonly firstOutput: number;
  /** Whether the products are added to what is there, or written over it. */
  readonly adds: boolean;
}

/** Planes that kernels merge into one matrix: `merged_planes_max` in native/merged-planes.h. */
export const mergedPlanesMax = 4;
/** The only planes that they merge. */
export const mergedDType = "q1_0";
/** Bits of slots beside the one that says whether products are added. */
const slotsMax = 31;

/**
 * y with the products in its rows, in place: y `[out or more, rows or more]` f32. The merged weights are rounded to 8 bits where the
 * base's are, and computed again in every step, at the price of some rows: it is for runs of many.
 */
export function multiplyMerged(g: Graph, y: Tensor, product: MergedProduct): Tensor {
  const { matrix, planes, x, run, firstOutput, adds } = product;
  const { kernels } = g;
  const pools = [...planes.values()];
  const [inputs, outputs] = matrix.tensor.extents;
  const require = (condition: boolean, problem: string) => {
    if (!condition) throw new GraphError("multiplyMerged", problem, [y, matrix.tensor, run, ...pools]);
  };
  if (!kernels || !matrix.isInterleaved) {
    throw new GraphError("multiplyMerged", "the matrix must be interleaved, on a device with kernels", [matrix.tensor]);
  }
  const isFlat = y.dtype === "f32" && y.extents[2] === 1 && y.extents[3] === 1 && y.strides[0] === 4;
  require(isFlat && x.rows === y.extents[1], "y must be a matrix of f32 with the rows of x");
  require(inputs === x.inputs && firstOutput >= 0 && firstOutput + outputs <= y.extents[0], "inner dimensions differ");
  require(run.dtype === "i32" && run.extents[0] === run.elements && run.elements >= 2, "run must be i32 numbers");
  const padded = alignUp(inputs, dtypes[mergedDType].blockSize);
  const fits = ({ dtype, extents }: Tensor) => dtype === mergedDType && extents[0] === padded && extents[1] === outputs;
  require(pools.length <= mergedPlanesMax &&
    pools.every(fits), "planes must be at most 4 of signs, as large as the matrix");
  const slots = run.elements - 2;
  const hasSlot = (place: number) => place >= 0 && place < slots;
  require(slots <= slotsMax && [...planes.keys()].every(hasSlot), "each plane's slot must be one of the run");

  const places = [...planes].sort(([a], [b]) => a - b);
  const [input, operation] = matrix.isRounded
    ? [x.quantizedBy(kernels), kernels.multiplyMerged]
    : [x.values, kernels.multiplyMergedFloats];
  const operands = [input, run, matrix.tensor, ...places.map(([, pool]) => pool)];
  const bits = places.reduce((sum, [place]) => sum | (2n << BigInt(place)), adds ? 1n : 0n);
  const data = bits | (BigInt(firstOutput) << 32n);
  return g.operation("multiplyMerged", [y, ...operands], y.extents, (base, c) =>
    base.customInplace(c, y.pointer, pointers(operands), operands.length, operation, allThreads, data),
  );
}
