import { dtypes } from "../core/index.js";
import { type Graph, GraphError } from "./graph.js";
import type { Kernels } from "./kernels.js";
import type { Pointer } from "./signatures.js";
import { pointers, type Tensor } from "./tensor.js";

/** GGML_N_TASKS_MAX: as many threads as the device has. */
export const allThreads = -1;

/** Rows side by side. */
export interface RowRange {
  readonly firstRow: number;
  readonly rows: number;
}

const noRows: RowRange = { firstRow: 0, rows: 0 };

/**
 * What linear layers take, `[in, rows]`, in the forms that they take it: as values, and in 8 bits where the device has kernels. Each form
 * is computed if it is asked for, and once, whoever else asks. Rows that sign planes are multiplied with are tabulated with the 8 bits.
 */
export class Activations {
  readonly inputs: number;
  readonly rows: number;
  /** Those with tables for sign planes, where the device has kernels. */
  readonly tabled: RowRange;
  readonly #graph: Graph;
  readonly #makeValues: () => Tensor;
  readonly #makeQuantized: (kernels: Kernels) => Tensor;
  #values: Tensor | undefined;
  #quantized: Tensor | undefined;

  private constructor(
    graph: Graph,
    like: Tensor,
    tabled: RowRange,
    makeValues: () => Tensor,
    makeQuantized: (kernels: Kernels) => Tensor,
  ) {
    this.#graph = graph;
    [this.inputs, this.rows] = like.extents;
    this.tabled = tabled;
    this.#makeValues = makeValues;
    this.#makeQuantized = makeQuantized;
  }

  /** The values of a tensor: `[in, rows]` f32. */
  static of(g: Graph, x: Tensor, tabled: RowRange = noRows): Activations {
    return new Activations(
      g,
      x,
      tabled,
      () => x,
      (kernels) => quantizeValues(g, x, kernels, tabled),
    );
  }

  /** Each row divided by its root mean square, times `scale`: x `[in, rows]`, scale `[in]` or `[in, rows]`. */
  static normed(g: Graph, x: Tensor, scale: Tensor, eps: number, tabled: RowRange = noRows): Activations {
    return new Activations(
      g,
      x,
      tabled,
      () => g.mul(g.rmsNorm(x, eps), scale),
      (kernels) => {
        const bits = new Uint32Array(Float32Array.of(eps).buffer)[0]!;
        return quantized(g, kernels.quantizeNormed, [x, scale], { kernels, tabled, data: BigInt(bits) });
      },
    );
  }

  /** `silu(gate) * up`: both `[in, rows]`. */
  static gated(g: Graph, gate: Tensor, up: Tensor, tabled: RowRange = noRows): Activations {
    return new Activations(
      g,
      gate,
      tabled,
      () => g.swiglu(gate, up),
      (kernels) => quantized(g, kernels.quantizeGated, [gate, up], { kernels, tabled }),
    );
  }

  /** `[in, rows]` f32 */
  get values(): Tensor {
    this.#values ??= this.#makeValues();
    return this.#values;
  }

  /** As native/activations.h draws them. */
  quantizedBy(kernels: Kernels): Tensor {
    // Values that somebody took already need not be computed again.
    this.#quantized ??= this.#values
      ? quantizeValues(this.#graph, this.#values, kernels, this.tabled)
      : this.#makeQuantized(kernels);
    return this.#quantized;
  }
}

const quantizeValues = (g: Graph, x: Tensor, kernels: Kernels, tabled: RowRange) =>
  quantized(g, kernels.quantize, [x], { kernels, tabled });

function quantized(
  g: Graph,
  operation: Pointer,
  operands: readonly Tensor[],
  { kernels, tabled, data = 0n }: { kernels: Kernels; tabled: RowRange; data?: bigint },
): Tensor {
  const [inputs, rows] = operands[0]!.extents;
  for (const { dtype, extents, strides } of operands) {
    const isFlat = dtype === "f32" && extents[2] === 1 && extents[3] === 1 && strides[0] === 4;
    const fits = extents[0] === inputs && (extents[1] === rows || extents[1] === 1);
    if (!isFlat || !fits) throw new GraphError("quantize", "operands must be matrices of f32 alike", operands);
  }
  const { firstRow } = tabled;
  if (firstRow < 0 || firstRow + tabled.rows > rows) {
    throw new GraphError("quantize", `there are no ${tabled.rows} rows from ${firstRow} on`, operands);
  }
  // f32 in name only: as many words as the kernels want for their bytes.
  const words = kernels.quantizedBytes(inputs, rows, tabled.rows) / 4;
  const place = data | (BigInt(firstRow) << 32n);
  return g.operation("quantize", operands, [words, 1, 1, 1], (base, c) =>
    base.custom(c, dtypes.f32.id, words, 1, 1, 1, pointers(operands), operands.length, operation, allThreads, place),
  );
}
