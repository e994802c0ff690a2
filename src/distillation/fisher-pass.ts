import { embeddingName, headName } from "../core/index.js";
import { type BindInput, type Graph, gradients, type Tensor } from "../ggml/index.js";
import { uniformAt } from "../util/index.js";
import { type Batch, packBatch } from "./batch.js";
import { Block, type GradientSink, norm, normBack } from "./block.js";
import { drawWords } from "./drawn-words.js";
import { feedRows, finalNormName, type PassConstants } from "./pass.js";
import { countedTokens } from "./samples.js";
import type { Sensitivity, WeightedSample } from "./sensitivity.js";
import { expand, type StoredWeights } from "./stored-weights.js";
import { addRows, columnsOf, logitsOf, piecesOf, takeRows } from "./vocabulary.js";
import type { Workspace } from "./workspace.js";

const { sumRows, transpose } = gradients;

/** Tokens that are computed at once, unless one sample alone has more. */
const batchTokensMax = 512;
/** Rows whose logits over the whole vocabulary are in memory at a time. */
const logitRows = 256;

/** Where a pass computes. */
export interface PassPlace {
  readonly workspace: Workspace;
  readonly constants: PassConstants;
  /** The vocabulary's two ends and the final norm. */
  readonly ends: StoredWeights;
}

/** Samples that are computed at once, on their way. */
interface Traveller {
  readonly batch: Batch;
  /** Of the counted rows; 0 for fillers. */
  readonly weights: Float64Array;
  /** What each layer took, and what came last. */
  readonly states: Float32Array[];
  readonly middles: Float32Array[];
  /** On the way back, of what the layer before gives. */
  gradient: Float32Array;
}

/** The way of samples through a model and back, a layer at a time for all of them; sums up squared gradients. */
export class FisherPass {
  readonly #place: PassPlace;
  readonly #travellers: readonly Traveller[];
  readonly #outputs = new Map<string, Float64Array>();

  constructor(place: PassPlace, samples: readonly WeightedSample[]) {
    this.#place = place;
    this.#travellers = travellersOf(samples, place);
  }

  /** Once it is back. */
  get sensitivity(): Sensitivity {
    let sum = 0;
    for (const { gradient } of this.#travellers) for (const slope of gradient) sum += slope ** 2;
    return { outputs: this.#outputs, embedded: sum / this.#place.constants.config.hiddenSize };
  }

  forward(layer: number, weights: StoredWeights): void {
    const { workspace, constants } = this.#place;
    for (const { batch, states, middles } of this.#travellers) {
      workspace.compute((g, feed) => {
        const { middle, output } = this.#block(g, feed, layer, weights, batch).forward(
          feedRows(feed, constants.config, states.at(-1)!),
        );
        g.output(middle);
        g.output(output);
        return () => {
          middles.push(middle.values());
          states.push(output.values());
        };
      });
    }
  }

  /** Draws words from what the last layer gives, and begins the way back. */
  turn(): void {
    const { config } = this.#place.constants;
    const { hiddenSize } = config;
    const sums = new Float64Array(config.vocabSize);
    this.#outputs.set(headName(config), sums);
    for (const [index, { batch, weights, states, gradient }] of this.#travellers.entries()) {
      const last = states.pop()!;
      for (let first = 0; first < batch.counted.length; first += logitRows) {
        const rows = batch.counted.subarray(first, first + logitRows);
        const taken = takeRows(last, hiddenSize, rows);
        const slopes = this.#logits(taken);
        drawWords(slopes, weights.subarray(first, first + rows.length), sums, (at) => uniformAt(index, first + at));
        addRows(gradient, this.#logitsBack(taken, slopes), hiddenSize, rows);
      }
    }
  }

  backward(layer: number, weights: StoredWeights): void {
    const { workspace, constants } = this.#place;
    for (const traveller of this.#travellers) {
      const from = [traveller.states.pop()!, traveller.middles.pop()!, traveller.gradient];
      traveller.gradient = workspace.compute((g, feed) => {
        const [x, middle, dy] = from.map((values) => feedRows(feed, constants.config, values));
        const squares = new SquareSink(g, this.#outputs);
        const dx = this.#block(g, feed, layer, weights, traveller.batch).backward(x!, middle!, dy!, squares);
        g.output(dx);
        return () => {
          squares.collect();
          return dx.values();
        };
      });
    }
  }

  #block(g: Graph, feed: BindInput, layer: number, weights: StoredWeights, batch: Batch): Block {
    const { config, rowNumbers } = this.#place.constants;
    return new Block(g, config, layer, weights.in(g, rowNumbers), this.#place.constants.blockInputs(feed, batch));
  }

  /** Final norm and output head: x `[rows, hidden]` → `[rows, vocabulary]` */
  #logits(x: Float32Array): Float32Array {
    const { workspace, constants, ends } = this.#place;
    const { config, rowNumbers } = constants;
    const normed = workspace.compute((g, feed) => {
      const result = norm(g, ends.in(g, rowNumbers), finalNormName, feedRows(feed, config, x), config.rmsNormEps);
      g.output(result);
      return () => result.values();
    });
    return logitsOf(workspace, normed, {
      hidden: config.hiddenSize,
      pieces: piecesOf(0, config.vocabSize),
      at: (g, _, { first, count }) => expand(g, g.rows(ends.get(headName(config)), first, count), rowNumbers),
    });
  }

  /** The gradient of {@link #logits}' x from that of the logits. */
  #logitsBack(x: Float32Array, slopes: Float32Array): Float32Array {
    const { workspace, constants, ends } = this.#place;
    const { config, rowNumbers } = constants;
    const rows = x.length / config.hiddenSize;
    const sum = new Float32Array(x.length);
    for (const piece of piecesOf(0, config.vocabSize)) {
      const part = workspace.compute((g, feed) => {
        const head = expand(g, g.rows(ends.get(headName(config)), piece.first, piece.count), rowNumbers);
        const dx = g.mulMat(transpose(g, head), feed("f32", [piece.count, rows], columnsOf(slopes, rows, piece)));
        g.output(dx);
        return () => dx.values();
      });
      for (let i = 0; i < sum.length; i++) sum[i]! += part[i]!;
    }
    return workspace.compute((g, feed) => {
      const from = { x: feedRows(feed, config, x), dy: feedRows(feed, config, sum), eps: config.rmsNormEps };
      const dx = normBack(g, ends.in(g, rowNumbers), finalNormName, from, new SquareSink(g, this.#outputs));
      g.output(dx);
      return () => dx.values();
    });
  }
}

/** Adds the squares of matrices' output gradients to sums by name. */
class SquareSink implements GradientSink {
  readonly #g: Graph;
  readonly #sums: Map<string, Float64Array>;
  readonly #seen = new Map<string, Tensor>();

  constructor(g: Graph, sums: Map<string, Float64Array>) {
    this.#g = g;
    this.#sums = sums;
  }

  matrixGradient(name: string, _x: Tensor, dy: Tensor): void {
    const squares = sumRows(this.#g, transpose(this.#g, this.#g.mul(dy, dy))); // [1, out]
    this.#g.output(squares);
    this.#seen.set(name, squares);
  }

  vectorGradient(): void {
    // Vectors are stored as they are: there is no error in them.
  }

  /** Once the graph was computed. */
  collect(): void {
    for (const [name, tensor] of this.#seen) {
      const values = tensor.values();
      const sums = this.#sums.get(name) ?? new Float64Array(values.length);
      for (let i = 0; i < values.length; i++) sums[i]! += values[i]!;
      this.#sums.set(name, sums);
    }
  }
}

function travellersOf(samples: readonly WeightedSample[], { workspace, ends }: PassPlace): Traveller[] {
  const total = samples.reduce((sum, sample) => sum + sample.weight * countedTokens(sample), 0);
  return groupsOf(samples).map((group) => {
    const batch = packBatch(group);
    const weights = new Float64Array(batch.counted.length);
    let at = 0;
    for (const sample of group) {
      const end = at + countedTokens(sample);
      weights.fill(sample.weight / total, at, end);
      at = end;
    }
    const embedded = workspace.compute((g, feed) => {
      const rows = g.getRows(ends.get(embeddingName), feed("i32", [batch.tokens.length], batch.tokens));
      g.output(rows);
      return () => rows.values();
    });
    return { batch, weights, states: [embedded], middles: [], gradient: new Float32Array(embedded.length) };
  });
}

/** Samples in order, in groups of few tokens. */
function groupsOf(samples: readonly WeightedSample[]): WeightedSample[][] {
  const groups: WeightedSample[][] = [];
  let tokens = 0;
  for (const sample of samples) {
    if (groups.length === 0 || tokens + sample.tokens.length > batchTokensMax) {
      groups.push([]);
      tokens = 0;
    }
    groups.at(-1)!.push(sample);
    tokens += sample.tokens.length;
  }
  return groups;
}
