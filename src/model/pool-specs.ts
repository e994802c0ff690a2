import { type ModelConfig, parametersOf, type SlotMatrix, slotMatrices } from "../core/index.js";
import { contiguousStrides, extentsOf, stackEntryBytes, type TensorSpec } from "../ggml/index.js";
import { alignUp } from "../util/index.js";
import type { PoolLayout } from "./delta-pools.js";

/** A tensor of the pools. */
export interface PoolSpec extends TensorSpec {
  /** The class whose slots it has; undefined where every variant has an entry. */
  readonly classId: string | undefined;
}

/** The stack of all vectors; those of slots are named after their class. */
export const vectorStack = "vectors";

export const poolName = (name: string, classId: string, role: SlotMatrix["role"]) => `${name}#${classId}#${role}`;
export const extraName = (name: string) => `${name}#extra`;

/**
 * The tensors of a layout's pools. Where rows are taken out of all slots as out of one matrix, from embeddings, a pool may have no gaps and is
 * in no stack.
 */
export function poolSpecs(config: ModelConfig, layout: PoolLayout): PoolSpec[] {
  const specs: PoolSpec[] = [];
  for (const parameter of parametersOf({ ...config, tiedEmbeddings: !layout.ownHeads })) {
    const { name, kind, shape } = parameter;
    if (kind === "vector") {
      const rows = [shape[0]!, 1 + layout.variants];
      specs.push({ name, classId: undefined, dtype: "f32", shape: rows, stack: vectorStack });
      continue;
    }
    for (const [classId, { slotClass, slots, matrices }] of layout.classes) {
      if (!matrices.has(name)) continue;
      for (const { role, dtype, rows, cols } of slotMatrices(slotClass, parameter, config)) {
        const spec = { name: poolName(name, classId, role), classId, dtype, shape: [cols, rows, slots] };
        specs.push(kind === "embedding" ? spec : { ...spec, stack: classId });
      }
    }
    if (kind !== "linear" && layout.extraRows > 0) {
      const rows = [shape[1]!, layout.extraRows, layout.variants];
      specs.push({ name: extraName(name), classId: undefined, dtype: "f32", shape: rows });
    }
  }
  return specs;
}

/** What pools take where memory is had in pages. */
export interface PoolSizes {
  /** Of a slot of each class. */
  readonly slotBytes: ReadonlyMap<string, number>;
  /** Of a variant, whatever its classes: vectors, and words beyond the vocabulary. */
  readonly rowBytes: number;
  /** Of what is no variant's: the base's vectors, and pages that neighbours have a part in. */
  readonly fixedBytes: number;
}

export function poolSizes(specs: readonly PoolSpec[], page: number): PoolSizes {
  const slotBytes = new Map<string, number>();
  const stacks = new Map<string, number[]>();
  let [rowBytes, sharedBytes] = [0, 0];
  const add = (classId: string | undefined, bytes: number) => {
    if (classId === undefined) rowBytes += bytes;
    else slotBytes.set(classId, (slotBytes.get(classId) ?? 0) + bytes);
  };
  for (const { dtype, shape, stack, classId } of specs) {
    const entryBytes = contiguousStrides(dtype, extentsOf(shape))[shape.length - 1]!;
    if (stack !== undefined) {
      stacks.set(stack, [...(stacks.get(stack) ?? []), entryBytes]);
      continue;
    }
    add(classId, alignUp(entryBytes, page));
    if (entryBytes % page !== 0) sharedBytes += page * shape.at(-1)!;
  }
  const vectorBytes = stackEntryBytes(stacks.get(vectorStack) ?? [], page);
  for (const [stack, entries] of stacks) add(stack === vectorStack ? undefined : stack, stackEntryBytes(entries, page));
  return { slotBytes, rowBytes, fixedBytes: vectorBytes + sharedBytes };
}

/** Bytes of a variant with slots of these classes. */
export function variantBytes({ slotBytes, rowBytes }: PoolSizes, classIds: Iterable<string>): number {
  let bytes = rowBytes;
  for (const classId of classIds) bytes += slotBytes.get(classId) ?? 0;
  return bytes;
}
