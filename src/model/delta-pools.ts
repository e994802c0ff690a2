import {
  embeddingName,
  type ModelConfig,
  ownHeadName,
  parametersOf,
  type SlotClass,
  type SlotMatrix,
  slotMatrices,
} from "../core/index.js";
import { Arena, type Device, type Tensor, type TensorSpec } from "../ggml/index.js";
import type { Weights } from "./weights.js";

/** The pools of one class: in which matrices it has one, and for how many variants. */
export interface ClassLayout {
  readonly slotClass: SlotClass;
  /** Variants of this class that can be resident at once. */
  readonly slots: number;
  /** Matrices where some variant has such a part. */
  readonly matrices: ReadonlySet<string>;
}

/** Which pools there are, and how many of everything. */
export interface PoolLayout {
  /** By the class's id. */
  readonly classes: ReadonlyMap<string, ClassLayout>;
  /** Variants that can be resident at once, whatever their classes. */
  readonly variants: number;
  /** Vocabulary rows that variants may have beyond the base's. */
  readonly extraRows: number;
  /** Whether some output head is not the embedding: the base's, or that of a variant. */
  readonly ownHeads: boolean;
}

/** The pools of one class in one matrix; the last extent is the slots. `cols` and `rank` are filled up to whole blocks. */
export type Part =
  /** `[in, out, slots]` */
  | { readonly kind: "plane"; readonly plane: Tensor }
  | {
      readonly kind: "factors";
      /** `[in, rank, slots]`; undefined for an embedding whose output head is another matrix. */
      readonly down: Tensor | undefined;
      /** `[rank, out, slots]` */
      readonly up: Tensor;
      /** `down` transposed, `[rank, in, slots]`; for an embedding. */
      readonly turned: Tensor | undefined;
    };

/**
 * Where resident variants live on the device.
 *
 *   plane of one matrix         [in, out, slots]                       a variant has one slot a class, through all its matrices
 *   factors of one matrix       [in, rank, slots], [rank, out, slots]  likewise
 *   vectors of one name         [n, 1 + variants]                      row 0 is the base; norms and biases, f32
 *   extra vocabulary            [hidden, extraRows, variants]          f32, for the embedding and for output heads of their own
 *
 * Over a base that is its own output head, classes that are `untied` have pools for both matrices; in the others the embedding's serve
 * as the head's.
 *
 * Where a variant lacks a part that its class has in a matrix, the slot holds zeros, which every block type decodes to zero weights.
 */
export class DeltaPools implements Disposable {
  readonly layout: PoolLayout;
  readonly byteLength: number;
  readonly isHost: boolean;
  readonly #arena: Arena;
  readonly #tiedEmbeddings: boolean;

  constructor(device: Device, config: ModelConfig, layout: PoolLayout) {
    this.layout = layout;
    this.#tiedEmbeddings = config.tiedEmbeddings;
    const specs: TensorSpec[] = [];
    for (const parameter of parametersOf({ ...config, tiedEmbeddings: !layout.ownHeads })) {
      const { name, kind, shape } = parameter;
      if (kind === "vector") {
        specs.push({ name, dtype: "f32", shape: [shape[0]!, 1 + layout.variants] });
        continue;
      }
      for (const [id, { slotClass, slots, matrices }] of layout.classes) {
        if (!matrices.has(name)) continue;
        for (const { role, dtype, rows, cols } of slotMatrices(slotClass, parameter, config)) {
          specs.push({ name: poolName(name, id, role), dtype, shape: [cols, rows, slots] });
        }
      }
      if (kind !== "linear" && layout.extraRows > 0) {
        specs.push({ name: extraName(name), dtype: "f32", shape: [shape[1]!, layout.extraRows, layout.variants] });
      }
    }
    this.#arena = new Arena(device, specs);
    this.#arena.clear();
    this.byteLength = this.#arena.byteLength;
    this.isHost = this.#arena.isHost;
  }

  /** What there is of a class in a matrix, or undefined when no registered variant has such a part there. */
  part(name: string, classId: string): Part | undefined {
    const pool = (role: SlotMatrix["role"]) => this.#arena.tensors.get(poolName(name, classId, role));
    const [plane, up] = [pool("plane"), pool("up")];
    if (plane) return { kind: "plane", plane };
    return up && { kind: "factors", down: pool("down"), up, turned: pool("turned") };
  }

  /** What there is of a class to multiply with in the output head: the embedding's part where that is the head. */
  headPart(classId: string): Part | undefined {
    const isTied = this.#tiedEmbeddings && !this.layout.classes.get(classId)?.slotClass.untied;
    return this.part(isTied ? embeddingName : ownHeadName, classId);
  }

  /** `[n, 1 + variants]` */
  vector(name: string): Tensor {
    return this.#arena.get(name);
  }

  /** `[hidden, extraRows, variants]`, or undefined when no variant has more vocabulary than the base, or where there is no such matrix. */
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

const poolName = (name: string, classId: string, role: SlotMatrix["role"]) => `${name}#${classId}#${role}`;
const extraName = (name: string) => `${name}#extra`;
