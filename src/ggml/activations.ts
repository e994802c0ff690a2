import { dtypes } from "../core/index.js";
import { type Graph, GraphError } from "./graph.js";
import type { Kernels } from "./kernels.js";
import type { Pointer } from "./signatures.js";
import { pointers, type Tensor } from "./tensor.js";

/** GGML_N_TASKS_MAX: as many threads as the device has. */
export const allThreads = -1;

/**
 * What linear layers take, `[in, rows]`, in the forms that they take it: as values, and in 8 bits where the device has kernels. Each form
 * is computed if it is asked for, and once, whoever else asks.
 */
export class Activations {
  readonly inputs: number;
  readonly rows: number;
  readonly #graph: Graph;
  readonly #makeValues: () => Tensor;
  readonly #makeQuantized: (kernels: Kernels) => Tensor;
  #values: Tensor | undefined;
  #quantized: Tensor | undefined;

  private constructor(
    graph: Graph,
    like: Tensor,
    makeValues: () => Tensor,
    makeQuantized: (kernels: Kernels) => Tensor,
  ) {
    this.#graph = graph;
    [this.inputs, this.rows] = like.extents;
    this.#makeValues = makeValues;
    this.#makeQuantized = makeQuantized;
  }

  /** The values of a tensor: `[in, rows]` f32. */
  static of(g: Graph, x: Tensor): Activations {
    return new Activations(
      g,
      x,
      () => x,
      (kernels) => quantizeValues(g, x, kernels),
    );
  }

  /** Each row divided by its root mean square, times `scale`: x `[in, rows]`, scale `[in]` or `[in, rows]`. */
  static normed(g: Graph, x: Tensor, scale: Tensor, eps: number): Activations {
    return new Activations(
      g,
      x,
      () => g.mul(g.rmsNorm(x, eps), scale),
      ({ quantizeNormed, quantizedBytes }) => {
        const bits = new Uint32Array(Float32Array.of(eps).buffer)[0]!;
        return quantized(g, quantizeNormed, [x, scale], { quantizedBytes, data: BigInt(bits) });
      },
    );
  }

  /** `silu(gate) * up`: both `[in, rows]`. */
  static gated(g: Graph, gate: Tensor, up: Tensor): Activations {
    return new Activations(
      g,
      gate,
      () => g.swiglu(gate, up),
      ({ quantizeGated, quantizedBytes }) => quantized(g, quantizeGated, [gate, up], { quantizedBytes }),
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
      ? quantizeValues(this.#graph, this.#values, kernels)
      : this.#makeQuantized(kernels);
    return this.#quantized;
  }
}

const quantizeValues = (g: Graph, x: Tensor, { quantize, quantizedBytes }: Kernels) =>
  quantized(g, quantize, [x], { quantizedBytes });

function quantized(
  g: Graph,
  operation: Pointer,
  operands: readonly Tensor[],
  { quantizedBytes, data = 0n }: { quantizedBytes: Kernels["quantizedBytes"]; data?: bigint },
): Tensor {
  const [inputs, rows] = operands[0]!.extents;
  for (const { dtype, extents, strides } of operands) {
    const isFlat = dtype === "f32" && extents[2] === 1 && extents[3] === 1 && strides[0] === 4;
    const fits = extents[0] === inputs && (extents[1] === rows || extents[1] === 1);
    if (!isFlat || !fits) throw new GraphError("quantize", "operands must be matrices of f32 alike", operands);
  }
  // f32 in name only: as many words as the kernels want for their bytes.
  const words = Math.ceil(quantizedBytes(inputs, rows) / 4);
  return g.operation("quantize", operands, [words, 1, 1, 1], (base, c) =>
    base.custom(c, dtypes.f32.id, words, 1, 1, 1, pointers(operands), operands.length, operation, allThreads, data),
  );
}
