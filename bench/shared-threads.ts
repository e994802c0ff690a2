import { NativeError } from "../src/core/index.js";
import type { Device } from "../src/ggml/index.js";
import type { Pointer } from "../src/ggml/signatures.js";
import type { LlamaLibrary } from "./llama-library.js";

/**
 * One pool of ggml's threads for all sides of a race. ggml's idle threads spin for a while in case there is another pass, and with a
 * pool each, those of one side would take cores from the other.
 */
export class SharedThreads implements Disposable {
  readonly count: number;
  readonly #library: LlamaLibrary;
  readonly #pool: Pointer;

  /** @throws {NativeError} when the system gives no threads */
  constructor(library: LlamaLibrary, count: number) {
    const pool = library.newThreadpool(count);
    if (!pool) throw new NativeError(`Cannot start ${count} threads`);
    this.count = count;
    this.#library = library;
    this.#pool = pool;
  }

  /** Has a device of ours compute on them. */
  attachDevice(device: Device): void {
    this.#library.cpu.setThreadpool(device.backend, this.#pool);
  }

  /** Has a context of llama.cpp compute on them, single tokens and prompts. */
  attachContext(context: Pointer): void {
    this.#library.attachThreadpool(context, this.#pool, this.#pool);
  }

  [Symbol.dispose](): void {
    this.#library.cpu.threadpoolFree(this.#pool);
  }
}
