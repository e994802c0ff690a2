import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { errorFromData } from "../core/index.js";
import { assert } from "../util/index.js";
import type { DeltaCodec } from "./codec.js";
import type { EncodedDifference, MatrixPair } from "./difference.js";
import type { EncoderAnswer, EncoderTask } from "./encode-worker.js";
import type { PlaneCount } from "./sign-levels.js";
import type { RowCosts, Trials } from "./trial.js";

/** A thread that encodes differences, one at a time. Disposing ends it as soon as it has answered. */
export class Encoder implements AsyncDisposable {
  readonly #worker = new Worker(new URL("./encode-worker.js", import.meta.url));
  /**
   * When the thread has loaded, and answered what it was asked. Ended before, while it loads the native library or computes with it, it
   * would take the process with it.
   */
  #atRest: Promise<unknown>;

  constructor() {
    this.#atRest = this.#nextMessage();
  }

  /**
   * Encodes a pair, whose arrays move to the thread and are empty afterwards.
   *
   * @throws {KindredError} with code `invalid_difference` where the codec refuses the difference
   * @throws the signal's reason, once the thread has answered
   */
  async encode(codec: DeltaCodec, pair: MatrixPair, signal: AbortSignal): Promise<EncodedDifference> {
    const answer = await this.#ask(
      { kind: "encode", pair, codec: { name: codec.name, options: codec.options } },
      signal,
    );
    assert("encoded" in answer, "a thread answered another task");
    return answer.encoded;
  }

  /** As {@link tryPlanes}; arrays move and errors are as in {@link encode}. */
  async tryPlanes(
    pair: MatrixPair,
    planes: readonly PlaneCount[],
    costs: readonly RowCosts[],
    signal: AbortSignal,
  ): Promise<Trials> {
    const answer = await this.#ask({ kind: "try", pair, planes, costs }, signal);
    assert("tried" in answer, "a thread answered another task");
    return answer.tried;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#atRest.catch(() => {});
    await this.#worker.terminate();
  }

  async #ask(task: EncoderTask, signal: AbortSignal): Promise<Exclude<EncoderAnswer, { error: unknown }>> {
    await this.#atRest;
    signal.throwIfAborted();
    const answered = this.#nextMessage() as Promise<[EncoderAnswer]>;
    const { base, tuned } = task.pair;
    this.#worker.postMessage(task, [base.buffer as ArrayBuffer, tuned.buffer as ArrayBuffer]);
    const [answer] = await answered;
    signal.throwIfAborted();
    if ("error" in answer) throw errorFromData(answer.error);
    return answer;
  }

  #nextMessage(): Promise<unknown[]> {
    const message = once(this.#worker, "message");
    this.#atRest = message;
    // Whoever waits for it gets its error.
    message.catch(() => {});
    return message;
  }
}
