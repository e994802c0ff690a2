/**
 * Words are drawn from flatter distributions than the model's: where it is sure, its own would say nothing of how little is between the
 * first word and the next, which errors that are not small overcome; and fewer draws tell as much.
 */
const temperature = 3;

/**
 * Draws a word for each row and turns the logits `[rows, vocabulary]` into the gradient of its log probability, times the root of the
 * row's weight. Adds the weighted mean of its square, p(1 − p), to `sums`.
 *
 * @param chance a number in [0, 1) for each row
 */
export function drawWords(
  logits: Float32Array,
  weights: Float64Array,
  sums: Float64Array,
  chance: (at: number) => number,
): void {
  const vocabulary = sums.length;
  for (let at = 0; at < weights.length; at++) {
    const row = logits.subarray(at * vocabulary, (at + 1) * vocabulary);
    const max = row.reduce((largest, value) => Math.max(largest, value), Number.NEGATIVE_INFINITY);
    let total = 0;
    for (let i = 0; i < vocabulary; i++) {
      row[i] = Math.exp((row[i]! - max) / temperature);
      total += row[i]!;
    }
    const weight = weights[at]!;
    const root = Math.sqrt(weight);
    let left = chance(at) * total;
    let drawn = 0;
    for (let i = 0; i < vocabulary; i++) {
      if (left > 0) drawn = i;
      left -= row[i]!;
      const probability = row[i]! / total;
      sums[i]! += weight * probability * (1 - probability);
      row[i] = -root * probability;
    }
    row[drawn]! += root;
  }
}
