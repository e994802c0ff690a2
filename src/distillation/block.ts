import type { ModelConfig } from "../core/index.js";
import { type Graph, gradients, type Rope, type Tensor } from "../ggml/index.js";

const { product, rearrange, rmsNormBack, siluBack, softMax, softMaxBack, sumRows, transpose } = gradients;

/** A model's parameters as f32 tensors of a graph. Asked again within a graph, the same tensor. */
export interface Parameters {
  /** `[in, out]` */
  matrix(name: string): Tensor;
  /** `[n]`, or undefined where the model has none of that name. */
  vector(name: string): Tensor | undefined;
}

/** Takes what the loss's gradient says about parameters. */
export interface GradientSink {
  /** `y = W · x` with y's gradient dy: x `[in, rows]`, dy `[out, rows]`. */
  matrixGradient(name: string, x: Tensor, dy: Tensor): void;
  /** The gradient of a vector: `[n]`. */
  vectorGradient(name: string, gradient: Tensor): void;
}

/** What all blocks of one pass share. */
export interface BlockInputs {
  /** `[n]` i32 */
  readonly positions: Tensor;
  /** Their negatives, which turn a rotation back: `[n]` i32 */
  readonly backwards: Tensor;
  /** `[n, n]` f32 of 0 and −∞, keys fastest */
  readonly mask: Tensor;
  readonly rope: Rope;
}

/**
 * One block of the transformer of `model/decoder.ts` over whole sequences, without a cache, and its derivative by hand. What the
 * way back needs of the way forward is computed again from the block's input and from its middle, where attention has been added.
 */
export class Block {
  readonly #g: Graph;
  readonly #config: ModelConfig;
  readonly #prefix: string;
  readonly #parameters: Parameters;
  readonly #inputs: BlockInputs;

  constructor(g: Graph, config: ModelConfig, index: number, parameters: Parameters, inputs: BlockInputs) {
    this.#g = g;
    this.#config = config;
    this.#prefix = `model.layers.${index}`;
    this.#parameters = parameters;
    this.#inputs = inputs;
  }

  /** x `[hidden, n]` → middle and output `[hidden, n]` */
  forward(x: Tensor): { middle: Tensor; output: Tensor } {
    const g = this.#g;
    const middle = g.add(x, this.#linear("self_attn.o_proj", this.#attention(x).mixed));
    const output = g.add(middle, this.#linear("mlp.down_proj", this.#feedForward(middle).inner));
    return { middle, output };
  }

  /** The gradient of x `[hidden, n]` from that of the output, `dy` `[hidden, n]`. Parameters' gradients go to `sink` on the way. */
  backward(x: Tensor, middle: Tensor, dy: Tensor, sink: GradientSink): Tensor {
    const g = this.#g;
    const dMiddle = g.add(dy, this.#feedForwardBack(middle, dy, sink));
    return g.add(dMiddle, this.#attentionBack(x, dMiddle, sink));
  }

  #attention(x: Tensor) {
    const g = this.#g;
    const { headDim, heads, kvHeads } = this.#config;
    const { positions, mask, rope } = this.#inputs;
    const rows = x.extents[1];
    const normed = this.#norm("input_layernorm", x); // [hidden, n]
    const qRaw = g.reshape(this.#linear("self_attn.q_proj", normed), [headDim, heads, rows]);
    const kRaw = g.reshape(this.#linear("self_attn.k_proj", normed), [headDim, kvHeads, rows]);
    const vRaw = g.reshape(this.#linear("self_attn.v_proj", normed), [headDim, kvHeads, rows]);
    const qTurned = g.rope(this.#norm("self_attn.q_norm", qRaw), positions, rope); // [headDim, heads, n]
    const kTurned = g.rope(this.#norm("self_attn.k_norm", kRaw), positions, rope); // [headDim, kvHeads, n]
    const q = rearrange(g, qTurned, [0, 2, 1, 3]); // [headDim, n, heads]
    const k = rearrange(g, kTurned, [0, 2, 1, 3]); // [headDim, n, kvHeads]
    const shares = softMax(g, product(g, k, q), mask, 1 / Math.sqrt(headDim)); // [n keys, n queries, heads]
    const byCell = rearrange(g, vRaw, [1, 2, 0, 3]); // [n, headDim, kvHeads]
    const apart = product(g, byCell, shares); // [headDim, n, heads]
    const mixed = g.reshape(rearrange(g, apart, [0, 2, 1, 3]), [headDim * heads, rows]);
    return { normed, qRaw, kRaw, vRaw, q, k, shares, mixed };
  }

  #attentionBack(x: Tensor, dy: Tensor, sink: GradientSink): Tensor {
    const g = this.#g;
    const { headDim, heads, kvHeads } = this.#config;
    const { backwards, rope } = this.#inputs;
    const rows = x.extents[1];
    const { normed, qRaw, kRaw, vRaw, q, k, shares, mixed } = this.#attention(x);

    const dMixed = this.#linearBack("self_attn.o_proj", mixed, dy, sink); // [headDim * heads, n]
    const dApart = rearrange(g, g.reshape(dMixed, [headDim, heads, rows]), [0, 2, 1, 3]); // [headDim, n, heads]
    const v = rearrange(g, vRaw, [0, 2, 1, 3]); // [headDim, n, kvHeads]
    const dShares = product(g, v, dApart); // [n keys, n queries, heads]
    const dScores = softMaxBack(g, dShares, shares, 1 / Math.sqrt(headDim));
    const dqTurned = rearrange(g, product(g, transpose(g, k), dScores), [0, 2, 1, 3]); // [headDim, heads, n]
    const dkTurned = rearrange(g, this.#overQueries(q, dScores), [0, 2, 1, 3]); // [headDim, kvHeads, n]
    const dv = rearrange(g, this.#overQueries(dApart, shares), [0, 2, 1, 3]); // [headDim, kvHeads, n]

    // A rotation's transpose is the rotation by the opposite angle.
    const dqRaw = this.#normBack("self_attn.q_norm", qRaw, g.rope(dqTurned, backwards, rope), sink);
    const dkRaw = this.#normBack("self_attn.k_norm", kRaw, g.rope(dkTurned, backwards, rope), sink);
    const dq = g.reshape(dqRaw, [headDim * heads, rows]);
    const dk = g.reshape(dkRaw, [headDim * kvHeads, rows]);
    let dNormed = this.#linearBack("self_attn.q_proj", normed, dq, sink);
    dNormed = g.add(dNormed, this.#linearBack("self_attn.k_proj", normed, dk, sink));
    const dvRows = g.reshape(dv, [headDim * kvHeads, rows]);
    dNormed = g.add(dNormed, this.#linearBack("self_attn.v_proj", normed, dvRows, sink));
    return this.#normBack("input_layernorm", x, dNormed, sink);
  }

  /** Σ a · wᵀ over queries and over the heads that share a key head: a `[headDim, n, heads]`, w `[n keys, n, heads]`. → `[headDim, n keys, kvHeads]` */
  #overQueries(a: Tensor, w: Tensor): Tensor {
    const g = this.#g;
    const { headDim, heads, kvHeads } = this.#config;
    const [keys, rows] = w.extents;
    const group = heads / kvHeads;
    const queriesFirst = (x: Tensor, width: number) => {
      const grouped = g.reshape(x, [width, rows, group, kvHeads]);
      return g.reshape(rearrange(g, grouped, [2, 0, 1, 3]), [rows * group, width, kvHeads]);
    };
    return product(g, queriesFirst(a, headDim), queriesFirst(w, keys));
  }

  #feedForward(middle: Tensor) {
    const normed = this.#norm("post_attention_layernorm", middle); // [hidden, n]
    const gate = this.#linear("mlp.gate_proj", normed); // [feedForward, n]
    const up = this.#linear("mlp.up_proj", normed);
    return { normed, gate, up, inner: this.#g.swiglu(gate, up) };
  }

  #feedForwardBack(middle: Tensor, dy: Tensor, sink: GradientSink): Tensor {
    const g = this.#g;
    const { normed, gate, up, inner } = this.#feedForward(middle);
    const dInner = this.#linearBack("mlp.down_proj", inner, dy, sink); // [feedForward, n]
    const dUp = g.swiglu(gate, dInner);
    const dGate = siluBack(g, g.mul(dInner, up), gate);
    const dNormed = g.add(
      this.#linearBack("mlp.gate_proj", normed, dGate, sink),
      this.#linearBack("mlp.up_proj", normed, dUp, sink),
    );
    return this.#normBack("post_attention_layernorm", middle, dNormed, sink);
  }

  #linear(name: string, x: Tensor): Tensor {
    return linear(this.#g, this.#parameters, `${this.#prefix}.${name}`, x);
  }

  #linearBack(name: string, x: Tensor, dy: Tensor, sink: GradientSink): Tensor {
    return linearBack(this.#g, this.#parameters, `${this.#prefix}.${name}`, { x, dy }, sink);
  }

  #norm(name: string, x: Tensor): Tensor {
    return norm(this.#g, this.#parameters, `${this.#prefix}.${name}.weight`, x, this.#config.rmsNormEps);
  }

  #normBack(name: string, x: Tensor, dy: Tensor, sink: GradientSink): Tensor {
    const { rmsNormEps } = this.#config;
    return normBack(this.#g, this.#parameters, `${this.#prefix}.${name}.weight`, { x, dy, eps: rmsNormEps }, sink);
  }
}

/** `W · x + b`, b where the model has one. */
function linear(g: Graph, parameters: Parameters, name: string, x: Tensor): Tensor {
  const y = g.mulMat(parameters.matrix(`${name}.weight`), x);
  const bias = parameters.vector(`${name}.bias`);
  return bias ? g.add(y, bias) : y;
}

function linearBack(
  g: Graph,
  parameters: Parameters,
  name: string,
  { x, dy }: { x: Tensor; dy: Tensor },
  sink: GradientSink,
): Tensor {
  sink.matrixGradient(`${name}.weight`, x, dy);
  if (parameters.vector(`${name}.bias`)) sink.vectorGradient(`${name}.bias`, sumOverRows(g, dy));
  return g.mulMat(transpose(g, parameters.matrix(`${name}.weight`)), dy);
}

/** x over its root mean square, times the norm's scale; x itself where the model has no such norm. */
export function norm(g: Graph, parameters: Parameters, name: string, x: Tensor, eps: number): Tensor {
  const scale = parameters.vector(name);
  return scale ? g.mul(g.rmsNorm(x, eps), scale) : x;
}

/** x's gradient from that of {@link norm}'s result. */
export function normBack(
  g: Graph,
  parameters: Parameters,
  name: string,
  { x, dy, eps }: { x: Tensor; dy: Tensor; eps: number },
  sink: GradientSink,
): Tensor {
  const scale = parameters.vector(name);
  if (!scale) return dy;
  const products = g.mul(g.rmsNorm(x, eps), dy);
  sink.vectorGradient(name, sumOverRows(g, g.reshape(products, [x.extents[0], x.elements / x.extents[0]])));
  return rmsNormBack(g, g.mul(dy, scale), x, eps);
}

/** `[n, rows]` → `[n]` */
function sumOverRows(g: Graph, x: Tensor): Tensor {
  return g.reshape(sumRows(g, transpose(g, x)), [x.extents[0]]);
}
