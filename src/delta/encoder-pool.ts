import { assert } from "../util/index.js";
import type { DeltaCodec } from "./codec.js";
import { type EncodedDifference, joinParts, type MatrixPair, partsOf } from "./difference.js";
import { Encoder } from "./encoder.js";
import type { PlaneCount } from "./sign-levels.js";
import type { RowCosts, Trials } from "./trial.js";

/** Weights of a part: small enough that all threads have work, and the same however many there are, so that results are. */
const partWeights = 1 << 18;

/**
 * Threads that encode differences. A codec that works row by row gets its matrices in parts, so that all threads have work when there is
 * only one. Disposing ends the threads as soon as they have answered.
 */
export class EncoderPool implements AsyncDisposable {
  readonly #encoders: readonly Encoder[];
  readonly #idle: Encoder[];
  readonly #waiting: ((encoder: Encoder) => void)[] = [];

  constructor(threads: number) {
    assert(threads >= 1, `${threads} threads cannot encode`);
    this.#encoders = Array.from({ length: threads }, () => new Encoder());
    this.#idle = [...this.#encoders];
  }

  /**
   * Encodes a pair as soon as threads are free.
   *
   * @throws {KindredError} with code `invalid_difference` where the codec refuses the difference
   * @throws the signal's reason; threads may be at work still, and are to be disposed of
   */
  async encode(codec: DeltaCodec, pair: MatrixPair, signal: AbortSignal): Promise<EncodedDifference> {
    const { rows, cols } = pair.shape;
    const parts = partsOf(pair, codec.rowByRow ? Math.ceil(partWeights / cols) : rows);
    const encode = (part: () => MatrixPair) => this.#with((encoder) => encoder.encode(codec, part(), signal), signal);
    return joinParts(await Promise.all(parts.map(encode)));
  }

  /** As {@link Encoder.tryPlanes}, as soon as a thread is free. */
  tryPlanes(
    pair: MatrixPair,
    planes: readonly PlaneCount[],
    costs: readonly RowCosts[],
    signal: AbortSignal,
  ): Promise<Trials> {
    return this.#with((encoder) => encoder.tryPlanes(pair, planes, costs, signal), signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#encoders.map((encoder) => encoder[Symbol.asyncDispose]()));
  }

  async #with<T>(work: (encoder: Encoder) => Promise<T>, signal: AbortSignal): Promise<T> {
    const encoder = this.#idle.pop() ?? (await new Promise<Encoder>((resolve) => this.#waiting.push(resolve)));
    try {
      signal.throwIfAborted();
      return await work(encoder);
    } finally {
      const next = this.#waiting.shift();
      if (next) next(encoder);
      else this.#idle.push(encoder);
    }
  }
}
