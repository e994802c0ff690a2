import { dtypes } from "../core/index.js";
import { alignUp, assert } from "../util/index.js";
import { allThreads } from "./activations.js";
import { type Graph, GraphError } from "./graph.js";
import type { Kernels } from "./kernels.js";
import { pointers, type Tensor } from "./tensor.js";

/**
 * How a token is drawn from a row of logits: with adjustments first, then temperature, top-k, top-p and min-p, each over what the
 * one before left. A token is a word here.
 */
export interface Draw {
  /** Logits that count, from the first on; at most 2^19. */
  readonly words: number;
  /** 0 takes the likeliest. */
  readonly temperature: number;
  /** Where in the sum of all weights, in the order of words: [0, 1). */
  readonly u: number;
  /** Keeps this many of the likeliest words; 0 keeps all. Of equals the first stay, here as in top-p. */
  readonly topK: number;
  /** Keeps the fewest of the likeliest words whose probabilities reach this sum; 1 keeps all. */
  readonly topP: number;
  /** Keeps words that are at least this fraction as likely as the likeliest. */
  readonly minP: number;
  /** Divides positive logits of all words heard and multiplies negative ones. */
  readonly repetitionPenalty: number;
  /** Subtracted from words heard that were generated: once, and once for each time. */
  readonly presencePenalty: number;
  readonly frequencyPenalty: number;
  /** Pairs of a word and how often it was generated; 0 for what was in the prompt alone. Each word once. */
  readonly heard: Int32Array;
  /** Added to words' logits after that. */
  readonly biases: ReadonlyArray<readonly [word: number, bias: number]>;
  /** Report so many of the likeliest words, at most 64; null for no report. */
  readonly likeliest: number | null;
}

/** What a row was before adjustments. */
export interface RowReport {
  /** Of e^(logit − largest logit) over all words. */
  readonly sum: number;
  /** The largest first, of equals the first; NaN is not among them. */
  readonly likeliest: readonly number[];
  /** The word with the largest logit; 0 where none is a number. */
  readonly best: number;
}

/** What came of a draw. */
export interface Drawn {
  readonly word: number;
  /** Where it was asked for. */
  readonly report?: RowReport;
}

/** Up to so many, doubles hold the sum of their weights whatever they are. */
const wordsMax = 2 ** 19;
/** As in native/logits.h. */
const likeliestMax = 64;
/** What the likeliest word weighs; all weights are whole. */
export const heaviest = 2 ** 34;

// As native/logits.h draws them, and there is no padding:
//
//   struct draw        words i64 | temperature, part, top_p, min_p f64 | top_k i64 | repetition, presence, frequency f64
//                      | first, heard, biases, likeliest i32
//   struct adjustment  word i32 | times generated i32, or bias f32
//   struct report      sum f64 | best, count, likeliest i32 × 64
const drawDoubles = 11;
const drawInts = 2 * drawDoubles;
const adjustmentInts = 2;
const reportBytes = 16 + 4 * likeliestMax;
/** What words lie in, in a thread's memory, and bytes for each such chunk. */
const chunkWords = 512;
const chunkBytes = 20 * chunkWords + 64;

/** Draws as {@link drawRows} takes them. */
export interface PackedDraws {
  /** `[22, rows]` i32 */
  readonly draws: Int32Array;
  /** `[2, a power of two]` i32, so that seldom another graph is wanted. */
  readonly adjustments: Int32Array;
}

/** Rows without a draw are not drawn. */
export function packDraws(draws: readonly (Draw | undefined)[]): PackedDraws {
  const heardOf = (draw: Draw) => draw.heard.length / adjustmentInts;
  const total = draws.reduce((sum, draw) => sum + (draw ? heardOf(draw) + draw.biases.length : 0), 1);
  const adjustments = new Int32Array(adjustmentInts * 2 ** Math.ceil(Math.log2(total)));
  const biases = new Float32Array(adjustments.buffer);
  const ints = new Int32Array(drawInts * draws.length);
  const doubles = new Float64Array(ints.buffer);
  const longs = new BigInt64Array(ints.buffer);
  let at = 0;
  draws.forEach((draw, row) => {
    if (!draw) return;
    assertDraw(draw);
    const first = row * drawDoubles;
    longs[first] = BigInt(draw.words);
    doubles[first + 1] = draw.temperature;
    doubles[first + 2] = draw.u;
    doubles[first + 3] = draw.topP;
    doubles[first + 4] = draw.minP;
    longs[first + 5] = BigInt(draw.topK);
    doubles[first + 6] = draw.repetitionPenalty;
    doubles[first + 7] = draw.presencePenalty;
    doubles[first + 8] = draw.frequencyPenalty;
    ints[2 * first + 18] = at / adjustmentInts;
    ints[2 * first + 19] = heardOf(draw);
    ints[2 * first + 20] = draw.biases.length;
    ints[2 * first + 21] = draw.likeliest ?? -1;
    adjustments.set(draw.heard, at);
    at += draw.heard.length;
    for (const [word, bias] of draw.biases) {
      adjustments[at] = word;
      biases[at + 1] = bias;
      at += adjustmentInts;
    }
  });
  return { draws: ints, adjustments };
}

/** What {@link drawRows} draws from, and how. */
export interface RowsToDraw {
  /** `[vocabulary, rows]` f32 */
  readonly logits: Tensor;
  /** Logits of words beyond the vocabulary: of each of the first rows as many, f32. */
  readonly extraLogits?: Tensor | undefined;
  /** As {@link packDraws} makes them. */
  readonly draws: Tensor;
  readonly adjustments: Tensor;
  /** Of the device. */
  readonly threads: number;
}

/**
 * A word for each row, drawn by all threads while the logits are near; by kernels alone. `drawRow` draws the same.
 *
 * @returns for {@link readDraws}
 */
export function drawRows(g: Graph, { draw }: Kernels, rowsToDraw: RowsToDraw): Tensor {
  const { logits, extraLogits, draws, adjustments, threads } = rowsToDraw;
  const [vocabulary, rows] = logits.extents;
  const operands = [logits, draws, adjustments, ...(extraLogits ? [extraLogits] : [])];
  const isFlat = (tensor: Tensor, dtype: string) => tensor.dtype === dtype && tensor.isContiguous;
  const areFlat = isFlat(logits, "f32") && (!extraLogits || isFlat(extraLogits, "f32"));
  if (!areFlat || !isFlat(draws, "i32") || draws.elements !== drawInts * rows || !isFlat(adjustments, "i32")) {
    throw new GraphError("drawRows", `rows of f32, ${drawInts} i32 a draw and a list of i32 are wanted`, operands);
  }
  const chunks = Math.ceil((vocabulary + (extraLogits?.extents[0] ?? 0)) / chunkWords);
  const ints = (reportsAt(rows) + alignUp(reportBytes * rows, 64) + chunkBytes * chunks * threads) / 4;
  return g.operation("drawRows", operands, [ints, 1, 1, 1], (base, c) =>
    base.custom(c, dtypes.i32.id, ints, 1, 1, 1, pointers(operands), operands.length, draw, allThreads, 0n),
  );
}

const reportsAt = (rows: number) => alignUp(4 * rows, 64);

/** What {@link drawRows} drew; undefined for rows without a draw. */
export function readDraws(drawn: Tensor, draws: readonly (Draw | undefined)[]): (Drawn | undefined)[] {
  const words = new Int32Array(draws.length);
  if (draws.length > 0) drawn.read(words);
  return draws.map((draw, row) => {
    if (!draw) return undefined;
    if (draw.likeliest === null) return { word: words[row]! };
    const report = new Int32Array(reportBytes / 4);
    drawn.read(report, reportsAt(draws.length) + row * reportBytes);
    const sum = new Float64Array(report.buffer, 0, 1)[0]! / heaviest;
    const likeliest = [...report.subarray(4, 4 + report[3]!)];
    return { word: words[row]!, report: { sum, likeliest, best: report[2]! } };
  });
}

/** Holds a draw against what it may ask for. */
export function assertDraw({ words, u, minP, likeliest }: Draw): void {
  assert(words >= 1 && words <= wordsMax, `a draw is from 1 to ${wordsMax} words, not ${words}`);
  assert(u >= 0 && u < 1 && minP <= 1, `nothing is left to draw at ${u} of what has at least ${minP} of the most`);
  assert((likeliest ?? 0) <= likeliestMax, `a report has room for ${likeliestMax} words, not for ${likeliest}`);
}
