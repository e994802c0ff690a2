import { NativeError } from "../core/index.js";
import type { Device } from "./device.js";
import type { Pointer } from "./signatures.js";

/** The memory that intermediate results share, from one graph to the next. It grows to the largest graph and stays. */
export class GraphMemory implements Disposable {
  #allocator: Pointer;
  readonly #device: Device;
  readonly #adoption: { release(): void };
  #disposed = false;

  constructor(device: Device) {
    this.#device = device;
    this.#allocator = newAllocator(device);
    this.#adoption = device.adopt(this);
  }

  /** Places a graph's inputs and results; false when there is not that much memory, after which smaller graphs still fit. */
  place(graph: Pointer): boolean {
    const { base } = this.#device.library;
    // Without `reserve`, the places of the graph before are taken again if it had as many operations, whatever they were.
    const isReserved = base.graphAllocatorReserve(this.#allocator, graph);
    if (isReserved && base.graphAllocatorAlloc(this.#allocator, graph)) return true;
    // ggml's allocator cannot be used again once it failed.
    base.graphAllocatorFree(this.#allocator);
    this.#allocator = newAllocator(this.#device);
    return false;
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#adoption.release();
    this.#device.library.base.graphAllocatorFree(this.#allocator);
  }
}

function newAllocator(device: Device): Pointer {
  const allocator = device.library.base.graphAllocatorNew(device.defaultBufferType);
  if (!allocator) throw new NativeError(`Cannot make a graph allocator on ${device.description}`);
  return allocator;
}
