import { rm } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { elementCount, KindredError, type Parameter, parametersOf } from "../core/index.js";
import {
  blobOfExtraRows,
  blobOfFactor,
  blobOfPlane,
  blobOfValue,
  type Checkpoint,
  type DeltaBlob,
  type DeltaTensor,
  differingText,
  type ExtraRows,
  type FactorBlobs,
  type FloatDType,
  type MatrixShape,
  openDelta,
  type StoredTensor,
  writeDelta,
  writeFolder,
} from "../formats/index.js";
import { fromFloat32, toFloat32 } from "../ggml/index.js";
import { assert, sha256 } from "../util/index.js";
import { BlobSpool } from "./blob-spool.js";
import type { DeltaCodec, Factors } from "./codec.js";
import { CannotCompress, checkCompatible } from "./compatibility.js";
import { Encoder } from "./encoder.js";
import { type Progress, ProgressMeter } from "./progress-meter.js";
import { type DeltaReport, reportOf } from "./report.js";

/** What {@link compressDelta} compresses, and how. */
export interface CompressOptions {
  readonly base: Checkpoint;
  readonly tuned: Checkpoint;
  readonly codec: DeltaCodec;
  /** The folder to be made. */
  readonly out: string;
  /** Tensors that are encoded at a time, each in a thread. Default: one a core. */
  readonly threads?: number;
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

/**
 * Compresses a fine-tune to its difference from a base, every parameter of it, and writes the artifact. Memory holds a
 * tensor of each checkpoint for every thread.
 *
 * @throws {CannotCompress} if the two do not fit each other, or a value cannot be encoded; names the tensor then
 * @throws {AlreadyExists} if there is something at `out`
 * @throws the signal's reason when it is aborted; nothing stays at `out` then, as after any other failure
 */
export async function compressDelta(options: CompressOptions): Promise<DeltaReport> {
  const { base, tuned, codec, out, signal = new AbortController().signal } = options;
  checkCompatible(base, tuned);
  await writeFolder(out, async (folder) => {
    const spoolPath = join(folder, "blobs.spool");
    {
      await using spool = await BlobSpool.create(spoolPath);
      const tensors = await new Compression(options, spool).run(signal);
      await writeDelta(folder, {
        codec: { name: codec.name, options: codec.options },
        base: { name: base.name, fingerprint: await base.fingerprint() },
        tensors,
        configJson: tuned.configJson,
        text: differingText(base.text, tuned.text),
        readBlob: ({ name }) => spool.get(name),
      });
    }
    await rm(spoolPath);
    signal.throwIfAborted();
  });
  await using artifact = await openDelta(out);
  return reportOf(artifact);
}

/** One run over all parameters: they go to the encoders as these become free and into the spool as they are done. */
class Compression {
  readonly #options: CompressOptions;
  readonly #spool: BlobSpool;
  readonly #parameters: readonly Parameter[];
  readonly #progress: ProgressMeter;
  readonly #done = new Map<string, DeltaTensor>();

  constructor(options: CompressOptions, spool: BlobSpool) {
    this.#options = options;
    this.#spool = spool;
    this.#parameters = parametersOf(options.tuned.config);
    this.#progress = new ProgressMeter([...options.tuned.tensors.values()], options.onProgress);
  }

  /** Encodes everything; by name, in slot order. */
  async run(signal: AbortSignal): Promise<ReadonlyMap<string, DeltaTensor>> {
    const waiting = this.#parameters.values();
    const failure = new AbortController();
    const stop = AbortSignal.any([signal, failure.signal]);
    const { threads = availableParallelism() } = this.#options;
    assert(threads >= 1, `${threads} threads cannot compress`);
    const lanes = Array.from({ length: threads }, async () => {
      await using encoder = new Encoder(this.#options.codec);
      for (const parameter of waiting) {
        stop.throwIfAborted();
        this.#done.set(parameter.name, await this.#compress(parameter, encoder, stop));
        this.#progress.finished(parameter.name);
      }
    });
    // All lanes have come to rest before this returns or throws: none writes to the spool any more.
    await Promise.allSettled(lanes.map((lane) => lane.catch((error: unknown) => failure.abort(error))));
    stop.throwIfAborted();
    return new Map(this.#parameters.map(({ name }) => [name, this.#done.get(name)!]));
  }

  async #compress(parameter: Parameter, encoder: Encoder, signal: AbortSignal): Promise<DeltaTensor> {
    const { base, tuned } = this.#options;
    try {
      const before = await readValues(base, parameter.name);
      const after = await readValues(tuned, parameter.name);
      return parameter.kind === "vector"
        ? await this.#compressVector(parameter.name, before, after)
        : await this.#compressMatrix(parameter, before, after, encoder, signal);
    } catch (error) {
      if (signal.aborted || !(error instanceof KindredError) || error instanceof CannotCompress) throw error;
      const options = { tensor: parameter.name, cause: error };
      throw new CannotCompress(tuned, base, `tensor "${parameter.name}": ${error.message}`, options);
    }
  }

  async #compressVector(name: string, base: StoredValues, tuned: StoredValues): Promise<DeltaTensor> {
    const { shape } = tuned.stored;
    this.#checkFinite(name, tuned.values);
    if (tuned.values.every((value, i) => value === base.values[i])) {
      return { name, kind: "unchanged", dtype: tuned.dtype, shape, extraRows: null };
    }
    const bytes = fromFloat32(tuned.dtype, tuned.values, tuned.values.length);
    const value = await this.#keep(bytes, (sha256) => blobOfValue(name, tuned.dtype, shape, sha256));
    return { name, kind: "absolute", dtype: tuned.dtype, shape, value };
  }

  async #compressMatrix(
    { name, kind }: Parameter,
    base: StoredValues,
    tuned: StoredValues,
    encoder: Encoder,
    signal: AbortSignal,
  ): Promise<DeltaTensor> {
    assert(kind !== "vector", `${name} is a vector`);
    const { dtype, stored } = tuned;
    const [rows, cols] = base.stored.shape as [number, number];
    const extraRows = await this.#keepExtraRows(name, tuned, rows);
    const head = { name, dtype, shape: stored.shape, extraRows };
    const pair = { base: base.values, tuned: tuned.values, shape: { rows, cols }, kind };
    const { planes, factors, norm, error } = await encoder.encode(pair, signal);
    if (planes.length + factors.length === 0) return { ...head, kind: "unchanged" };

    const shape = { rows, cols };
    const blobs: DeltaBlob[] = [];
    for (const [index, { dtype: own, bytes }] of planes.entries()) {
      blobs.push(await this.#keep(bytes, (sha256) => blobOfPlane(name, index, own, shape, sha256)));
    }
    const pairs: FactorBlobs[] = [];
    for (const [index, own] of factors.entries()) pairs.push(await this.#keepFactors(name, index, own, shape));
    const planeDType = planes[0]?.dtype ?? null;
    return { ...head, kind: "planes", planeDType, planes: blobs, factors: pairs, norm, error };
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
    await this.#spool.put(blob.name, bytes);
    return blob;
  }

  #checkFinite(name: string, values: Float32Array): void {
    const index = values.findIndex((value) => !Number.isFinite(value));
    if (index === -1) return;
    const { base, tuned } = this.#options;
    throw new CannotCompress(tuned, base, `tensor "${name}" holds ${values[index]}`, { tensor: name });
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
  const stored = checkpoint.tensors.get(name);
  assert(stored, `${checkpoint.path} was opened without "${name}"`);
  const bytes = new Uint8Array(stored.byteLength);
  await checkpoint.read(name, bytes);
  const { dtype } = stored;
  const isFloat = dtype === "f32" || dtype === "f16" || dtype === "bf16";
  return { stored, values: toFloat32(dtype, bytes, elementCount(stored.shape)), dtype: isFloat ? dtype : "f16" };
}
