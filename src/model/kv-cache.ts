import { dtypes, KindredError, type ModelConfig, rowBytes } from "../core/index.js";
import { Arena, type Device, type Tensor } from "../ggml/index.js";
import { alignUp } from "../util/index.js";

/** How keys and values may be held. */
export const kvDTypes = ["f16", "f32", "q8_0"] as const;

export type KvDType = (typeof kvDTypes)[number];

/** Keys and values of a model's heads do not fill the blocks of a type. */
export class UnfitCacheType extends KindredError {
  constructor(dtype: KvDType, headDim: number) {
    super(
      "unfit_cache_type",
      422,
      `Cannot hold keys and values as ${dtype}: heads of ${headDim} do not fill blocks of ${dtypes[dtype].blockSize}; f16 holds any`,
      { details: { dtype, headDim } },
    );
  }
}

/** What decides how many bytes cells take. */
export interface CellSizes {
  readonly config: Pick<ModelConfig, "layers" | "kvHeads" | "headDim">;
  readonly contextLength: number;
  readonly dtype: KvDType;
  /** What memory is had in. */
  readonly page: number;
}

/** Bytes that the first so many cells of a region take: whole pages in each layer's keys and in its values. */
export function cellBytes({ config, dtype, page }: CellSizes, cells: number): number {
  return 2 * config.layers * alignUp(cells * rowBytes(dtype, config.kvHeads * config.headDim), page);
}

/** Bytes of a region's pages that its neighbours have a part in, so that they are nobody's. */
export function sharedCellBytes({ config, contextLength, dtype, page }: CellSizes): number {
  const regionBytes = contextLength * rowBytes(dtype, config.kvHeads * config.headDim);
  return regionBytes % page === 0 ? 0 : 2 * config.layers * page;
}

/**
 * Keys and values of all sequences. Each sequence lives in one region of `contextLength` cells; per layer, `[kvHeads * headDim,
 * contextLength * regions]` for keys and as much for values, so that regions side by side are one 4-D tensor to attention.
 * A cell is the position of its token, also where a model's window has left it behind: whoever begins with the same tokens can go on from it.
 *
 * Where memory is had in pages, a cell takes some from when it is written until it is discarded; elsewhere all do from the start.
 */
export class KvCache implements Disposable {
  readonly contextLength: number;
  readonly regions: number;
  readonly dtype: KvDType;
  /** Of all cells, whether or not they have memory. */
  readonly byteLength: number;
  /** Memory that is taken whatever is in it. */
  readonly fixedBytes: number;
  readonly #sizes: CellSizes;
  readonly #arena: Arena;

  /** @throws {UnfitCacheType} if a head does not fill whole blocks of the type */
  constructor(
    device: Device,
    config: ModelConfig,
    options: { contextLength: number; regions: number; dtype?: KvDType },
  ) {
    this.contextLength = options.contextLength;
    this.regions = options.regions;
    this.dtype = options.dtype ?? "f16";
    if (config.headDim % dtypes[this.dtype].blockSize !== 0) throw new UnfitCacheType(this.dtype, config.headDim);
    const shape = [config.kvHeads * config.headDim, options.contextLength * options.regions];
    const specs = Array.from({ length: config.layers }, (_, layer) => [
      { name: `k.${layer}`, dtype: this.dtype, shape },
      { name: `v.${layer}`, dtype: this.dtype, shape },
    ]).flat();
    this.#arena = new Arena(device, specs, { paged: true });
    // Masked cells are multiplied by zero on some devices, and zero times what memory held before may be NaN.
    if (!this.#arena.isPaged) this.#arena.clear();
    this.byteLength = this.#arena.byteLength;
    this.#sizes = { config, contextLength: this.contextLength, dtype: this.dtype, page: device.page };
    this.fixedBytes = this.#arena.isPaged ? this.regions * sharedCellBytes(this.#sizes) : this.byteLength;
  }

  /** Memory that the first so many cells of a region take beyond what is taken anyway. */
  bytesOf(cells: number): number {
    return this.#arena.isPaged ? cellBytes(this.#sizes, cells) : 0;
  }

  /** Gives the memory of a region's cells back, from this one on; they are zeros then, or what they were. */
  discard(region: number, fromCell: number): void {
    for (const [name, { strides }] of this.#arena.tensors) {
      const regionBytes = strides[1] * this.contextLength;
      const start = region * regionBytes;
      this.#arena.discard(name, start + fromCell * strides[1], start + regionBytes);
    }
  }

  keys(layer: number): Tensor {
    return this.#arena.get(`k.${layer}`);
  }

  values(layer: number): Tensor {
    return this.#arena.get(`v.${layer}`);
  }

  /** Copies the first cells of one region to another. */
  copy(from: number, to: number, cells: number): void {
    for (const tensor of this.#arena.tensors.values()) {
      const cellBytes = tensor.strides[1];
      const regionBytes = cellBytes * this.contextLength;
      tensor.copyWithin(from * regionBytes, to * regionBytes, cells * cellBytes);
    }
  }

  [Symbol.dispose](): void {
    this.#arena[Symbol.dispose]();
  }
}
