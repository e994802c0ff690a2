import { type DType, dtypes, rowBytes, tensorBytes } from "../core/index.js";
import { alignUp } from "../util/index.js";

/** Element types of parameters in a checkpoint that is written: what a restored tensor is stored in. */
export type FloatDType = "f32" | "f16" | "bf16";

/** What a plane may be: types that ggml multiplies as they lie. */
export type PlaneDType = "q1_0" | "tq1_0" | "q4_0" | "f16";

/** What factors may be: types that ggml multiplies as they lie. */
export type FactorDType = "f16" | "q8_0" | "q4_0";

/** Consecutive bytes of a delta artifact that are read at once, with the checksum that is verified then. */
export interface DeltaBlob {
  /** Its name in delta.safetensors. */
  readonly name: string;
  readonly byteLength: number;
  /** SHA-256 of the bytes, in hex; null where they are made of a file that carries no checksums. */
  readonly sha256: string | null;
}

/** A low-rank part of a difference, `up · down`: down is `[rank, cols]`, up `[rows, rank]`, both row-major. */
export interface FactorBlobs {
  readonly dtype: FactorDType;
  readonly rank: number;
  readonly down: DeltaBlob;
  readonly up: DeltaBlob;
}

/** Vocabulary rows that the variant has beyond the base's, whole, in the tensor's dtype. */
export interface ExtraRows {
  readonly count: number;
  readonly blob: DeltaBlob;
}

interface AnyDeltaTensor {
  readonly name: string;
  /** The variant's: extra rows included. */
  readonly shape: readonly number[];
  /** Of the fine-tune that was compressed, or what stands for it when that was in blocks. */
  readonly dtype: FloatDType;
}

/** The base's values, bit for bit or as the same numbers in another dtype. */
export interface UnchangedTensor extends AnyDeltaTensor {
  readonly kind: "unchanged";
  readonly extraRows: ExtraRows | null;
}

/** The variant's own values in place of the base's: norms and biases. */
export interface AbsoluteTensor extends AnyDeltaTensor {
  readonly kind: "absolute";
  readonly value: DeltaBlob;
}

/** A matrix that is the base's plus the sum of its planes and of its factors' products, which have the base's rows. */
export interface PlanesTensor extends AnyDeltaTensor {
  readonly kind: "planes";
  /** Null where there is no plane. */
  readonly planeDType: PlaneDType | null;
  /** The coarsest first. There is a plane or there are factors. */
  readonly planes: readonly DeltaBlob[];
  /** No two of one dtype and rank. */
  readonly factors: readonly FactorBlobs[];
  readonly extraRows: ExtraRows | null;
  /** ‖Δ‖, the Frobenius norm of what was encoded, and ‖Δ − Δ̂‖, that of what planes and factors miss. */
  readonly norm: number;
  readonly error: number;
}

/** How a variant's parameter follows from the base's. */
export type DeltaTensor = UnchangedTensor | AbsoluteTensor | PlanesTensor;

/** Rows and columns of a weight matrix, row-major: `[out, in]`, or `[vocabulary, hidden]` for embeddings and heads. */
export interface MatrixShape {
  readonly rows: number;
  readonly cols: number;
}

/** Columns as a plane stores them: filled up to whole blocks of `dtype`. The input is zero there. */
export function paddedCols(dtype: DType, cols: number): number {
  return alignUp(cols, dtypes[dtype].blockSize);
}

/** Bytes of one plane of a matrix: each row is filled up to whole blocks. */
export function planeBytes(dtype: DType, { rows, cols }: MatrixShape): number {
  return rows * rowBytes(dtype, paddedCols(dtype, cols));
}

/** The shape of the base's tensor: the variant's without its extra rows. */
export function baseShape({ shape, extraRows }: PlanesTensor | UnchangedTensor): readonly number[] {
  return extraRows ? [shape[0]! - extraRows.count, shape[1]!] : shape;
}

/** What each plane of a tensor covers: the rows of the base. */
export function planeShape(tensor: PlanesTensor): MatrixShape {
  const [rows, cols] = baseShape(tensor);
  return { rows: rows!, cols: cols! };
}

export function blobOfValue(name: string, dtype: FloatDType, shape: readonly number[], sha256: string): DeltaBlob {
  return { name: `${name}.value`, byteLength: tensorBytes(dtype, shape), sha256 };
}

/** `index` counts from 0; the coarsest plane is `.plane1`. */
export function blobOfPlane(
  name: string,
  index: number,
  dtype: PlaneDType,
  shape: MatrixShape,
  sha256: string,
): DeltaBlob {
  return { name: `${name}.plane${index + 1}`, byteLength: planeBytes(dtype, shape), sha256 };
}

/** One side of the factors number `index`, which counts from 0; the first are `.factors1`. */
export function blobOfFactor(
  name: string,
  index: number,
  side: "down" | "up",
  { dtype, rank }: Pick<FactorBlobs, "dtype" | "rank">,
  { rows, cols }: MatrixShape,
  sha256: string | null,
): DeltaBlob {
  const shape = side === "down" ? { rows: rank, cols } : { rows, cols: rank };
  return { name: `${name}.factors${index + 1}.${side}`, byteLength: planeBytes(dtype, shape), sha256 };
}

export function blobOfExtraRows(
  name: string,
  dtype: FloatDType,
  { rows, cols }: MatrixShape,
  sha256: string,
): DeltaBlob {
  return { name: `${name}.extra_rows`, byteLength: tensorBytes(dtype, [rows, cols]), sha256 };
}

/** A tensor's blobs: whole values and extra rows first, then planes, then factors. */
export function blobsOf(tensor: DeltaTensor): readonly DeltaBlob[] {
  return [...wholeBlobsOf(tensor), ...planesOf(tensor), ...factorsOf(tensor).flatMap(({ down, up }) => [down, up])];
}

/**
 * Every blob in the order in which it is stored and wanted: whole values and extra rows of all tensors, without which
 * nothing can be served, then plane 1 of every tensor, then plane 2, and so on, then the factors of every tensor.
 */
export function blobsInOrder(tensors: Iterable<DeltaTensor>): readonly DeltaBlob[] {
  const all = [...tensors];
  const planesMax = Math.max(0, ...all.map((tensor) => planesOf(tensor).length));
  const byPlane = Array.from({ length: planesMax }, (_, plane) =>
    all.flatMap((tensor) => planesOf(tensor).slice(plane, plane + 1)),
  );
  const factors = all.flatMap(factorsOf).flatMap(({ down, up }) => [down, up]);
  return [...all.flatMap(wholeBlobsOf), ...byPlane.flat(), ...factors];
}

function wholeBlobsOf(tensor: DeltaTensor): readonly DeltaBlob[] {
  if (tensor.kind === "absolute") return [tensor.value];
  return tensor.extraRows ? [tensor.extraRows.blob] : [];
}

function planesOf(tensor: DeltaTensor): readonly DeltaBlob[] {
  return tensor.kind === "planes" ? tensor.planes : [];
}

function factorsOf(tensor: DeltaTensor): readonly FactorBlobs[] {
  return tensor.kind === "planes" ? tensor.factors : [];
}
