import type { MatrixShape } from "../formats/index.js";
import { assert } from "../util/index.js";
import type { DeltaCodec, Factors, MatrixKind, Plane } from "./codec.js";
import { addEncoded } from "./decoded.js";

/** What became of the difference between two matrices. */
export interface EncodedDifference {
  /** Neither planes nor factors where there is no difference. */
  readonly planes: readonly Plane[];
  readonly factors: readonly Factors[];
  /** ‖Δ‖, Frobenius. */
  readonly norm: number;
  /** ‖Δ − Δ̂‖, what planes and factors miss. */
  readonly error: number;
}

/** Two matrices of one shape, row-major. */
export interface MatrixPair {
  readonly base: Float32Array;
  /** May hold more rows after the common ones, which are not looked at. */
  readonly tuned: Float32Array;
  readonly shape: MatrixShape;
  readonly kind: MatrixKind;
}

/**
 * Encodes tuned − base and measures what was lost. The memory of `tuned` is used up.
 *
 * @throws {InvalidDifference} as {@link DeltaCodec.encode} does
 */
export function encodeDifference(codec: DeltaCodec, { base, tuned, shape, kind }: MatrixPair): EncodedDifference {
  const count = shape.rows * shape.cols;
  assert(
    base.length === count && tuned.length >= count,
    `${base.length} and ${tuned.length} values are not two of ${count}`,
  );
  const difference = tuned.subarray(0, count);
  let differs = false;
  for (let i = 0; i < count; i++) {
    difference[i]! -= base[i]!;
    // True for NaN too, which the codec then refuses.
    if (difference[i] !== 0) differs = true;
  }
  if (!differs) return { planes: [], factors: [], norm: 0, error: 0 };

  const encoded = codec.encode(difference, shape, kind);
  const decoded = new Float32Array(count);
  addEncoded(decoded, encoded, shape);
  let squaredNorm = 0;
  let squaredError = 0;
  for (let i = 0; i < count; i++) {
    squaredNorm += difference[i]! ** 2;
    squaredError += (difference[i]! - decoded[i]!) ** 2;
  }
  const { planes, factors = [] } = encoded;
  return { planes, factors, norm: Math.sqrt(squaredNorm), error: Math.sqrt(squaredError) };
}
