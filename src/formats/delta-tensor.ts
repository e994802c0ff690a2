import { type DType, dtypes, rowBytes, tensorBytes } from "../core/index.js";
import { alignUp } from "../util/index.js";

/** Element types of parameters in a checkpoint that is written: what a restored tensor is stored in. */
export type FloatDType = "f32" | "f16" | "bf16";

/** What a plane may be: types that ggml multiplies as they lie. Slots hold ternary ones in another (slot-planes.ts). */
export type PlaneDType = "q1_0" | "tq1_0" | "q4_0" | "f16";

/** What factors may be: types that ggml multiplies as they lie. */
export type FactorDType = "f16" | "q8_0" | "q4_0";

/** Consecutive bytes of a delta artifact that are read at once, with the checksum that is verified then. */
export interface DeltaBlob {
  /** Its name in delta.safetensors. */
  readonly name: string;
  /** As a reader gets it. */
  readonly byteLength: number;
  /** SHA-256 of the bytes as they are stored, in hex: damage is found before anything is decoded. Null where the file has no checksums. */
  readonly sha256: string | null;
  /** Where the file has a shorter form, which plane-code.ts turns into the bytes. */
  readonly code?: PlaneCodeForm;
}

/** The stored form of a plane that is coded, and what decoding needs to know. */
export interface PlaneCodeForm {
  /** In the file. */
  readonly byteLength: number;
  readonly dtype: PlaneDType;
  readonly shape: MatrixShape;
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

/** What turns a reference into the fine-tune's tensor, bit for bit. The reference is the base's tensor, as delta/exact-reference.ts makes it. */
export interface ExactLayer {
  /** SHA-256 of the fine-tune's tensor, extra rows included, in hex. */
  readonly sha256: string;
  /** Null where the reference has these bits already. */
  readonly blob: DeltaBlob | null;
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
  readonly exact?: ExactLayer;
}

/** The variant's own values in place of the base's: norms and biases. */
export interface AbsoluteTensor extends AnyDeltaTensor {
  readonly kind: "absolute";
  readonly value: DeltaBlob;
  /** Where these are not the fine-tune's. */
  readonly exact?: ExactLayer;
}

/** A matrix that is the base's plus the sum of its planes and of its factors' products, which have the base's rows. */
export interface PlanesTensor extends AnyDeltaTensor {
  readonly kind: "planes";
  /** Null where there is no plane. */
  readonly planeDType: PlaneDType | null;
  /** The coarsest first. Without planes and factors, the difference was left out. */
  readonly planes: readonly DeltaBlob[];
  /** No two of one dtype and rank. */
  readonly factors: readonly FactorBlobs[];
  readonly extraRows: ExtraRows | null;
  /** ‖Δ‖, the Frobenius norm of what was encoded, and ‖Δ − Δ̂‖, that of what planes and factors miss. */
  readonly norm: number;
  readonly error: number;
  readonly exact?: ExactLayer;
}

/** The base's values, turned into the variant's by an exact layer alone: to be restored, not to be served. */
export interface ExactTensor extends AnyDeltaTensor {
  readonly kind: "exact";
  readonly extraRows: ExtraRows | null;
  readonly exact: ExactLayer;
}

/** How a variant's parameter follows from the base's. */
export type DeltaTensor = UnchangedTensor | AbsoluteTensor | PlanesTensor | ExactTensor;

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
export function baseShape({ shape, extraRows }: Exclude<DeltaTensor, AbsoluteTensor>): readonly number[] {
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

export function blobOfExact(name: string, byteLength: number, sha256: string): DeltaBlob {
  return { name: `${name}.exact`, byteLength, sha256 };
}

/** Bytes that a blob takes in the file, before filling up. */
export function storedBytes({ byteLength, code }: DeltaBlob): number {
  return code?.byteLength ?? byteLength;
}

/** A tensor's blobs: whole values and extra rows first, then planes, then factors, then what makes it exact. */
export function blobsOf(tensor: DeltaTensor): readonly DeltaBlob[] {
  return [...wholeBlobsOf(tensor), ...planesOf(tensor), ...factorBlobsOf(tensor), ...exactBlobsOf(tensor)];
}

/**
 * Every blob in the order in which it is stored and wanted: whole values and extra rows of all tensors, without which
 * nothing can be served, then plane 1 of every tensor, then plane 2, and so on, then the factors of every tensor; last the
 * exact layers, which serving does not read.
 */
export function blobsInOrder(tensors: Iterable<DeltaTensor>): readonly DeltaBlob[] {
  const all = [...tensors];
  return [...servedBlobs(all), ...all.flatMap(exactBlobsOf)];
}

/** Those of {@link blobsInOrder} that serving reads. */
export function servedBlobs(all: readonly DeltaTensor[]): readonly DeltaBlob[] {
  const planesMax = Math.max(0, ...all.map((tensor) => planesOf(tensor).length));
  const byPlane = Array.from({ length: planesMax }, (_, plane) =>
    all.flatMap((tensor) => planesOf(tensor).slice(plane, plane + 1)),
  );
  return [...all.flatMap(wholeBlobsOf), ...byPlane.flat(), ...all.flatMap(factorBlobsOf)];
}

function wholeBlobsOf(tensor: DeltaTensor): readonly DeltaBlob[] {
  if (tensor.kind === "absolute") return [tensor.value];
  return tensor.extraRows ? [tensor.extraRows.blob] : [];
}

function planesOf(tensor: DeltaTensor): readonly DeltaBlob[] {
  return tensor.kind === "planes" ? tensor.planes : [];
}

function factorBlobsOf(tensor: DeltaTensor): readonly DeltaBlob[] {
  return tensor.kind === "planes" ? tensor.factors.flatMap(({ down, up }) => [down, up]) : [];
}

function exactBlobsOf({ exact }: DeltaTensor): readonly DeltaBlob[] {
  return exact?.blob ? [exact.blob] : [];
}
