import { InvalidFile, KindredError, tensorBytes } from "../core/index.js";
import { type Checkpoint, type DeltaArtifact, type DeltaTensor, readTensor } from "../formats/index.js";
import { assert } from "../util/index.js";
import { readBlob } from "./blob.js";
import { readEncoded } from "./decoded.js";
import { asMatrix, isFloatDType, type ReferenceParts } from "./exact-reference.js";
import { ExactThread } from "./exact-thread.js";

/** Tensors are restored ahead of being asked for up to so many bytes of them. */
const AHEAD_BYTES = 256 * 2 ** 20;

/** What {@link ExactRestoration} restores. */
export interface ExactSources {
  readonly base: Checkpoint;
  readonly delta: DeltaArtifact;
  /** In the order in which they will be asked for. */
  readonly tensors: readonly DeltaTensor[];
  readonly threads: number;
  readonly signal: AbortSignal;
}

/** A thread and what it has been given to do. */
interface Lane {
  readonly thread: ExactThread;
  /** Of all tensors it has got so far. */
  bytes: number;
  /** Comes to rest when it is free. */
  idle: Promise<unknown>;
}

/**
 * Restores tensors bit for bit on several threads, and hands them out in order. Memory holds {@link AHEAD_BYTES} of them, or one
 * a thread where they are larger. Disposing ends the threads, at work or not.
 */
export class ExactRestoration implements AsyncDisposable {
  readonly #sources: ExactSources;
  readonly #lanes: readonly Lane[];
  readonly #results = new Map<number, Promise<Uint8Array>>();
  #started = 0;
  #bytesAhead = 0;

  constructor(sources: ExactSources) {
    this.#sources = sources;
    this.#lanes = Array.from({ length: sources.threads }, () => ({
      thread: new ExactThread(),
      bytes: 0,
      idle: Promise.resolve(),
    }));
  }

  /**
   * The stored bytes of the tensor at `index`, which counts up by one a call.
   *
   * @throws {InvalidFile} if they are not those that were compressed
   */
  async take(index: number): Promise<Uint8Array> {
    const { tensors } = this.#sources;
    while (this.#started < tensors.length && (this.#started <= index || this.#bytesAhead < AHEAD_BYTES)) this.#start();
    const result = this.#results.get(index);
    assert(result, `Tensor ${index} was taken before`);
    this.#results.delete(index);
    const bytes = await result;
    this.#bytesAhead -= bytes.length;
    return bytes;
  }

  #start(): void {
    const index = this.#started;
    const tensor = this.#sources.tensors[index]!;
    const byteLength = tensorBytes(tensor.dtype, tensor.shape);
    const lane = this.#lanes.reduce((least, other) => (other.bytes < least.bytes ? other : least));
    const result = lane.idle.then(() => this.#restore(tensor, lane.thread));
    // Whoever takes the result gets its error; the lane only waits for its end.
    lane.idle = result.catch(() => {});
    lane.bytes += byteLength;
    this.#bytesAhead += byteLength;
    this.#results.set(index, result);
    this.#started += 1;
  }

  async #restore(tensor: DeltaTensor, thread: ExactThread): Promise<Uint8Array> {
    const { delta, signal } = this.#sources;
    signal.throwIfAborted();
    const { name, exact } = tensor;
    if (tensor.kind === "absolute" && !exact) return readBlob(delta, tensor.value);
    assert(exact, `${name} has no exact layer`);
    const details = { tensor: name };
    const reference = await this.#readReference(tensor);
    const code = exact.blob && (await readBlob(delta, exact.blob));
    const extraRows = tensor.kind === "absolute" ? null : tensor.extraRows;
    const extra = extraRows ? await readBlob(delta, extraRows.blob) : new Uint8Array(0);
    const restored = await thread.decode(reference, code, extra, signal).catch((cause: unknown) => {
      if (!(cause instanceof KindredError) || cause.code !== "corrupt_code") throw cause;
      throw new InvalidFile(delta.path, `the exact layer of "${name}" is not what it should be`, { details, cause });
    });
    if (restored.sha256 === exact.sha256) return restored.tensor;
    throw new InvalidFile(delta.path, `"${name}" does not come out as the tensor that was compressed`, { details });
  }

  async #readReference(tensor: DeltaTensor): Promise<ReferenceParts> {
    const { base, delta } = this.#sources;
    const { name, dtype } = tensor;
    if (tensor.kind === "absolute") {
      const values = await readBlob(delta, tensor.value);
      return { dtype, baseDType: dtype, base: values, planes: [], shape: asMatrix(tensor.shape) };
    }
    const stored = base.tensors.get(name);
    assert(stored && isFloatDType(stored.dtype), `${name} has no base of floats`);
    // Factors are no part of a reference.
    const encoded =
      tensor.kind === "planes"
        ? await readEncoded({ ...tensor, factors: [] }, (blob) => readBlob(delta, blob))
        : undefined;
    return {
      dtype,
      baseDType: stored.dtype,
      base: await readTensor(base, name),
      planes: encoded?.planes ?? [],
      shape: asMatrix(stored.shape),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#lanes.map(({ thread }) => thread[Symbol.asyncDispose]()));
  }
}
