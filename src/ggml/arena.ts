import { type DType, dtypes, NativeError } from "../core/index.js";
import { assert, formatBytes } from "../util/index.js";
import type { Device } from "./device.js";
import { type PagedLayout, pagedEntries, pagedLayout } from "./paged-layout.js";
import { Pages } from "./pages.js";
import type { Pointer } from "./signatures.js";
import { contiguousStrides, extentsOf, type ShapeLike, Tensor } from "./tensor.js";

export interface TensorSpec {
  readonly name: string;
  readonly dtype: DType;
  /** Fastest dimension first. */
  readonly shape: ShapeLike;
  /**
   * Tensors of one stack are divided alike by their last dimension, and in an arena of pages an entry lies side by side with those of
   * the others: it then has gaps between entries.
   */
  readonly stack?: string;
}

/** GGML_BACKEND_BUFFER_USAGE_WEIGHTS */
const usageWeights = 1;

/** How an arena has its memory. */
export interface ArenaOptions {
  /** Where the CPU's interleaved products want tensors; see `Device.repackBufferType`. */
  readonly repack?: boolean;
  /** In large pages, which pay where all of it is read in every step; of a paged one what lies in one entry, which is written whole. */
  readonly isReadWhole?: boolean;
  /** Page by page as it is written, where the device computes in the host's memory and the system can do that. */
  readonly paged?: boolean;
}

/**
 * Long-lived tensors in one allocation: weights, caches, slot pools. The memory is what the device's backend has, which need
 * not be the host's. Its contents are undefined until written; `clear` zeroes them. One that is paged is zero at first, has memory only for
 * pages that were written to, and gives them back when they are discarded.
 */
export class Arena implements Disposable {
  readonly tensors: ReadonlyMap<string, Tensor>;
  /** True when tensors' bytes can be reached through `hostBytes`. */
  readonly isHost: boolean;
  /** True when its memory is had page by page. */
  readonly isPaged: boolean;
  /** Bytes of all tensors, which need not have memory where it is paged. */
  readonly byteLength: number;
  readonly #device: Device;
  readonly #context: Pointer;
  readonly #buffer: Pointer | null;
  readonly #paged:
    | { readonly pages: Pages; readonly layout: PagedLayout; readonly offsets: ReadonlyMap<string, number> }
    | undefined;
  readonly #adoption: { release(): void };
  #disposed = false;

  /** @throws {NativeError} when the device has not that much memory */
  constructor(device: Device, specs: readonly TensorSpec[], options: ArenaOptions = {}) {
    const { base } = device.library;
    // Whatever can be wrong with the specs throws here, before anything native exists.
    for (const { dtype, shape } of specs) contiguousStrides(dtype, extentsOf(shape));
    assert(new Set(specs.map(({ name }) => name)).size === specs.length, "two tensors of an arena have one name");
    const bufferType = options.repack ? device.repackBufferType : device.defaultBufferType;
    assert(bufferType !== undefined, "repack was asked of a device that has no such buffers");

    this.#device = device;
    this.#paged = options.paged && device.page > 1 && specs.length > 0 ? pagesFor(specs, device.page) : undefined;
    const context = base.init({
      mem_size: base.tensorOverhead() * (2 * specs.length + 1),
      mem_buffer: null,
      no_alloc: true,
    });
    if (!context) throw new NativeError(`Cannot describe ${specs.length} tensors: out of host memory`);
    this.#context = context;
    const plain = specs.map(({ name, dtype, shape }) => {
      const pointer = base.newTensor(context, dtypes[dtype].id, 4, BigInt64Array.from(extentsOf(shape), BigInt));
      base.setName(pointer, name.slice(-63));
      return new Tensor(base, { name, dtype, extents: extentsOf(shape), pointer });
    });
    this.#buffer = this.#paged
      ? base.bufferFromPointer(this.#paged.pages.address, this.#paged.pages.byteLength)
      : specs.length > 0
        ? base.allocContext(context, bufferType)
        : null;
    if (specs.length > 0 && !this.#buffer) {
      base.free(context);
      const bytes = plain.reduce((sum, tensor) => sum + tensor.byteLength, 0);
      throw new NativeError(
        `Cannot allocate ${formatBytes(bytes)} on ${device.description} for ${specs.length} tensors`,
        {
          details: { bytes },
        },
      );
    }
    const tensors = this.#paged ? this.#placeIn(this.#paged, plain) : plain;
    this.tensors = new Map(tensors.map((tensor) => [tensor.name, tensor]));
    this.byteLength = this.#buffer ? base.bufferSize(this.#buffer) : 0;
    this.isHost = this.#buffer !== null && !options.repack && base.bufferIsHost(this.#buffer);
    this.isPaged = this.#paged !== undefined;
    if (this.#buffer) base.bufferSetUsage(this.#buffer, usageWeights);
    if (this.#buffer && options.isReadWhole) {
      const address = base.bufferAddress(this.#buffer);
      const whole = [{ offset: 0, byteLength: this.byteLength }];
      for (const { offset, byteLength } of this.#paged ? pagedEntries(specs, this.#paged.layout) : whole) {
        device.kernels?.useLargePages(address + BigInt(offset), byteLength);
      }
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
    if (this.#paged) this.#paged.pages.discard(0, this.#paged.pages.byteLength);
    else if (this.#buffer) this.#device.library.base.bufferClear(this.#buffer, 0);
  }

  /** Gives back what memory lies wholly within bytes of a tensor, which may be anything then. Nothing where the arena is not paged. */
  discard(name: string, from: number, to: number): void {
    if (!this.#paged || to <= from) return;
    const offset = this.#paged.offsets.get(name);
    assert(offset !== undefined, `there is no tensor ${name} in this arena`);
    this.#paged.pages.discard(offset + from, offset + to);
  }

  /** Gives the memory of an entry of a stack back: of that entry of all its tensors. Nothing where the arena is not paged. */
  discardEntry(stack: string, entry: number): void {
    const known = this.#paged?.layout.stacks.get(stack);
    if (!this.#paged || !known) return;
    const from = known.offset + entry * known.strideBytes;
    this.#paged.pages.discard(from, from + known.strideBytes);
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#adoption.release();
    const { base } = this.#device.library;
    if (this.#buffer) base.bufferFree(this.#buffer);
    this.#paged?.pages[Symbol.dispose]();
    base.free(this.#context);
  }

  /** Puts tensors at their places in pages. One with gaps is a view: ggml makes no other tensor that has any. */
  #placeIn({ pages, layout }: { pages: Pages; layout: PagedLayout }, plain: readonly Tensor[]): Tensor[] {
    const { base } = this.#device.library;
    const done = (status: number, { name }: Tensor) => assert(status === 0, `ggml did not place ${name}: ${status}`);
    return plain.map((tensor, index) => {
      const { offset, strides } = layout.tensors[index]!;
      done(base.placeTensor(this.#buffer!, tensor.pointer, pages.address + BigInt(offset)), tensor);
      if (strides.every((stride, d) => stride === tensor.strides[d])) return tensor;
      const [, nb1, nb2, nb3] = strides;
      const pointer = base.view(this.#context, tensor.pointer, ...tensor.extents, nb1, nb2, nb3, 0);
      const view = new Tensor(base, { ...tensor, extents: tensor.extents, strides, pointer });
      done(base.placeView(pointer), view);
      return view;
    });
  }
}

/** @throws {NativeError} when there are not that many addresses */
function pagesFor(specs: readonly TensorSpec[], page: number) {
  const layout = pagedLayout(specs, page);
  const pages = Pages.map(layout.byteLength);
  if (!pages) {
    throw new NativeError(`Cannot have addresses for ${formatBytes(layout.byteLength)} in ${specs.length} tensors`, {
      details: { bytes: layout.byteLength },
    });
  }
  return { pages, layout, offsets: new Map(specs.map(({ name }, index) => [name, layout.tensors[index]!.offset])) };
}
