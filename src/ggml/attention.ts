import { dtypes } from "../core/index.js";
import { allThreads } from "./activations.js";
import type { Graph } from "./graph.js";
import { pointers, type Tensor } from "./tensor.js";

/** What native/attention.h has room for. */
const [headMax, sharedHeadsMax, lanes] = [256, 16, 16];

/** Queries of several sequences, and the cells they look at; shapes as {@link Graph.attend} takes them. */
export interface Attention {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly mask: Tensor;
  readonly scale: number;
}

/**
 * Softmax attention: {@link Graph.attend}, or the device's own kernel where each sequence has a single row and cells hold half floats.
 * → `[headDim, heads, rows, sequences]`
 */
export function attend(g: Graph, { q, k, v, mask, scale }: Attention): Tensor {
  const [headDim, rows, heads, sequences] = q.extents;
  const isOwn = rows === 1 && k.dtype === "f16" && headDim % lanes === 0 && headDim <= headMax;
  if (!g.kernels || !isOwn || heads / k.extents[2] > sharedHeadsMax) return g.attend(q, k, v, mask, scale);
  const { attend: operation } = g.kernels;
  g.requireAttention(q, k, v, mask);
  const bits = BigInt(new Uint32Array(Float32Array.of(scale).buffer)[0]!);
  const operands = [q, k, v, mask];
  return g.operation("attend", operands, [headDim, heads, rows, sequences], (base, c) =>
    base.custom(c, dtypes.f32.id, headDim, heads, rows, sequences, pointers(operands), 4, operation, allThreads, bits),
  );
}
