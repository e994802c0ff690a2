import { embeddingName, headName } from "../core/index.js";
import { type Graph, gradients } from "../ggml/index.js";
import { type Batch, packBatch } from "./batch.js";
import { Block, norm, normBack } from "./block.js";
import { divergence } from "./divergence.js";
import type { ExtraRows } from "./extra-rows.js";
import { feedRows, finalNormName, type PassConstants } from "./pass.js";
import type { TrainingSample } from "./samples.js";
import type { RowWindow } from "./stored-weights.js";
import { StudentGraph } from "./student-graph.js";
import type { StudentWeights } from "./student-weights.js";
import type { Teacher } from "./teacher.js";
import { addRows, columnsOf, logitsOf, piecesOf, takeRows } from "./vocabulary.js";
import type { Workspace } from "./workspace.js";

const { transpose } = gradients;

/** Rows whose logits over the whole vocabulary are in memory at a time, the fine-tune's and the student's. */
const LOGIT_ROWS = 256;

/** Computes the student on batches of samples, and how far it is from the fine-tune. */
export class Trainer {
  readonly #workspace: Workspace;
  readonly #constants: PassConstants;
  readonly #weights: StudentWeights;
  readonly #teacher: Teacher;
  readonly #extra: ExtraRows;

  constructor(
    workspace: Workspace,
    parts: { constants: PassConstants; weights: StudentWeights; teacher: Teacher; extra: ExtraRows },
  ) {
    this.#workspace = workspace;
    this.#constants = parts.constants;
    this.#weights = parts.weights;
    this.#teacher = parts.teacher;
    this.#extra = parts.extra;
  }

  /** Mean over the samples of the mean divergence a counted token, in nats. */
  loss(samples: readonly TrainingSample[]): number {
    const batch = packBatch(samples);
    let x = this.#embed(batch);
    for (let layer = 0; layer < this.#constants.config.layers; layer++) x = this.#forward(layer, batch, x).output;
    return this.#head(samples, batch, x, false).loss;
  }

  /** {@link loss}, with its gradient added to that of everything that is trained. */
  lossAndGradients(samples: readonly TrainingSample[]): number {
    const batch = packBatch(samples);
    const { layers } = this.#constants.config;
    const kept: { x: Float32Array; middle: Float32Array }[] = [];
    let x = this.#embed(batch);
    for (let layer = 0; layer < layers; layer++) {
      const { middle, output } = this.#forward(layer, batch, x);
      kept.push({ x, middle });
      x = output;
    }
    const { loss, dx } = this.#head(samples, batch, x, true);
    let dy = dx;
    for (let layer = layers - 1; layer >= 0; layer--) dy = this.#backward(layer, batch, kept[layer]!, dy);
    this.#embedBack(batch, dy);
    return loss;
  }

  #embed(batch: Batch): Float32Array {
    const { hiddenSize } = this.#constants.config;
    const numbers = this.#baseTokens(batch);
    const x = this.#workspace.compute((g, feed) => {
      const rows = this.#student(g).rows(embeddingName, feed("i32", [numbers.length], numbers));
      g.output(rows);
      return () => rows.values();
    });
    const baseRows = this.#baseRows;
    batch.tokens.forEach((token, row) => {
      if (token < baseRows) return;
      const start = (token - baseRows) * hiddenSize;
      x.set(this.#extra.embedding.subarray(start, start + hiddenSize), row * hiddenSize);
    });
    return x;
  }

  #embedBack(batch: Batch, dy: Float32Array): void {
    const { config } = this.#constants;
    const numbers = this.#baseTokens(batch);
    const own = dy.slice();
    batch.tokens.forEach((token, row) => {
      if (token >= this.#baseRows) own.fill(0, row * config.hiddenSize, (row + 1) * config.hiddenSize);
    });
    this.#workspace.compute((g, feed) => {
      const student = this.#student(g);
      const tensor = feed("i32", [numbers.length], numbers);
      student.rowsGradient(embeddingName, { tensor, values: numbers }, feedRows(feed, config, own));
      return () => student.collect();
    });
  }

  #forward(layer: number, batch: Batch, x: Float32Array): { middle: Float32Array; output: Float32Array } {
    const { config } = this.#constants;
    return this.#workspace.compute((g, feed) => {
      const block = new Block(g, config, layer, this.#student(g), this.#constants.blockInputs(feed, batch));
      const { middle, output } = block.forward(feedRows(feed, config, x));
      g.output(middle);
      g.output(output);
      return () => ({ middle: middle.values(), output: output.values() });
    });
  }

  #backward(
    layer: number,
    batch: Batch,
    kept: { x: Float32Array; middle: Float32Array },
    dy: Float32Array,
  ): Float32Array {
    const { config } = this.#constants;
    return this.#workspace.compute((g, feed) => {
      const student = this.#student(g);
      const block = new Block(g, config, layer, student, this.#constants.blockInputs(feed, batch));
      const [x, middle, gradient] = [kept.x, kept.middle, dy].map((values) => feedRows(feed, config, values));
      const dx = block.backward(x!, middle!, gradient!, student);
      g.output(dx);
      return () => {
        student.collect();
        return dx.values();
      };
    });
  }

  /** Final norm, output head and divergence of the counted rows; with `wantsGradients`, the way back to the last block's output. */
  #head(
    samples: readonly TrainingSample[],
    batch: Batch,
    x: Float32Array,
    wantsGradients: boolean,
  ): { loss: number; dx: Float32Array } {
    const { hiddenSize } = this.#constants.config;
    const states = this.#teacher.statesOf(samples, batch.counted.length);
    const dx = new Float32Array(wantsGradients ? x.length : 0);
    let loss = 0;
    for (let first = 0; first < batch.counted.length; first += LOGIT_ROWS) {
      const rows = batch.counted.subarray(first, first + LOGIT_ROWS);
      const taken = takeRows(x, hiddenSize, rows);
      const normed = this.#finalNorm(taken);
      const wanted = this.#teacher.logits(states.subarray(first * hiddenSize, (first + rows.length) * hiddenSize));
      const logits = this.#logits(normed);
      loss += divergence(wanted, logits, batch.weights.subarray(first, first + rows.length));
      if (!wantsGradients) continue;
      const dTaken = this.#finalNormBack(taken, this.#logitsBack(normed, logits));
      addRows(dx, dTaken, hiddenSize, rows);
    }
    return { loss, dx };
  }

  #finalNorm(x: Float32Array): Float32Array {
    const { config } = this.#constants;
    return this.#workspace.compute((g, feed) => {
      const normed = norm(g, this.#student(g), finalNormName, feedRows(feed, config, x), config.rmsNormEps);
      g.output(normed);
      return () => normed.values();
    });
  }

  #finalNormBack(x: Float32Array, dy: Float32Array): Float32Array {
    const { config } = this.#constants;
    return this.#workspace.compute((g, feed) => {
      const student = this.#student(g);
      const from = { x: feedRows(feed, config, x), dy: feedRows(feed, config, dy), eps: config.rmsNormEps };
      const dx = normBack(g, student, finalNormName, from, student);
      g.output(dx);
      return () => {
        student.collect();
        return dx.values();
      };
    });
  }

  #logits(normed: Float32Array): Float32Array {
    const { config, rowNumbers } = this.#constants;
    return logitsOf(this.#workspace, normed, {
      hidden: config.hiddenSize,
      pieces: this.#pieces,
      at: (g, feed, piece) =>
        piece.first < this.#baseRows
          ? new StudentGraph(g, this.#weights, rowNumbers, piece).matrix(headName(config))
          : feedRows(feed, config, this.#extraHead(piece)),
    });
  }

  /** The gradient of {@link #logits}' input from that of the logits. */
  #logitsBack(normed: Float32Array, dLogits: Float32Array): Float32Array {
    const { config, rowNumbers } = this.#constants;
    const rows = normed.length / config.hiddenSize;
    const total = new Float32Array(normed.length);
    for (const piece of this.#pieces) {
      const part = this.#workspace.compute((g, feed) => {
        const student = new StudentGraph(g, this.#weights, rowNumbers, piece);
        const isOwn = piece.first < this.#baseRows;
        const weight = isOwn ? student.matrix(headName(config)) : feedRows(feed, config, this.#extraHead(piece));
        const dy = feed("f32", [piece.count, rows], columnsOf(dLogits, rows, piece));
        if (isOwn) student.matrixGradient(headName(config), feedRows(feed, config, normed), dy);
        const dx = g.mulMat(transpose(g, weight), dy);
        g.output(dx);
        return () => {
          student.collect();
          return dx.values();
        };
      });
      for (let i = 0; i < total.length; i++) total[i]! += part[i]!;
    }
    return total;
  }

  /** The vocabulary in pieces, none of which has both rows of the base's and others. */
  get #pieces(): RowWindow[] {
    return [...piecesOf(0, this.#baseRows), ...piecesOf(this.#baseRows, this.#constants.config.vocabSize)];
  }

  /** Tokens as rows of the base's embedding; those it does not have as 0. */
  #baseTokens({ tokens }: Batch): Int32Array {
    return tokens.map((token) => (token < this.#baseRows ? token : 0));
  }

  #extraHead({ first, count }: RowWindow): Float32Array {
    const { hiddenSize } = this.#constants.config;
    const start = (first - this.#baseRows) * hiddenSize;
    return this.#extra.head.subarray(start, start + count * hiddenSize);
  }

  get #baseRows(): number {
    return this.#weights.base.get(embeddingName).extents[1];
  }

  #student(g: Graph): StudentGraph {
    return new StudentGraph(g, this.#weights, this.#constants.rowNumbers);
  }
}
