import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { errorFromData } from "../core/index.js";
import type { DeltaCodec } from "./codec.js";
import type { EncodedDifference, MatrixPair } from "./difference.js";
import type { EncoderAnswer, EncoderSettings } from "./encode-worker.js";

/** A thread that encodes differences with one codec, one at a time. Disposing ends it, at work or not. */
export class Encoder implements AsyncDisposable {
  readonly #worker: Worker;

  constructor({ name, options }: DeltaCodec) {
    this.#worker = new Worker(new URL("./encode-worker.js", import.meta.url), {
      workerData: { name, options } satisfies EncoderSettings,
    });
  }

  /**
   * Encodes a pair, whose arrays move to the thread and are empty afterwards.
   *
   * @throws {KindredError} with code `invalid_difference` where the codec refuses the difference
   * @throws the signal's reason; the thread goes on, and is to be disposed of
   */
  async encode(pair: MatrixPair, signal: AbortSignal): Promise<EncodedDifference> {
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
    await this.#worker.terminate();
  }
}
