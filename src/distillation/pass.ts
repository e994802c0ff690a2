import type { ModelConfig } from "../core/index.js";
import { Arena, type BindInput, type Tensor } from "../ggml/index.js";
import { ropeFactors, ropeOf } from "../model/index.js";
import { type Batch, maskOf } from "./batch.js";
import type { BlockInputs } from "./block.js";
import { PIECE_ROWS } from "./vocabulary.js";
import type { Workspace } from "./workspace.js";

/** What every pass of one model needs beside its weights. */
export class PassConstants implements Disposable {
  readonly config: ModelConfig;
  /** 0, 1, 2, … i32, as many as a matrix has rows at a time. */
  readonly rowNumbers: Tensor;
  readonly #factors: Tensor | undefined;
  readonly #arena: Arena;

  constructor(workspace: Workspace, config: ModelConfig) {
    this.config = config;
    const { feedForward, hiddenSize, heads, headDim } = config;
    const count = Math.max(PIECE_ROWS, feedForward, hiddenSize, heads * headDim);
    const factors = ropeFactors(config);
    this.#arena = new Arena(workspace.device, [
      { name: "rowNumbers", dtype: "i32", shape: [count] },
      ...(factors ? [{ name: "factors", dtype: "f32" as const, shape: [factors.length] }] : []),
    ]);
    this.rowNumbers = this.#arena.get("rowNumbers");
    this.rowNumbers.write(Int32Array.from({ length: count }, (_, row) => row));
    this.#factors = factors && this.#arena.get("factors");
    if (factors) this.#factors?.write(factors);
  }

  /** A batch's part in each of its blocks' graphs. */
  blockInputs(feed: BindInput, batch: Batch): BlockInputs {
    const { config } = this;
    const rows = batch.positions.length;
    return {
      positions: feed("i32", [rows], batch.positions),
      backwards: feed(
        "i32",
        [rows],
        batch.positions.map((position) => -position),
      ),
      mask: feed("f32", [rows, rows], maskOf(batch, config.slidingWindow)),
      rope: ropeOf(config, this.#factors),
    };
  }

  [Symbol.dispose](): void {
    this.#arena[Symbol.dispose]();
  }
}

/** Feeds `[rows, hidden]`, row-major. → `[hidden, rows]` in ggml's order */
export function feedRows(feed: BindInput, { hiddenSize }: ModelConfig, values: Float32Array): Tensor {
  return feed("f32", [hiddenSize, values.length / hiddenSize], values);
}

export const finalNormName = "model.norm.weight";
