import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { errorFromData } from "../core/index.js";
import type { DeltaCodec } from "./codec.js";
import type { EncodedDifference, MatrixPair } from "./difference.js";
import type { EncoderAnswer, EncoderSettings } from "./encode-worker.js";

/** A thread that encodes differences with one codec, one at a time. Disposing ends it as soon as it has answered. */
export class Encoder implements AsyncDisposable {
  readonly #worker: Worker;
  /**
   * When the thread has loaded, and answered what it was asked. Ended before, while it loads the native library or computes with it, it
   * would take the process with it.
   */
  #atRest: Promise<unknown>;

  constructor({ name, options }: DeltaCodec) {
    this.#worker = new Worker(new URL("./encode-worker.js", import.meta.url), {
      workerData: { name, options } satisfies EncoderSettings,
    });
    this.#atRest = this.#nextMessage();
  }

  /**
   * Encodes a pair, whose arrays move to the thread and are empty afterwards.
   *
   * @throws {KindredError} with code `invalid_difference` where the codec refuses the difference
   * @throws the signal's reason, once the thread has answered
   */
  async encode(pair: MatrixPair, signal: AbortSignal): Promise<EncodedDifference> {
    await this.#atRest;
    signal.throwIfAborted();
    const answered = this.#nextMessage() as Promise<[EncoderAnswer]>;
    this.#worker.postMessage(pair, [pair.base.buffer as ArrayBuffer, pair.tuned.buffer as ArrayBuffer]);
    const [answer] = await answered;
    signal.throwIfAborted();
    if ("error" in answer) throw errorFromData(answer.error);
    return answer.encoded;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#atRest.catch(() => {});
    await this.#worker.terminate();
  }

  #nextMessage(): Promise<unknown[]> {
    const message = once(this.#worker, "message");
    this.#atRest = message;
    // Whoever waits for it gets its error.
    message.catch(() => {});
    return message;
  }
}
