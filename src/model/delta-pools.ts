import { type DType, type ModelConfig, parametersOf } from "../core/index.js";
import { paddedCols } from "../formats/index.js";
import { Arena, type Device, type Tensor } from "../ggml/index.js";
import type { Weights } from "./weights.js";

/** Which dtype's pools exist for which matrices, and how many of everything. */
export interface PoolLayout {
  /** Planes of each dtype that can be resident at once. */
  readonly slots: ReadonlyMap<DType, number>;
  /** Matrices that have a pool of that dtype. */
  readonly matrices: ReadonlyMap<DType, ReadonlySet<string>>;
  /** Variants that can be resident at once, whatever their planes. */
  readonly variants: number;
  /** Vocabulary rows that variants may have beyond the base's. */
  readonly extraRows: number;
}

/**
 * Where resident variants live on the device.
 *
 *   pool of one matrix and dtype   [in (whole blocks), out, slots]   plane of a variant = one slot through all pools of a dtype
 *   vectors of one name            [n, 1 + variants]                 row 0 is the base; norms and biases, f32
 *   extra vocabulary               [hidden, extraRows, variants]     f32, for the embedding and (untied) the output head
 *
 * A plane that says nothing about a matrix has zeros there, which every block type decodes to zero weights.
 */
export class DeltaPools implements Disposable {
  readonly layout: PoolLayout;
  readonly byteLength: number;
  readonly isHost: boolean;
  readonly #arena: Arena;

  constructor(device: Device, config: ModelConfig, layout: PoolLayout) {
    this.layout = layout;
    const specs: { name: string; dtype: DType; shape: number[] }[] = [];
    for (const parameter of parametersOf(config)) {
      if (parameter.kind === "vector") {
        specs.push({ name: parameter.name, dtype: "f32", shape: [parameter.shape[0]!, 1 + layout.variants] });
        continue;
      }
      for (const [dtype, names] of layout.matrices) {
        if (!names.has(parameter.name)) continue;
        const [rows, columns] = parameter.shape as [number, number];
        specs.push({
          name: poolName(parameter.name, dtype),
          dtype,
          shape: [paddedCols(dtype, columns), rows, layout.slots.get(dtype)!],
        });
      }
      if (parameter.kind !== "linear" && layout.extraRows > 0) {
        specs.push({
          name: extraName(parameter.name),
          dtype: "f32",
          shape: [config.hiddenSize, layout.extraRows, layout.variants],
        });
      }
    }
    this.#arena = new Arena(device, specs);
    this.#arena.clear();
    this.byteLength = this.#arena.byteLength;
    this.isHost = this.#arena.isHost;
  }

  /** `[in, out, slots]`, or undefined when no registered variant has this dtype there. */
  matrix(name: string, dtype: DType): Tensor | undefined {
    return this.#arena.tensors.get(poolName(name, dtype));
  }

  /** `[n, 1 + variants]` */
  vector(name: string): Tensor {
    return this.#arena.get(name);
  }

  /** `[hidden, extraRows, variants]`, or undefined when no variant has more vocabulary than the base. */
  extraRows(name: string): Tensor | undefined {
    return this.#arena.tensors.get(extraName(name));
  }

  /** Fills row 0 of every vector pool with the base's values, from its weights. */
  copyBaseVectors(weights: Weights): void {
    for (const parameter of parametersOf(weights.config)) {
      if (parameter.kind !== "vector") continue;
      const values = new Float32Array(parameter.shape[0]!);
      weights.get(parameter.name).read(values);
      this.vector(parameter.name).write(values, 0);
    }
  }

  [Symbol.dispose](): void {
    this.#arena[Symbol.dispose]();
  }
}

const poolName = (name: string, dtype: DType) => `${name}#${dtype}`;
const extraName = (name: string) => `${name}#extra`;
