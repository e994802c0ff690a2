import type { MatrixShape } from "../formats/index.js";
import type { CodeBook } from "./code-book.js";
import { HALF_MAX } from "./codec.js";
import { roundToHalf } from "./planes.js";
import { type Solution, valueAt } from "./solution.js";

/**
 * How much more of a real input than of a random one a difference passes on: ‖Δx‖² over ‖Δ‖²‖x‖² / columns. Fine-tuning
 * adds up products of gradients and inputs, so Δ is aligned with inputs; what a code misses of it hardly is. Measured
 * over the matrices of the fine-tunes in models/tiny it is 1 to 33, mostly 3 to 9. Little depends on its value: half or
 * twice as much changes the divergence from a fine-tune by at most 15 %, while 1, no gain, about doubles it for two planes.
 */
const COHERENCE = 8;

/**
 * The factor by which the best approximation of a block is to be enlarged.
 *
 * An approximation Δ̂ with the least squared error is too small: it is ρΔ plus noise of energy ρ(1 − ρ)‖Δ‖² that is
 * orthogonal to Δ, where 1 − ρ is the share of ‖Δ‖² that is lost. Every layer then does only ρ of what the fine-tune had
 * learnt, and that adds up over layers, while noise averages out. Enlarging Δ̂ by g loses
 * coherence · (1 − gρ)² + g²ρ(1 − ρ) of the layer's output, the least where g = coherence / (coherence · ρ + 1 − ρ).
 * This is 1 for an exact approximation, and at most the coherence.
 *
 * @param squaredError of the least-squares approximation, ‖Δ − Δ̂‖²
 * @param sumOfSquares ‖Δ‖²
 */
export function gainOf(squaredError: number, sumOfSquares: number): number {
  if (sumOfSquares === 0) return 1;
  const lost = squaredError / sumOfSquares;
  return COHERENCE / (COHERENCE * (1 - lost) + lost);
}

/**
 * Enlarges the rows of a solution that a solver found for an embedding: its calibration speaks of the output head, while as a token's
 * own vector each row is under the same law as {@link gainOf}. With Δ̂ = (⟨Δ̂, Δ⟩ / ‖Δ‖²) Δ + noise, the gain is
 * coherence · a / (coherence · a² / n + b − a² / n), a = ⟨Δ̂, Δ⟩, b = ‖Δ̂‖², n = ‖Δ‖².
 */
export function enlargeRows(difference: Float32Array, shape: MatrixShape, book: CodeBook, solution: Solution): void {
  const { rows, cols } = shape;
  const rowScales = Math.ceil(cols / book.blockSize) * book.scales;
  for (let row = 0; row < rows; row++) {
    let [inner, own, whole] = [0, 0, 0];
    for (let at = row * cols; at < (row + 1) * cols; at++) {
      const value = valueAt(solution, book, shape, at);
      inner += value * difference[at]!;
      own += value * value;
      whole += difference[at]! ** 2;
    }
    if (inner <= 0) continue;
    const along = (inner * inner) / whole;
    const gain = (COHERENCE * inner) / (COHERENCE * along + own - along);
    for (let at = row * rowScales; at < (row + 1) * rowScales; at++) {
      solution.scales[at] = roundToHalf(solution.scales[at]! * gain);
    }
  }
}

/** A scale times a gain, at most what half precision reaches. */
export function enlarge(scale: number, gain: number): number {
  return Math.min(scale * gain, HALF_MAX);
}
