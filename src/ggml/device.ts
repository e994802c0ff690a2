import { availableParallelism } from "node:os";
import { NativeError } from "../core/index.js";
import { assert } from "../util/index.js";
import type { Kernels } from "./kernels.js";
import { captureLog, type DeviceKind, type Library, openLibrary } from "./library.js";
import { pageBytes } from "./pages.js";
import { bindCpu, type CpuFunctions, type Pointer, pointersAt } from "./signatures.js";

/** ggml_backend_dev_type */
const deviceTypeCpu = 0;
/** GGML_OBJECT_SIZE: what a context needs for a tensor beyond the tensor itself. */
const objectBytes = 32;

const openDevices = new Set<Device>();
process.once("exit", () => {
  for (const device of openDevices) device[Symbol.dispose]();
});

/**
 * A place to compute: one backend of ggml with everything that was made on it. Disposing frees, in this order, what was
 * adopted (graphs, arenas; the latest first), the backend, and its threads. Open devices are disposed when the process exits.
 *
 * @example
 * using device = Device.open({ kind: "cpu" });
 */
export class Device implements Disposable {
  readonly kind: DeviceKind;
  /** ggml's name and the hardware's, e.g. `CPU (Intel(R) Xeon(R) Processor)`. */
  readonly description: string;
  readonly threads: number;
  /** Products of our own; undefined where all are ggml's. */
  readonly kernels: Kernels | undefined;
  readonly library: Library;
  readonly device: Pointer;
  readonly backend: Pointer;
  readonly #cpu: CpuFunctions | undefined;
  readonly #threadpool: Pointer | null;
  readonly #adopted = new Set<Disposable>();
  #disposed = false;

  /**
   * @param options.kernels for a CPU; what `loadKernels` found
   * @throws {NativeError} when the library, a driver or the hardware is missing
   */
  static open(options: { kind?: DeviceKind; threads?: number; kernels?: Kernels | undefined } = {}): Device {
    const kind = options.kind ?? "cpu";
    const library = openLibrary(kind);
    const pointers = Array.from({ length: library.registry.deviceCount() }, (_, index) =>
      library.registry.device(index),
    );
    const pointer = pointers.find((device) => (library.base.deviceType(device) === deviceTypeCpu) === (kind === "cpu"));
    if (pointer === undefined) {
      const names = pointers.map((device) => library.base.deviceName(device)).join(", ");
      throw new NativeError(
        `Cannot compute on ${kind}: its library opened but found no device (it has ${names}); is a driver installed?`,
      );
    }
    assert(kind === "cpu" || !options.kernels, `kernels for the CPU were given to a device of kind ${kind}`);
    return new Device(kind, library, pointer, options);
  }

  private constructor(
    kind: DeviceKind,
    library: Library,
    device: Pointer,
    { threads = availableParallelism(), kernels }: { threads?: number; kernels?: Kernels | undefined },
  ) {
    const { base } = library;
    const tensorBytes = base.tensorOverhead() - objectBytes;
    assert(!kernels || kernels.tensorBytes() === tensorBytes, "native/tensor.h describes another ggml than this one");
    this.kind = kind;
    this.library = library;
    this.device = device;
    this.threads = threads;
    this.kernels = kernels;
    this.description = `${base.deviceName(device)} (${base.deviceDescription(device)})`;
    const log = captureLog(base);
    const backend = base.deviceInit(device, null);
    log.stop();
    if (!backend) throw new NativeError(`Cannot start ${this.description}: ${log.text() || "ggml gave no reason"}`);
    this.backend = backend;

    const registry = base.deviceRegistry(device);
    this.#cpu = kind === "cpu" ? bindCpu((name) => base.procAddress(registry, name)) : undefined;
    this.#threadpool = this.#cpu ? this.#cpu.threadpoolNew(base.threadpoolParamsDefault(threads)) : null;
    if (this.#cpu && this.#threadpool) {
      this.#cpu.setThreads(backend, threads);
      this.#cpu.setThreadpool(backend, this.#threadpool);
    }
    openDevices.add(this);
  }

  /** The buffer type of ordinary tensors. */
  get defaultBufferType(): Pointer {
    return this.library.base.deviceBufferType(this.device);
  }

  /** What its memory is had in where it is had page by page as it is written; 1 where all of it is taken at once. */
  get page(): number {
    return this.kind === "cpu" ? pageBytes() : 1;
  }

  /** Bytes that it has free, or on the host that this process may still have. */
  get freeBytes(): number {
    if (this.kind === "cpu") return process.availableMemory();
    const [free, total] = [new BigUint64Array(1), new BigUint64Array(1)];
    this.library.base.deviceMemory(this.device, free, total);
    return Number(free[0]);
  }

  /**
   * The CPU's buffer type that interleaves the rows of some types for its fastest products, if this CPU has one. Tensors
   * in it can be multiplied with and nothing else.
   */
  get repackBufferType(): Pointer | undefined {
    const array = this.#cpu?.extraBufferTypes(this.device);
    if (!array) return undefined;
    return pointersAt(array).find((type) => this.library.base.bufferTypeName(type) === "CPU_REPACK");
  }

  /** Makes this device responsible for freeing `owned` if nobody does before; `release` takes that back. */
  adopt(owned: Disposable): { release(): void } {
    this.#adopted.add(owned);
    return { release: () => void this.#adopted.delete(owned) };
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    openDevices.delete(this);
    for (const owned of [...this.#adopted].reverse()) owned[Symbol.dispose]();
    this.library.base.backendFree(this.backend);
    if (this.#threadpool) this.#cpu?.threadpoolFree(this.#threadpool);
  }
}
