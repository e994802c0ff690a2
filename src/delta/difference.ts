import type { MatrixShape } from "../formats/index.js";
import { assert } from "../util/index.js";
import {
  type Calibration,
  type DeltaCodec,
  type EncodedTensor,
  type Factors,
  InvalidDifference,
  type MatrixKind,
  type Plane,
} from "./codec.js";
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
  readonly calibration?: Calibration;
  /** Rows of the whole matrix before these, for messages; 0 when these are all. */
  readonly firstRow?: number;
}

/** A pair in parts of at most `partRows` rows, each copied when it is asked for. */
export function partsOf(pair: MatrixPair, partRows: number): (() => MatrixPair)[] {
  const { rows, cols } = pair.shape;
  return Array.from({ length: Math.ceil(rows / partRows) }, (_, index) => () => {
    const firstRow = index * partRows;
    const count = Math.min(partRows, rows - firstRow);
    const slice = (values: Float32Array) => values.slice(firstRow * cols, (firstRow + count) * cols);
    const { calibration } = pair;
    const { drift } = calibration ?? {};
    return {
      base: slice(pair.base),
      tuned: slice(pair.tuned),
      shape: { rows: count, cols },
      kind: pair.kind,
      ...(calibration && { calibration: { ...calibration, ...(drift && { drift: slice(drift) }) } }),
      firstRow,
    };
  });
}

/** Encoded parts as one matrix again: planes are stored row by row. Factors belong to whole matrices. */
export function joinParts(parts: readonly EncodedDifference[]): EncodedDifference {
  if (parts.length === 1) return parts[0]!;
  const root = (field: "norm" | "error") => Math.sqrt(parts.reduce((sum, part) => sum + part[field] ** 2, 0));
  return {
    planes: parts[0]!.planes.map(({ dtype }, plane) => ({
      dtype,
      bytes: Buffer.concat(parts.map(({ planes }) => planes[plane]!.bytes)),
    })),
    factors: [],
    norm: root("norm"),
    error: root("error"),
  };
}

/** True when a variant's matrix is its base's. */
export function isUnchanged({ base, tuned }: MatrixPair): boolean {
  return base.every((value, i) => value === tuned[i]);
}

/** A difference of which nothing is stored. */
export function leftOut({ base, tuned }: MatrixPair): EncodedDifference {
  const norm = normOf(base.map((value, i) => tuned[i]! - value));
  return { planes: [], factors: [], norm, error: norm };
}

/**
 * Encodes tuned − base and measures what was lost. The memory of `tuned` is used up.
 *
 * @throws {InvalidDifference} as {@link DeltaCodec.encode} does
 */
export function encodeDifference(codec: DeltaCodec, pair: MatrixPair): EncodedDifference {
  const { base, tuned, shape, kind, calibration, firstRow = 0 } = pair;
  const count = shape.rows * shape.cols;
  assert(
    base.length === count && tuned.length >= count,
    `${base.length} and ${tuned.length} values are not two of ${count}`,
  );
  const difference = tuned.subarray(0, count);
  for (let i = 0; i < count; i++) difference[i]! -= base[i]!;
  const encoded = encodeRows(codec, { difference, shape, kind, calibration, firstRow });
  const norm = normOf(difference);
  for (let i = 0; i < count; i++) difference[i] = -difference[i]!;
  addEncoded(difference, encoded, shape);
  return {
    planes: encoded.planes,
    factors: encoded.factors ?? [],
    norm,
    error: normOf(difference),
  };
}

interface Rows extends Pick<MatrixPair, "shape" | "kind"> {
  readonly difference: Float32Array;
  readonly calibration: Calibration | undefined;
  readonly firstRow: number;
}

function encodeRows(codec: DeltaCodec, { difference, shape, kind, calibration, firstRow }: Rows): EncodedTensor {
  try {
    return codec.encode(difference, shape, kind, calibration);
  } catch (error) {
    // The codec counts from the first row of this part.
    throw error instanceof InvalidDifference ? error.atRow(error.row + firstRow) : error;
  }
}

function normOf(values: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]! ** 2;
  return Math.sqrt(sum);
}
