import { embeddingName, headName } from "../core/index.js";
import type { Checkpoint } from "../formats/index.js";
import { packBatch } from "./batch.js";
import { Block, norm } from "./block.js";
import { feedRows, finalNormName, PassConstants } from "./pass.js";
import { countedTokens, type TrainingSample } from "./samples.js";
import { expand, StoredWeights } from "./stored-weights.js";
import { logitsOf, piecesOf, takeRows } from "./vocabulary.js";
import type { Workspace } from "./workspace.js";

/**
 * What the fine-tune says after every counted token. Kept are the vectors that its output head reads, which are a fraction of the
 * logits; these are computed whenever they are wanted. On the device are its embedding and head, and one layer while that is computed.
 */
export class Teacher implements Disposable {
  readonly #workspace: Workspace;
  readonly #constants: PassConstants;
  readonly #ends: StoredWeights;
  /** By sample, `[counted, hidden]`. */
  readonly #states: ReadonlyMap<TrainingSample, Float32Array>;

  private constructor(
    workspace: Workspace,
    parts: { constants: PassConstants; ends: StoredWeights; states: ReadonlyMap<TrainingSample, Float32Array> },
  ) {
    this.#workspace = workspace;
    this.#constants = parts.constants;
    this.#ends = parts.ends;
    this.#states = parts.states;
  }

  /** Runs the fine-tune over groups of samples, layer by layer over all of them. */
  static async run(
    workspace: Workspace,
    tuned: Checkpoint,
    groups: readonly (readonly TrainingSample[])[],
    signal: AbortSignal,
  ): Promise<Teacher> {
    const { config } = tuned;
    const { hiddenSize } = config;
    const constants = new PassConstants(workspace, config);
    const ends = await StoredWeights.load(workspace, tuned, ({ name }) => !name.startsWith("model.layers."));
    const batches = groups.map(packBatch);
    const states = batches.map(({ tokens }) =>
      workspace.compute((g, feed) => {
        const x = g.getRows(ends.get(embeddingName), feed("i32", [tokens.length], tokens));
        g.output(x);
        return () => x.values();
      }),
    );
    for (let layer = 0; layer < config.layers; layer++) {
      using weights = await StoredWeights.load(workspace, tuned, ({ name }) =>
        name.startsWith(`model.layers.${layer}.`),
      );
      for (const [index, batch] of batches.entries()) {
        await new Promise(setImmediate);
        signal.throwIfAborted();
        states[index] = workspace.compute((g, feed) => {
          const parameters = weights.in(g, constants.rowNumbers);
          const block = new Block(g, config, layer, parameters, constants.blockInputs(feed, batch));
          const { output } = block.forward(feedRows(feed, config, states[index]!));
          g.output(output);
          return () => output.values();
        });
      }
    }
    const bySample = new Map<TrainingSample, Float32Array>();
    for (const [index, batch] of batches.entries()) {
      const counted = takeRows(states[index]!, hiddenSize, batch.counted);
      const normed = workspace.compute((g, feed) => {
        const result = norm(
          g,
          ends.in(g, constants.rowNumbers),
          finalNormName,
          feedRows(feed, config, counted),
          config.rmsNormEps,
        );
        g.output(result);
        return () => result.values();
      });
      let first = 0;
      for (const sample of groups[index]!) {
        const end = first + countedTokens(sample) * hiddenSize;
        bySample.set(sample, normed.slice(first, end));
        first = end;
      }
    }
    return new Teacher(workspace, { constants, ends, states: bySample });
  }

  /** The fine-tune's logits from rows of {@link statesOf}: `[rows, vocabulary]` */
  logits(states: Float32Array): Float32Array {
    const { config, rowNumbers } = this.#constants;
    const head = this.#ends.get(headName(config));
    return logitsOf(this.#workspace, states, {
      hidden: config.hiddenSize,
      pieces: piecesOf(0, config.vocabSize),
      at: (g, _, { first, count }) => expand(g, g.rows(head, first, count), rowNumbers),
    });
  }

  /** What the head reads after the counted tokens of samples, one after the other, filled up with zeros: `[rows, hidden]` */
  statesOf(samples: readonly TrainingSample[], rows: number): Float32Array {
    const states = new Float32Array(rows * this.#constants.config.hiddenSize);
    let at = 0;
    for (const sample of samples) {
      const own = this.#states.get(sample)!;
      states.set(own, at);
      at += own.length;
    }
    return states;
  }

  [Symbol.dispose](): void {
    this.#ends[Symbol.dispose]();
    this.#constants[Symbol.dispose]();
  }
}
