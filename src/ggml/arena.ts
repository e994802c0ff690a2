import { type DType, dtypes, NativeError } from "../core/index.js";
import { assert, formatBytes } from "../util/index.js";
import type { Device } from "./device.js";
import type { Pointer } from "./signatures.js";
import { contiguousStrides, extentsOf, type ShapeLike, Tensor } from "./tensor.js";

export interface TensorSpec {
  readonly name: string;
  readonly dtype: DType;
  /** Fastest dimension first. */
  readonly shape: ShapeLike;
}

/** GGML_BACKEND_BUFFER_USAGE_WEIGHTS */
const usageWeights = 1;

/**
 * Long-lived tensors in one allocation: weights, caches, slot pools. The memory is what the device's backend has, which need
 * not be the host's. Its contents are undefined until written; `clear` zeroes them.
 */
export class Arena implements Disposable {
  readonly tensors: ReadonlyMap<string, Tensor>;
  /** True when tensors' bytes can be reached through `hostBytes`. */
  readonly isHost: boolean;
  readonly byteLength: number;
  readonly #device: Device;
  readonly #context: Pointer;
  readonly #buffer: Pointer | null;
  readonly #adoption: { release(): void };
  #disposed = false;

  /**
   * @param options.repack put the tensors where the CPU's interleaved products want them; see `Device.repackBufferType`
   * @param options.isReadWhole ask for large pages, which pay where all of it is read in every step
   * @throws {NativeError} when the device has not that much memory
   */
  constructor(device: Device, specs: readonly TensorSpec[], options: { repack?: boolean; isReadWhole?: boolean } = {}) {
    const { base } = device.library;
    // Whatever can be wrong with the specs throws here, before anything native exists.
    const forms = specs.map(({ name, dtype, shape }) => {
      const extents = extentsOf(shape);
      return { name, dtype, extents, strides: contiguousStrides(dtype, extents) };
    });
    assert(new Set(forms.map(({ name }) => name)).size === forms.length, "two tensors of an arena have one name");
    const bufferType = options.repack ? device.repackBufferType : device.defaultBufferType;
    assert(bufferType !== undefined, "repack was asked of a device that has no such buffers");

    this.#device = device;
    const context = base.init({
      mem_size: base.tensorOverhead() * (specs.length + 1),
      mem_buffer: null,
      no_alloc: true,
    });
    if (!context) throw new NativeError(`Cannot describe ${specs.length} tensors: out of host memory`);
    this.#context = context;
    const tensors = new Map<string, Tensor>();
    for (const form of forms) {
      const pointer = base.newTensor(context, dtypes[form.dtype].id, 4, BigInt64Array.from(form.extents, BigInt));
      base.setName(pointer, form.name.slice(-63));
      tensors.set(form.name, new Tensor(base, { ...form, pointer }));
    }
    this.tensors = tensors;
    this.#buffer = specs.length > 0 ? base.allocContext(context, bufferType) : null;
    if (specs.length > 0 && !this.#buffer) {
      base.free(context);
      const bytes = [...tensors.values()].reduce((sum, tensor) => sum + tensor.byteLength, 0);
      throw new NativeError(
        `Cannot allocate ${formatBytes(bytes)} on ${device.description} for ${specs.length} tensors`,
        {
          details: { bytes },
        },
      );
    }
    this.byteLength = this.#buffer ? base.bufferSize(this.#buffer) : 0;
    this.isHost = this.#buffer !== null && !options.repack && base.bufferIsHost(this.#buffer);
    if (this.#buffer) base.bufferSetUsage(this.#buffer, usageWeights);
    if (this.#buffer && options.isReadWhole) {
      device.kernels?.useLargePages(base.bufferAddress(this.#buffer), this.byteLength);
    }
    this.#adoption = device.adopt(this);
  }

  get(name: string): Tensor {
    const tensor = this.tensors.get(name);
    assert(tensor, `there is no tensor ${name} in this arena`);
    return tensor;
  }

  /** Fills everything with zero bytes. */
  clear(): void {
    if (this.#buffer) this.#device.library.base.bufferClear(this.#buffer, 0);
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#adoption.release();
    const { base } = this.#device.library;
    if (this.#buffer) base.bufferFree(this.#buffer);
    base.free(this.#context);
  }
}
