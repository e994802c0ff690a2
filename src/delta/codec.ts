import { KindredError, type ParameterKind } from "../core/index.js";
import type { CodecOptions, FactorDType, MatrixShape, PlaneDType } from "../formats/index.js";

/** The roles that are coded. Vectors (norms, biases) are not: their values are stored as they are. */
export type MatrixKind = Exclude<ParameterKind, "vector">;

/** One layer of an encoded difference, byte for byte what a device slot holds; see planes.ts. */
export interface Plane {
  readonly dtype: PlaneDType;
  readonly bytes: Uint8Array;
}

/**
 * A low-rank part of an encoded difference, `up · down`, byte for byte what device slots hold: `down` is `[rank, cols]`, `up`
 * `[rows, rank]`, both row-major with rows filled up to whole blocks of `dtype`.
 */
export interface Factors {
  readonly dtype: FactorDType;
  readonly rank: number;
  readonly down: Uint8Array;
  readonly up: Uint8Array;
}

/**
 * An encoded difference: the sum of its decoded planes, which share a dtype, the coarsest first, and of its factors' products. No
 * two pairs of factors have both dtype and rank in common.
 */
export interface EncodedTensor {
  readonly planes: readonly Plane[];
  /** Default: none. */
  readonly factors?: readonly Factors[];
}

/** What a linear layer's inputs say about the errors that matter in its weights. */
export interface Calibration {
  /** Second moment of the layer's inputs, E[x xᵀ]: symmetric, `[cols, cols]`. */
  readonly moment: Float32Array;
  /**
   * What the layer should do beyond its own difference, because the layers before it are compressed as well: E[e xᵀ], `[rows, cols]`,
   * where e is by how much its output misses the fine-tune's if nothing of its own were lost.
   */
  readonly drift?: Float32Array;
}

/** A way to store the difference between two matrices in few bits, as planes and factors that ggml multiplies as they lie. */
export interface DeltaCodec {
  readonly name: string;
  /** What makes the same codec again: `createCodec(name, options)`. */
  readonly options: CodecOptions;
  /** Every row is encoded without regard to the others, so that a matrix may be encoded in parts. */
  readonly rowByRow: boolean;
  /** A calibration changes nothing in what it makes. */
  readonly ignoresInputs?: true;
  /** True where `encode` makes no planes and leaves matrices to their exact layers, which hold any value. */
  readonly withoutPlanes?: true;
  /**
   * Encodes `difference` (tuned − base, row-major, `rows · cols` long). A function of its arguments alone: without a calibration the
   * same difference gives the same planes on every machine; what products of matrices go into, calibrated planes and factors, comes
   * out the same on machines whose products round alike.
   *
   * @param calibration what is known of the layer's inputs; without one, every input counts the same
   * @throws {InvalidDifference} if a value is not finite or lies beyond what half precision reaches
   */
  encode(difference: Float32Array, shape: MatrixShape, kind: MatrixKind, calibration?: Calibration): EncodedTensor;
}

/** Makes codecs of one name. */
export interface CodecFamily {
  readonly name: string;
  /** One line for people choosing. */
  readonly summary: string;
  /** @throws {InvalidRequest} for an option that this family does not have, or a value out of its range */
  create(options: CodecOptions): DeltaCodec;
}

/** A difference that no codec can hold: a value is NaN, infinite, or beyond half precision. */
export class InvalidDifference extends KindredError {
  readonly value: number;
  readonly row: number;
  readonly column: number;

  constructor(value: number, row: number, column: number) {
    super(
      "invalid_difference",
      422,
      `Cannot encode a difference of ${value} (row ${row}, column ${column}): values must be finite and at most ${HALF_MAX}`,
      { details: { row, column } },
    );
    this.value = value;
    this.row = row;
    this.column = column;
  }

  /** The same, where rows are counted otherwise. */
  atRow(row: number): InvalidDifference {
    return new InvalidDifference(this.value, row, this.column);
  }
}

/** The largest finite half-precision number. */
export const HALF_MAX = 65504;

/** Refuses what {@link DeltaCodec.encode} cannot hold. */
export function checkDifference(difference: Float32Array, { cols }: MatrixShape): void {
  for (let i = 0; i < difference.length; i++) {
    const value = difference[i]!;
    // Written so that NaN fails it too.
    if (!(Math.abs(value) <= HALF_MAX)) throw new InvalidDifference(value, Math.floor(i / cols), i % cols);
  }
}
