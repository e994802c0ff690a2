import { Arena, computeOnce, runOnce, type Tensor } from "../ggml/index.js";
import type { Chunk } from "./chunks.js";
import type { Stream, StreamContext } from "./stream.js";

/** What was seen of the inputs of a linear layer. */
export interface InputStatistics {
  /** Second moment of the compressed model's input, E[x̂ x̂ᵀ]: symmetric, `[cols, cols]`. */
  readonly moment: Float32Array;
  /** By how much the layer's output misses the fine-tune's before it loses anything itself, E[e x̂ᵀ]: `[rows, cols]`. */
  readonly drift: Float32Array;
}

/**
 * Means over all tokens, each as it counts, for a stage that a fine-tune and its compressed self have both entered: x and x̂ are what
 * their matrices take, r and r̂ their residual streams. They lie on the device until this is disposed.
 */
export class StageStatistics implements Disposable {
  readonly #context: StreamContext;
  readonly #arena: Arena;
  readonly #addsToStream: boolean;

  /** @param addsToStream the stage's matrix can make up for what the residual stream misses */
  constructor(context: StreamContext, streams: { tuned: Stream; student: Stream }, addsToStream: boolean) {
    const cols = streams.student.input[0]!.length / context.chunks[0]!.tokens.length;
    this.#context = context;
    this.#addsToStream = addsToStream;
    this.#arena = new Arena(context.device, [
      { name: "moment", dtype: "f32", shape: [cols, cols] },
      { name: "cross", dtype: "f32", shape: [cols, cols] },
      ...(addsToStream ? [{ name: "stream", dtype: "f32" as const, shape: [cols, context.config.hiddenSize] }] : []),
    ]);
    this.#arena.clear();
    context.chunks.forEach((chunk, index) => {
      this.#add(chunk, index, streams);
    });
  }

  /** E[x̂ x̂ᵀ] */
  get moment(): Float32Array {
    return this.#arena.get("moment").values();
  }

  /**
   * E[(W(x − x̂) + r − r̂) x̂ᵀ], the residual streams only where the stage adds to them.
   *
   * @param weight W of the fine-tune, `[cols, rows]` on the device
   */
  driftOf(weight: Tensor): Float32Array {
    return computeOnce(this.#context, (g) => {
      const drift = g.mulMat(this.#arena.get("cross"), weight);
      return this.#addsToStream ? g.add(drift, this.#arena.get("stream")) : drift;
    });
  }

  [Symbol.dispose](): void {
    this.#arena[Symbol.dispose]();
  }

  #add({ tokens, rootWeights }: Chunk, index: number, { tuned, student }: { tuned: Stream; student: Stream }): void {
    runOnce(this.#context, (g, bind) => {
      const count = tokens.length;
      const weights = bind("f32", [1, count], rootWeights);
      const minusWeights = bind(
        "f32",
        [1, count],
        rootWeights.map((weight) => -weight),
      );
      const rows = (values: Float32Array, by: Tensor) => g.mul(bind("f32", [values.length / count, count], values), by); // [n, tokens]
      const difference = (a: Float32Array, b: Float32Array) =>
        g.transpose(g.add(rows(a, weights), rows(b, minusWeights))); // [tokens, n]
      const sum = (name: string, product: Tensor) => g.expand(g.addRows(this.#arena.get(name), product, 0));

      const seen = g.transpose(rows(student.input[index]!, weights)); // [tokens, cols]
      sum("moment", g.mulMat(seen, seen));
      // [cols of x − x̂, cols of x̂]: the product with W is over the former.
      sum("cross", g.mulMat(difference(tuned.input[index]!, student.input[index]!), seen));
      if (this.#addsToStream) sum("stream", g.mulMat(seen, difference(tuned.hidden[index]!, student.hidden[index]!)));
      return () => {};
    });
  }
}

/** Second moment of what a stream's matrices take now, weighted as its tokens are: `[n, n]` */
export function momentOf(context: StreamContext, { input }: Stream): Float32Array {
  const cols = input[0]!.length / context.chunks[0]!.tokens.length;
  using arena = new Arena(context.device, [{ name: "moment", dtype: "f32", shape: [cols, cols] }]);
  arena.clear();
  context.chunks.forEach(({ tokens, rootWeights }, index) => {
    runOnce(context, (g, bind) => {
      const weights = bind("f32", [1, tokens.length], rootWeights);
      const seen = g.transpose(g.mul(bind("f32", [cols, tokens.length], input[index]!), weights)); // [tokens, cols]
      g.expand(g.addRows(arena.get("moment"), g.mulMat(seen, seen), 0));
      return () => {};
    });
  });
  return arena.get("moment").values();
}
