import { alignUp } from "../util/index.js";
import { countedTokens, type TrainingSample } from "./samples.js";

/** Samples side by side in one pass: rows one after the other, each attending to earlier rows of its own sample. */
export interface Batch {
  /** One a row; after the samples' come fillers that nothing looks at, up to a multiple of {@link ROW_MULTIPLE}. */
  readonly tokens: Int32Array;
  /** Each row's position in its sample. */
  readonly positions: Int32Array;
  /** Rows whose next-token distributions count, by sample; then fillers, likewise. */
  readonly counted: Int32Array;
  /** How much each counted row weighs in the loss: every sample alike, whatever its length, and fillers not. They sum up to 1. */
  readonly weights: Float32Array;
}

/** ggml's fast products want inner dimensions of whole vectors, and rows are one of them on the way back. */
const ROW_MULTIPLE = 16;

const filledUp = (rows: number) => alignUp(rows, ROW_MULTIPLE);

export function packBatch(samples: readonly TrainingSample[]): Batch {
  const total = samples.reduce((sum, { tokens }) => sum + tokens.length, 0);
  const totalCounted = samples.reduce((sum, sample) => sum + countedTokens(sample), 0);
  const tokens = new Int32Array(filledUp(total));
  const positions = new Int32Array(filledUp(total));
  const counted = new Int32Array(filledUp(totalCounted));
  const weights = new Float32Array(filledUp(totalCounted));
  let first = 0;
  let at = 0;
  for (const sample of samples) {
    const weight = 1 / (countedTokens(sample) * samples.length);
    sample.tokens.forEach((token, position) => {
      tokens[first + position] = token;
      positions[first + position] = position;
      if (position < sample.from) return;
      counted[at] = first + position;
      weights[at++] = weight;
    });
    first += sample.tokens.length;
  }
  return { tokens, positions, counted, weights };
}

/**
 * 0 where a row may look at another, else −∞: `[rows, rows]`, the row looked at the fastest.
 *
 * @param slidingWindow positions that a row may look back over, itself included; null for all
 */
export function maskOf({ positions }: Batch, slidingWindow: number | null): Float32Array {
  const rows = positions.length;
  const mask = new Float32Array(rows * rows).fill(Number.NEGATIVE_INFINITY);
  for (let row = 0; row < rows; row++) {
    const seen = Math.min(positions[row]! + 1, slidingWindow ?? Number.POSITIVE_INFINITY);
    mask.fill(0, row * rows + row + 1 - seen, row * rows + row + 1);
  }
  return mask;
}
