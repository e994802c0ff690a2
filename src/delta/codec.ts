import { KindredError, type ParameterKind } from "../core/index.js";
import type { CodecOptions, MatrixShape, PlaneDType } from "../formats/index.js";
import type { Calibration } from "./solver.js";

/** The roles that are coded. Vectors (norms, biases) are not: their values are stored as they are. */
export type MatrixKind = Exclude<ParameterKind, "vector">;

/** One layer of an encoded difference, byte for byte what a device slot holds; see planes.ts. */
export interface Plane {
  readonly dtype: PlaneDType;
  readonly bytes: Uint8Array;
}

/** An encoded difference: the sum of its decoded planes, which share a dtype, the coarsest first. */
export interface EncodedTensor {
  readonly planes: readonly Plane[];
}

/** A way to store the difference between two matrices in few bits, as planes that ggml multiplies as they lie. */
export interface DeltaCodec {
  readonly name: string;
  /** What makes the same codec again: `createCodec(name, options)`. */
  readonly options: CodecOptions;
  /** Every row is encoded without regard to the others, so that a matrix may be encoded in parts. */
  readonly rowByRow: boolean;
  /** True where `encode` makes no planes and leaves matrices to their exact layers, which hold any value. */
  readonly withoutPlanes?: true;
  /**
   * Encodes `difference` (tuned − base, row-major, `rows · cols` long). A function of its arguments alone: without a calibration the
   * same difference gives the same bytes on every machine, with one on every machine whose products round alike.
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
