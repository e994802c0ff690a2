import { elementCount, type Parameter } from "../core/index.js";
import {
  blobOfExtraRows,
  blobOfFactor,
  blobOfPlane,
  blobOfValue,
  type Checkpoint,
  type DeltaBlob,
  type DeltaTensor,
  type ExtraRows,
  type FactorBlobs,
  type FloatDType,
  type MatrixShape,
  type PlanesTensor,
  readTensor,
  type StoredTensor,
} from "../formats/index.js";
import { fromFloat32, toFloat32 } from "../ggml/index.js";
import { assert, sha256 } from "../util/index.js";
import type { Calibration, DeltaCodec, Factors, Plane } from "./codec.js";
import { CannotCompress, namingTensor } from "./compatibility.js";
import { addEncoded, readEncoded } from "./decoded.js";
import { isUnchanged, leftOut } from "./difference.js";
import type { EncoderPool } from "./encoder-pool.js";
import type { Workspace } from "./workspace.js";

/** Compresses parameters one by one; their bytes go into a workspace. */
export class Compression {
  readonly #base: Checkpoint;
  readonly #tuned: Checkpoint;
  readonly #encoders: EncoderPool;
  readonly #workspace: Workspace;
  /** Matrices are left to their exact layers, which hold any value. */
  readonly #withoutPlanes: boolean;

  constructor(options: {
    base: Checkpoint;
    tuned: Checkpoint;
    encoders: EncoderPool;
    workspace: Workspace;
    withoutPlanes: boolean;
  }) {
    this.#base = options.base;
    this.#tuned = options.tuned;
    this.#encoders = options.encoders;
    this.#workspace = options.workspace;
    this.#withoutPlanes = options.withoutPlanes;
  }

  /** A norm or bias, which is kept as it is. */
  vector({ name }: Parameter, signal: AbortSignal): Promise<DeltaTensor> {
    return this.#naming(name, signal, async () => {
      const base = await readValues(this.#base, name);
      const tuned = await readValues(this.#tuned, name);
      const { shape } = tuned.stored;
      this.#checkFinite(name, tuned.values);
      if (tuned.values.every((value, i) => value === base.values[i])) {
        return { name, kind: "unchanged", dtype: tuned.dtype, shape, extraRows: null };
      }
      const bytes = fromFloat32(tuned.dtype, tuned.values, tuned.values.length);
      const value = await this.#keep(bytes, (sha256) => blobOfValue(name, tuned.dtype, shape, sha256));
      return { name, kind: "absolute", dtype: tuned.dtype, shape, value };
    });
  }

  /**
   * @param codec how; null stores nothing of the difference
   * @throws {CannotCompress} naming the tensor, if it cannot be encoded
   */
  matrix(
    { name, kind }: Parameter,
    codec: DeltaCodec | null,
    signal: AbortSignal,
    calibration?: Calibration,
  ): Promise<DeltaTensor> {
    assert(kind !== "vector", `${name} is a vector`);
    return this.#naming(name, signal, async () => {
      const base = await readValues(this.#base, name);
      const tuned = await readValues(this.#tuned, name);
      const { dtype, stored } = tuned;
      const [rows, cols] = base.stored.shape as [number, number];
      const shape = { rows, cols };
      const extraRows = await this.#keepExtraRows(name, tuned, rows);
      const head = { name, dtype, shape: stored.shape, extraRows };
      const pair = { base: base.values, tuned: tuned.values, shape, kind, ...(calibration && { calibration }) };
      if (this.#withoutPlanes || isUnchanged(pair)) return { ...head, kind: "unchanged" };

      const { planes, factors, norm, error } = codec ? await this.#encoders.encode(codec, pair, signal) : leftOut(pair);
      const blobs: DeltaBlob[] = [];
      for (const [index, { dtype: own, bytes }] of planes.entries()) {
        blobs.push(await this.#keep(bytes, (sha256) => blobOfPlane(name, index, own, shape, sha256)));
      }
      const pairs: FactorBlobs[] = [];
      for (const [index, own] of factors.entries()) pairs.push(await this.#keepFactors(name, index, own, shape));
      const planeDType = planes[0]?.dtype ?? null;
      return { ...head, kind: "planes", planeDType, planes: blobs, factors: pairs, norm, error };
    });
  }

  /** The same matrix with other planes of its kind, and what those lose. */
  async withPlanes(tensor: PlanesTensor, planes: readonly Plane[]): Promise<DeltaTensor> {
    const { name } = tensor;
    const base = await readValues(this.#base, name);
    const tuned = await readValues(this.#tuned, name);
    const [rows, cols] = base.stored.shape as [number, number];
    addEncoded(base.values, { planes }, { rows, cols });
    const error = Math.sqrt(base.values.reduce((sum, value, i) => sum + (tuned.values[i]! - value) ** 2, 0));
    const blobs: DeltaBlob[] = [];
    for (const [index, { dtype, bytes }] of planes.entries()) {
      blobs.push(await this.#keep(bytes, (sha256) => blobOfPlane(name, index, dtype, { rows, cols }, sha256)));
    }
    return { ...tensor, planes: blobs, error };
  }

  /** A norm or bias with other values. */
  async withVector({ name, dtype, shape }: DeltaTensor, values: Float32Array): Promise<DeltaTensor> {
    const bytes = fromFloat32(dtype, values, values.length);
    const value = await this.#keep(bytes, (sha256) => blobOfValue(name, dtype, shape, sha256));
    return { name, kind: "absolute", dtype, shape, value };
  }

  /** What the compressed model has in a matrix's place: the fine-tune's `[rows, cols]`, extra rows included. */
  async compressedValues(tensor: DeltaTensor): Promise<Float32Array> {
    const { values, stored } = await readValues(this.#base, tensor.name);
    const [rows, cols] = stored.shape as [number, number];
    if (tensor.kind === "planes") {
      addEncoded(values, await readEncoded(tensor, ({ name }) => this.#workspace.get(name)), { rows, cols });
    }
    if (tensor.kind === "absolute" || !tensor.extraRows) return values;
    const tuned = await readValues(this.#tuned, tensor.name);
    tuned.values.set(values);
    return tuned.values;
  }

  async #keepFactors(name: string, index: number, factors: Factors, shape: MatrixShape): Promise<FactorBlobs> {
    const { dtype, rank } = factors;
    const keep = (side: "down" | "up") =>
      this.#keep(factors[side], (sha256) => blobOfFactor(name, index, side, factors, shape, sha256));
    return { dtype, rank, down: await keep("down"), up: await keep("up") };
  }

  async #keepExtraRows(
    name: string,
    { dtype, values, stored }: StoredValues,
    baseRows: number,
  ): Promise<ExtraRows | null> {
    const [rows, cols] = stored.shape as [number, number];
    const count = rows - baseRows;
    if (count === 0) return null;
    const extra = values.slice(baseRows * cols);
    this.#checkFinite(name, extra);
    const blob = await this.#keep(fromFloat32(dtype, extra, cols), (sha256) =>
      blobOfExtraRows(name, dtype, { rows: count, cols }, sha256),
    );
    return { count, blob };
  }

  async #keep(bytes: Uint8Array, describe: (sha256: string) => DeltaBlob): Promise<DeltaBlob> {
    const blob = describe(sha256(bytes));
    assert(
      blob.byteLength === bytes.length,
      `Blob ${blob.name} has ${bytes.length} bytes, expected ${blob.byteLength}`,
    );
    await this.#workspace.put(blob.name, bytes);
    return blob;
  }

  #checkFinite(name: string, values: Float32Array): void {
    if (this.#withoutPlanes) return;
    const index = values.findIndex((value) => !Number.isFinite(value));
    if (index === -1) return;
    throw new CannotCompress(this.#tuned, this.#base, `tensor "${name}" holds ${values[index]}`, { tensor: name });
  }

  #naming<T>(tensor: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    return namingTensor(this.#tuned, this.#base, tensor, signal, work);
  }
}

/** A tensor's numbers, and what they are stored in again. */
interface StoredValues {
  readonly stored: StoredTensor;
  readonly values: Float32Array;
  /** The stored dtype; f16 for what was in blocks, which it holds to well below their own rounding. */
  readonly dtype: FloatDType;
}

async function readValues(checkpoint: Checkpoint, name: string): Promise<StoredValues> {
  const bytes = await readTensor(checkpoint, name);
  const stored = checkpoint.tensors.get(name)!;
  const { dtype } = stored;
  const isFloat = dtype === "f32" || dtype === "f16" || dtype === "bf16";
  return { stored, values: toFloat32(dtype, bytes, elementCount(stored.shape)), dtype: isFloat ? dtype : "f16" };
}
