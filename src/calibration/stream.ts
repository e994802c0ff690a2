import type { ModelConfig } from "../core/index.js";
import { type BindInput, computeOnce, type Device, type Graph, type GraphMemory, type Tensor } from "../ggml/index.js";
import { ropeFactors, ropeOf } from "../model/index.js";
import type { Chunk } from "./chunks.js";
import { attention, gated, type LayerContext, type LayerWeights, norm, project, type Stage } from "./layer.js";

/** Where a stream computes, and on what. */
export interface StreamContext {
  readonly device: Device;
  readonly memory: GraphMemory;
  readonly config: ModelConfig;
  readonly chunks: readonly Chunk[];
}

/** A model on its way through the calibration text, with one layer's weights at a time. */
export class Stream {
  /** The residual stream of each chunk, `[tokens][hidden]`. */
  readonly hidden: Float32Array[];
  /** What the matrices of the present stage take, `[tokens][n]` for each chunk. */
  readonly input: Float32Array[] = [];
  readonly weights: LayerWeights;
  readonly #context: StreamContext;
  readonly #ropeFactors: Float32Array | undefined;

  /** @param embedding `[vocabulary, hidden]` */
  constructor(context: StreamContext, weights: LayerWeights, embedding: Float32Array) {
    const { hiddenSize } = context.config;
    this.#context = context;
    this.#ropeFactors = ropeFactors(context.config);
    this.weights = weights;
    this.hidden = context.chunks.map(({ tokens }) => {
      const rows = new Float32Array(tokens.length * hiddenSize);
      tokens.forEach((token, row) => {
        rows.set(embedding.subarray(token * hiddenSize, (token + 1) * hiddenSize), row * hiddenSize);
      });
      return rows;
    });
  }

  /** Computes what the stage's matrices take, from the residual stream or from what the stage before took. */
  enter(stage: Stage): void {
    const { weights } = this;
    const { config } = this.#context;
    this.#each(this.input, (g, bind, index, chunk) => {
      const input = () => rowsOf(bind, chunk, this.input[index]!);
      const hidden = () => rowsOf(bind, chunk, this.hidden[index]!);
      switch (stage.input) {
        case "attention norm":
          return norm(g, hidden(), weights.get("input_layernorm.weight"), config);
        case "attention":
          return attention(g, input(), weights, this.#layerContext(bind, chunk));
        case "feed-forward norm":
          return norm(g, hidden(), weights.get("post_attention_layernorm.weight"), config);
        case "feed-forward":
          return gated(g, input(), weights);
      }
    });
  }

  /** Adds what the stage's matrix gives to the residual stream, where it does. */
  leave({ matrices, addsToStream }: Stage): void {
    if (!addsToStream) return;
    this.#each(this.hidden, (g, bind, index, chunk) =>
      g.add(
        project(g, rowsOf(bind, chunk, this.input[index]!), this.weights, matrices[0]!),
        rowsOf(bind, chunk, this.hidden[index]!),
      ),
    );
  }

  /**
   * Computes what the output head takes, once all layers are behind.
   *
   * @param scale of the final norm, `[hidden]`
   */
  enterHead(scale: Float32Array): void {
    this.#each(this.input, (g, bind, index, chunk) =>
      norm(g, rowsOf(bind, chunk, this.hidden[index]!), bind("f32", [scale.length], scale), this.#context.config),
    );
  }

  #each(into: Float32Array[], build: (g: Graph, bind: BindInput, index: number, chunk: Chunk) => Tensor): void {
    this.#context.chunks.forEach((chunk, index) => {
      into[index] = computeOnce(this.#context, (g, bind) => build(g, bind, index, chunk));
    });
  }

  #layerContext(bind: BindInput, { tokens, positions, mask }: Chunk): LayerContext {
    const { config } = this.#context;
    const factors = this.#ropeFactors;
    return {
      config,
      rope: ropeOf(config, factors && bind("f32", [factors.length], factors)),
      positions: bind("i32", [tokens.length], positions),
      mask: bind("f16", [tokens.length, tokens.length], mask),
    };
  }
}

/** Values of a chunk, one row a token, as `[n, tokens]`. */
export function rowsOf(bind: BindInput, { tokens }: Chunk, values: Float32Array): Tensor {
  return bind("f32", [values.length / tokens.length, tokens.length], values);
}
