import { rm } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { elementCount, KindredError, type Parameter, parametersOf } from "../core/index.js";
import {
  blobOfExtraRows,
  blobOfValue,
  type Checkpoint,
  type DeltaBlob,
  type DeltaTensor,
  differingText,
  type ExtraRows,
  type FloatDType,
  type OriginalFile,
  openDelta,
  readOriginalFile,
  type StoredTensor,
  storedBytes,
  storePlane,
  writeDelta,
  writeFolder,
} from "../formats/index.js";
import { fromFloat32, toFloat32 } from "../ggml/index.js";
import { assert, sha256 } from "../util/index.js";
import { BlobSpool } from "./blob-spool.js";
import type { DeltaCodec, Plane } from "./codec.js";
import { CannotCompress, checkCompatible } from "./compatibility.js";
import { Encoder } from "./encoder.js";
import { enhance } from "./enhancement.js";
import { ExactThread } from "./exact-thread.js";
import { type Progress, ProgressMeter } from "./progress-meter.js";
import { type DeltaReport, reportOf } from "./report.js";

/** What {@link compressDelta} compresses, and how. */
export interface CompressOptions {
  readonly base: Checkpoint;
  readonly tuned: Checkpoint;
  readonly codec: DeltaCodec;
  /** Also store what restores the fine-tune bit for bit. Default: only where the codec makes no planes. */
  readonly exact?: boolean;
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
        ...(isExact(options) && (await originalOf(tuned))),
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
  /** Planes of tensors that are about to be made exact. */
  readonly #planes = new Map<string, readonly Plane[]>();

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
      await using thread = isExact(this.#options) ? new ExactThread() : null;
      for (const parameter of waiting) {
        stop.throwIfAborted();
        const tensor = await this.#compress(parameter, encoder, stop);
        this.#done.set(parameter.name, thread ? await this.#enhance(tensor, thread, stop) : tensor);
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

  async #enhance(tensor: DeltaTensor, thread: ExactThread, signal: AbortSignal): Promise<DeltaTensor> {
    const { base, tuned, codec } = this.#options;
    const planes = this.#planes.get(tensor.name) ?? [];
    this.#planes.delete(tensor.name);
    const keep = this.#keep.bind(this);
    return enhance(tensor, { base, tuned, planes, withoutPlanes: codec.withoutPlanes === true, thread, keep, signal });
  }

  async #compressVector(name: string, base: StoredValues, tuned: StoredValues): Promise<DeltaTensor> {
    const { shape } = tuned.stored;
    this.#checkFinite(name, tuned.values);
    if (tuned.values.every((value, i) => value === base.values[i])) {
      return { name, kind: "unchanged", dtype: tuned.dtype, shape, extraRows: null };
    }
    const bytes = storedFrom(tuned, 0);
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
    const { planes, norm, error } = await encoder.encode(pair, signal);
    const [first] = planes;
    if (!first) return { ...head, kind: "unchanged" };

    const planeDType = first.dtype;
    const blobs: DeltaBlob[] = [];
    for (const [index, { bytes }] of planes.entries()) {
      const { blob, stored } = storePlane(name, index, planeDType, { rows, cols }, bytes);
      blobs.push(await this.#keep(stored, () => blob));
    }
    if (isExact(this.#options)) this.#planes.set(name, planes);
    return { ...head, kind: "planes", planeDType, planes: blobs, norm, error };
  }

  async #keepExtraRows(name: string, tuned: StoredValues, baseRows: number): Promise<ExtraRows | null> {
    const [rows, cols] = tuned.stored.shape as [number, number];
    const count = rows - baseRows;
    if (count === 0) return null;
    this.#checkFinite(name, tuned.values.subarray(baseRows * cols));
    const blob = await this.#keep(storedFrom(tuned, baseRows * cols), (sha256) =>
      blobOfExtraRows(name, tuned.dtype, { rows: count, cols }, sha256),
    );
    return { count, blob };
  }

  async #keep(bytes: Uint8Array, describe: (sha256: string) => DeltaBlob): Promise<DeltaBlob> {
    const blob = describe(sha256(bytes));
    const expected = storedBytes(blob);
    assert(expected === bytes.length, `Blob ${blob.name} has ${bytes.length} bytes, expected ${expected}`);
    await this.#spool.put(blob.name, bytes);
    return blob;
  }

  #checkFinite(name: string, values: Float32Array): void {
    if (this.#options.codec.withoutPlanes) return;
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
  /** The stored bytes, which in f32 are the memory of `values`. */
  readonly bytes: Uint8Array;
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
  const values = toFloat32(dtype, bytes, elementCount(stored.shape));
  return { stored, values, bytes, dtype: isFloat ? dtype : "f16" };
}

/** The elements from `first` on, as they are stored or in the dtype that stands for a block type. */
function storedFrom({ stored, values, bytes, dtype }: StoredValues, first: number): Uint8Array {
  if (stored.dtype !== dtype) return fromFloat32(dtype, values.slice(first), values.length - first);
  return bytes.slice((bytes.length / values.length) * first);
}

function isExact({ exact, codec }: CompressOptions): boolean {
  return exact === true || codec.withoutPlanes === true;
}

async function originalOf(tuned: Checkpoint): Promise<{ original?: OriginalFile }> {
  const original = await readOriginalFile(tuned);
  return original ? { original } : {};
}
