import { type DType, type ModelConfig, parametersOf } from "../core/index.js";
import { planeBytes } from "../formats/index.js";
import type { PoolLayout } from "../model/index.js";
import type { RegisteredVariant } from "./variants.js";

/**
 * How to divide the memory for variants: every dtype gets slots in the proportion in which the registered variants use it, as many as
 * `budgetBytes` hold, never more than all of them need and never fewer than the largest one does. Undefined without variants.
 */
export function poolLayout(
  config: ModelConfig,
  variants: readonly RegisteredVariant[],
  budgetBytes: number,
): PoolLayout | undefined {
  if (variants.length === 0) return undefined;
  const shapes = new Map(
    parametersOf(config).map(({ name, shape }) => [name, { rows: shape[0]!, cols: shape[1] ?? 1 }]),
  );
  const matrices = new Map<DType, Set<string>>();
  const planesTotal = new Map<DType, number>();
  const planesMax = new Map<DType, number>();
  for (const variant of variants) {
    for (const [name, { dtype }] of variant.matrices) {
      matrices.set(dtype, (matrices.get(dtype) ?? new Set()).add(name));
    }
    for (const [dtype, planes] of variant.needs) {
      planesTotal.set(dtype, (planesTotal.get(dtype) ?? 0) + planes);
      planesMax.set(dtype, Math.max(planesMax.get(dtype) ?? 0, planes));
    }
  }
  const slotBytes = (dtype: DType) =>
    [...matrices.get(dtype)!].reduce((sum, name) => sum + planeBytes(dtype, shapes.get(name)!), 0);
  const bytesOfAll = [...planesTotal].reduce((sum, [dtype, planes]) => sum + planes * slotBytes(dtype), 0);
  const share = Math.min(1, budgetBytes / Math.max(1, bytesOfAll));
  const slots = new Map(
    [...planesTotal].map(([dtype, planes]) => [dtype, Math.max(planesMax.get(dtype)!, Math.floor(planes * share))]),
  );
  const leanest = Math.min(
    ...variants.map((variant) => [...variant.needs.values()].reduce((sum, planes) => sum + planes, 0)),
  );
  const slotsTotal = [...slots.values()].reduce((sum, count) => sum + count, 0);
  return {
    slots,
    matrices,
    variants: Math.min(variants.length, Math.max(1, Math.floor(slotsTotal / Math.max(1, leanest)))),
    extraRows: Math.max(...variants.map((variant) => variant.extraRows)),
  };
}

/** Device memory that one variant takes while it is resident: its planes, its vectors and its own vocabulary. */
export function residentBytes(config: ModelConfig, variant: RegisteredVariant): number {
  const own = poolLayout(config, [variant], Number.POSITIVE_INFINITY)!;
  const floats = (count: number) => 4 * count;
  return parametersOf(config).reduce((sum, { name, kind, shape }) => {
    const [rows = 1, cols = 1] = shape;
    if (kind === "vector") return sum + floats(rows);
    const planes = [...own.slots].reduce(
      (bytes, [dtype, slots]) =>
        bytes + (own.matrices.get(dtype)!.has(name) ? slots * planeBytes(dtype, { rows, cols }) : 0),
      0,
    );
    return sum + planes + (kind === "linear" ? 0 : floats(own.extraRows * cols));
  }, 0);
}
