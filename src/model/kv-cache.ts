import { dtypes, KindredError, type ModelConfig } from "../core/index.js";
import { Arena, type Device, type Tensor } from "../ggml/index.js";

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

/**
 * Keys and values of all sequences. Each sequence lives in one region of `contextLength` cells; per layer, `[kvHeads * headDim,
 * contextLength * regions]` for keys and as much for values, so that regions side by side are one 4-D tensor to attention.
 * A cell is the position of its token, also where a model's window has left it behind: whoever begins with the same tokens can go on from it.
 */
export class KvCache implements Disposable {
  readonly contextLength: number;
  readonly regions: number;
  readonly dtype: KvDType;
  readonly byteLength: number;
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
    this.#arena = new Arena(device, specs);
    // Masked cells are multiplied by zero on some devices, and zero times what memory held before may be NaN.
    this.#arena.clear();
    this.byteLength = this.#arena.byteLength;
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
