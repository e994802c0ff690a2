import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { errorFromData } from "../core/index.js";
import type { ReferenceParts } from "./exact-reference.js";
import type { DecodeAnswer, DecodeRequest, EncodeAnswer, EncodeRequest, ExactAnswer } from "./exact-worker.js";

/** A thread that makes and undoes exact layers, one at a time. Disposing ends it, at work or not. */
export class ExactThread implements AsyncDisposable {
  readonly #worker = new Worker(new URL("./exact-worker.js", import.meta.url));

  /**
   * Codes what turns a reference into `tuned`. All arrays move to the thread and are empty afterwards.
   *
   * @throws the signal's reason; the thread goes on, and is to be disposed of
   */
  async encode(reference: ReferenceParts, tuned: Uint8Array, signal: AbortSignal): Promise<EncodeAnswer> {
    return (await this.#ask({ kind: "encode", reference, tuned }, [tuned], signal)) as EncodeAnswer;
  }

  /**
   * Turns a reference into the tensor, its extra rows after it. All arrays move to the thread and are empty afterwards.
   *
   * @throws {KindredError} with code `corrupt_code` if `code` is not for such a tensor
   * @throws the signal's reason, as {@link encode} does
   */
  async decode(
    reference: ReferenceParts,
    code: Uint8Array | null,
    extraRows: Uint8Array,
    signal: AbortSignal,
  ): Promise<DecodeAnswer> {
    const moving = code ? [code, extraRows] : [extraRows];
    return (await this.#ask({ kind: "decode", reference, code, extraRows }, moving, signal)) as DecodeAnswer;
  }

  async #ask(
    request: EncodeRequest | DecodeRequest,
    arrays: readonly Uint8Array[],
    signal: AbortSignal,
  ): Promise<EncodeAnswer | DecodeAnswer> {
    const { base, planes } = request.reference;
    const moving = [base, ...planes.map(({ bytes }) => bytes), ...arrays].map(({ buffer }) => buffer as ArrayBuffer);
    const answered = once(this.#worker, "message", { signal }) as Promise<[ExactAnswer]>;
    this.#worker.postMessage(request, moving);
    const [answer] = await answered.catch((error: unknown) => {
      signal.throwIfAborted();
      throw error;
    });
    if ("error" in answer) throw errorFromData(answer.error);
    return answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker.terminate();
  }
}
