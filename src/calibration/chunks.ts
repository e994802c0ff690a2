import { assert } from "../util/index.js";

/** A text that stands for what a variant will be asked and will say. */
export interface CalibrationSequence {
  readonly tokens: readonly number[];
  /** How much each of its tokens counts, beside those of other sequences. */
  readonly weight: number;
}

/** Several whole sequences that are computed at once; each sees itself alone. */
export interface Chunk {
  readonly tokens: Int32Array;
  /** Within each token's own sequence. */
  readonly positions: Int32Array;
  /** Half floats, `[tokens][tokens]`: 0 where a row may look, −∞ where not. */
  readonly mask: Uint16Array;
  /** Square roots of the tokens' weights, which sum to 1 over all chunks. */
  readonly rootWeights: Float32Array;
}

const minusInfinity = 0xfc00;

/**
 * Packs sequences into chunks of at most `tokensMax` tokens, in order.
 *
 * @param slidingWindow positions that a token may look back over, itself included; null for all
 */
export function packChunks(
  sequences: readonly CalibrationSequence[],
  options: { tokensMax: number; slidingWindow: number | null },
): Chunk[] {
  const total = sequences.reduce((sum, { tokens, weight }) => sum + tokens.length * weight, 0);
  assert(total > 0, "there is nothing to calibrate on");
  const chunks: Chunk[] = [];
  for (let first = 0; first < sequences.length; ) {
    let end = first;
    let count = 0;
    while (end < sequences.length && (end === first || count + sequences[end]!.tokens.length <= options.tokensMax)) {
      count += sequences[end]!.tokens.length;
      end += 1;
    }
    chunks.push(packChunk(sequences.slice(first, end), count, total, options.slidingWindow));
    first = end;
  }
  return chunks;
}

function packChunk(
  sequences: readonly CalibrationSequence[],
  count: number,
  total: number,
  slidingWindow: number | null,
): Chunk {
  const mask = new Uint16Array(count * count).fill(minusInfinity);
  const positions = new Int32Array(count);
  const rootWeights = new Float32Array(count);
  let first = 0;
  for (const { tokens, weight } of sequences) {
    for (let position = 0; position < tokens.length; position++) {
      const row = first + position;
      const from = slidingWindow === null ? 0 : Math.max(0, position + 1 - slidingWindow);
      mask.fill(0, row * count + first + from, row * count + row + 1);
      positions[row] = position;
      rootWeights[row] = Math.sqrt(weight / total);
    }
    first += tokens.length;
  }
  return { tokens: Int32Array.from(sequences.flatMap(({ tokens }) => tokens)), positions, mask, rootWeights };
}
