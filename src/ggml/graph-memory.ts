import { NativeError } from "../core/index.js";
import type { Device } from "./device.js";
import type { Pointer } from "./signatures.js";

/** The memory that intermediate results share, from one graph to the next. It grows to the largest graph and stays. */
export class GraphMemory implements Disposable {
  readonly #allocator: Pointer;
  readonly #device: Device;
  readonly #adoption: { release(): void };
  #disposed = false;

  constructor(device: Device) {
    const allocator = device.library.base.graphAllocatorNew(device.defaultBufferType);
    if (!allocator) throw new NativeError(`Cannot make a graph allocator on ${device.description}`);
    this.#allocator = allocator;
    this.#device = device;
    this.#adoption = device.adopt(this);
  }

  /** Places a graph's inputs and results; false when there is not that much memory, after which smaller graphs still fit. */
  place(graph: Pointer): boolean {
    const { base } = this.#device.library;
    // Without `reserve`, ggml's allocator gives a graph the places of the one before if both have as many operations, whatever
    // those were, and does not notice that it failed before.
    return base.graphAllocatorReserve(this.#allocator, graph) && base.graphAllocatorAlloc(this.#allocator, graph);
  }

  /** Bytes that it has grown to. */
  get byteLength(): number {
    return this.#device.library.base.graphAllocatorBytes(this.#allocator, 0);
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#adoption.release();
    this.#device.library.base.graphAllocatorFree(this.#allocator);
  }
}
