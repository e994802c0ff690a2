import { embeddingName, headName } from "../core/index.js";
import type { Checkpoint } from "../formats/index.js";
import { Arena, type Device, GraphMemory } from "../ggml/index.js";
import { readValues } from "../model/index.js";
import { inLanes } from "../util/index.js";
import { type CalibrationSequence, packChunks } from "./chunks.js";
import { LayerWeights, type Stage, stages } from "./layer.js";
import { type InputStatistics, momentOf, StageStatistics } from "./statistics.js";
import { Stream, type StreamContext } from "./stream.js";

/** Compresses a matrix; answers with what the compressed model has in its place, `[rows, cols]`. */
export type Compressor = (name: string, statistics: InputStatistics) => Promise<Float32Array>;

/** Looks at linear layers by the second moment of their common input. */
export type Surveyor = (names: readonly string[], moment: Float32Array) => Promise<void>;

/** Tokens that are computed at once; attention's mask is this long and wide. */
const chunkTokensMax = 512;

/**
 * Runs a fine-tune and its compressed self side by side over calibration text, layer by layer, and within a layer from one group of
 * matrices with a common input to the next. Each is compressed once its input is known as it will be, with everything before it
 * compressed. Memory holds two layers' weights, the hidden states of both, and one stage's statistics.
 */
export class Lockstep implements Disposable {
  readonly #tuned: Checkpoint;
  readonly #context: StreamContext;

  constructor(device: Device, tuned: Checkpoint, sequences: readonly CalibrationSequence[]) {
    const { config } = tuned;
    this.#tuned = tuned;
    this.#context = {
      device,
      config,
      memory: new GraphMemory(device),
      chunks: packChunks(sequences, { tokensMax: chunkTokensMax, slidingWindow: config.slidingWindow }),
    };
  }

  /**
   * Computes all layers of the fine-tune alone.
   *
   * @param see is told, stage by stage, the second moment `[cols, cols]` of what linear layers take, by their names; nothing where it is left out
   * @returns that of what the output head takes, `[hidden, hidden]`
   */
  async survey(signal: AbortSignal, onLayer: (layer: number) => void, see?: Surveyor): Promise<Float32Array> {
    using weights = this.#layerWeights();
    const stream = new Stream(this.#context, weights, await this.#read(embeddingName));
    for (let layer = 0; layer < this.#context.config.layers; layer++) {
      await this.#loadLayer(layer, weights);
      for (const stage of stages) {
        signal.throwIfAborted();
        stream.enter(stage);
        await see?.(namesOf(layer, stage), momentOf(this.#context, stream));
        stream.leave(stage);
      }
      onLayer(layer);
    }
    stream.enterHead(await this.#read("model.norm.weight"));
    return momentOf(this.#context, stream);
  }

  /**
   * Has every linear layer compressed in turn, and the output head where it is a matrix of its own.
   *
   * @param embedding the compressed model's, `[vocabulary, hidden]`
   */
  async run(embedding: Float32Array, compress: Compressor, signal: AbortSignal): Promise<void> {
    using tunedWeights = this.#layerWeights();
    using studentWeights = this.#layerWeights();
    const tuned = new Stream(this.#context, tunedWeights, await this.#read(embeddingName));
    const student = new Stream(this.#context, studentWeights, embedding);
    for (let layer = 0; layer < this.#context.config.layers; layer++) {
      await this.#loadLayer(layer, tunedWeights, studentWeights);
      for (const stage of stages) {
        signal.throwIfAborted();
        tuned.enter(stage);
        student.enter(stage);
        using seen = new StageStatistics(this.#context, { tuned, student }, stage.addsToStream);
        const { moment } = seen;
        // Matrices of a stage do not wait for each other. All have come to rest before what they write to is given back.
        const names = namesOf(layer, stage);
        await inLanes(names, names.length, async (name) => {
          const drift = seen.driftOf(tunedWeights.get(name));
          studentWeights.write(name, await compress(name, { moment, drift }));
        });
        tuned.leave(stage);
        student.leave(stage);
      }
    }
    if (!this.#context.config.tiedEmbeddings) await this.#compressHead(tuned, student, compress);
  }

  [Symbol.dispose](): void {
    this.#context.memory[Symbol.dispose]();
  }

  async #compressHead(tuned: Stream, student: Stream, compress: Compressor): Promise<void> {
    const { config, device } = this.#context;
    const name = headName(config);
    const scale = await this.#read("model.norm.weight");
    tuned.enterHead(scale);
    student.enterHead(scale);
    using seen = new StageStatistics(this.#context, { tuned, student }, false);
    using arena = new Arena(device, [{ name, dtype: "f32", shape: [config.hiddenSize, config.vocabSize] }]);
    arena.get(name).write(await this.#read(name));
    await compress(name, { moment: seen.moment, drift: seen.driftOf(arena.get(name)) });
  }

  #layerWeights(): LayerWeights {
    return new LayerWeights(this.#context.device, this.#context.config);
  }

  /** The fine-tune's parameters of a layer; its norms and biases are the compressed model's too. */
  async #loadLayer(layer: number, tuned: LayerWeights, student?: LayerWeights): Promise<void> {
    for (const { name, kind } of tuned.parametersOf(layer)) {
      const values = await this.#read(name);
      tuned.write(name, values);
      if (kind === "vector") student?.write(name, values);
    }
  }

  #read(name: string): Promise<Float32Array> {
    return readValues(this.#tuned, name);
  }
}

function namesOf(layer: number, { matrices }: Stage): string[] {
  return matrices.map((matrix) => `model.layers.${layer}.${matrix}.weight`);
}
