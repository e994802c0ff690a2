import {
  embeddingName,
  type ModelConfig,
  ownHeadName,
  parametersOf,
  type SlotClass,
  type SlotMatrix,
} from "../core/index.js";
import { Arena, type ArrangePlanes, type Device, type Tensor } from "../ggml/index.js";
import {
  extraName,
  type PoolSizes,
  type PoolSpec,
  poolName,
  poolSizes,
  poolSpecs,
  variantBytes,
  vectorStack,
} from "./pool-specs.js";
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
 * Where memory is had in pages, a variant has its own: the slots that it has of a class lie side by side there, and so do its vectors.
 *
 * Where a variant lacks a part that its class has in a matrix, the slot holds zeros, which every block type decodes to zero weights.
 */
export class DeltaPools implements Disposable {
  readonly layout: PoolLayout;
  /** Of all slots and rows, whether or not they have memory. */
  readonly byteLength: number;
  /** Memory that is taken whatever is in the slots. */
  readonly fixedBytes: number;
  readonly isHost: boolean;
  /** How sign planes come to lie in strips, where the device's kernels look for them there; see `fitsStrips`. */
  readonly arrange: ArrangePlanes | undefined;
  readonly #arena: Arena;
  readonly #specs: readonly PoolSpec[];
  readonly #sizes: PoolSizes;
  readonly #tiedEmbeddings: boolean;

  constructor(device: Device, config: ModelConfig, layout: PoolLayout) {
    this.layout = layout;
    this.arrange = device.kernels?.arrange;
    this.#tiedEmbeddings = config.tiedEmbeddings;
    this.#specs = poolSpecs(config, layout);
    this.#arena = new Arena(device, this.#specs, { paged: true, isReadWhole: true });
    if (!this.#arena.isPaged) this.#arena.clear();
    this.byteLength = this.#arena.byteLength;
    this.isHost = this.#arena.isHost;
    this.#sizes = poolSizes(this.#specs, device.page);
    this.fixedBytes = this.#arena.isPaged ? this.#sizes.fixedBytes : this.byteLength;
  }

  /** Memory that a variant with slots of these classes takes beyond what is taken anyway. */
  bytesOf(classIds: Iterable<string>): number {
    return this.#arena.isPaged ? variantBytes(this.#sizes, classIds) : 0;
  }

  /** Gives the memory of slots back, and of a variant's rows unless `index` is null; they are zeros then, or what they were. */
  discard(index: number | null, slots: ReadonlyMap<string, number>): void {
    for (const [classId, slot] of slots) this.#arena.discardEntry(classId, slot);
    if (index !== null) this.#arena.discardEntry(vectorStack, 1 + index);
    for (const { name, classId, stack, shape } of this.#specs) {
      if (stack !== undefined) continue;
      const entry = classId === undefined ? index : slots.get(classId);
      if (entry === undefined || entry === null) continue;
      const entryBytes = this.#arena.get(name).strides[shape.length - 1]!;
      this.#arena.discard(name, entry * entryBytes, (entry + 1) * entryBytes);
    }
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
      this.vector(parameter.name).write(values);
    }
  }

  [Symbol.dispose](): void {
    this.#arena[Symbol.dispose]();
  }
}
