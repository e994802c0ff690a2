import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { errorFromData } from "../core/index.js";
import type { DeltaCodec } from "./codec.js";
import type { EncodedDifference, MatrixPair } from "./difference.js";
import type { EncoderAnswer, EncoderSettings } from "./encode-worker.js";

/** A thread that encodes differences with one codec, one at a time. Disposing ends it, at work or not. */
export class Encoder implements AsyncDisposable {
  readonly #worker: Worker;
  /** When the thread has said that it takes pairs. Ended while it loads the native library, it would take the process with it. */
  readonly #ready: Promise<unknown>;

  constructor({ name, options }: DeltaCodec) {
    this.#worker = new Worker(new URL("./encode-worker.js", import.meta.url), {
      workerData: { name, options } satisfies EncoderSettings,
    });
    this.#ready = once(this.#worker, "message");
    // Whoever encodes gets its error.
    this.#ready.catch(() => {});
  }

  /**
   * Encodes a pair, whose arrays move to the thread and are empty afterwards.
   *
   * @throws {KindredError} with code `invalid_difference` where the codec refuses the difference
   * @throws the signal's reason; the thread goes on, and is to be disposed of
   */
  async encode(pair: MatrixPair, signal: AbortSignal): Promise<EncodedDifference> {
    await this.#ready;
    const answered = once(this.#worker, "message", { signal }) as Promise<[EncoderAnswer]>;
    this.#worker.postMessage(pair, [pair.base.buffer as ArrayBuffer, pair.tuned.buffer as ArrayBuffer]);
    const [answer] = await answered.catch((error: unknown) => {
      signal.throwIfAborted();
      throw error;
    });
    if ("error" in answer) throw errorFromData(answer.error);
    return answer.encoded;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#ready.catch(() => {});
    await this.#worker.terminate();
  }
}
