import { type ModelConfig, parametersOf, type SlotClass, slotMatrices, slotMatrixBytes } from "../core/index.js";
import type { ClassLayout, PoolLayout } from "../model/index.js";
import type { ResidencyCapacity } from "../storage/index.js";
import type { RegisteredVariant } from "./variants.js";

/**
 * How to divide the memory for variants: every class gets slots in the proportion in which the registered variants use it, as many as
 * `budgetBytes` hold, never more than there are variants with such parts and never none. A class has pools only in the matrices where
 * some variant has such a part. Undefined without variants.
 */
export function poolLayout(
  config: ModelConfig,
  variants: readonly Pick<RegisteredVariant, "classes" | "vocabSize" | "untied">[],
  budgetBytes: number,
): PoolLayout | undefined {
  if (variants.length === 0) return undefined;
  const found = new Map<string, { slotClass: SlotClass; matrices: Set<string>; users: number }>();
  for (const { classes } of variants) {
    for (const [id, { slotClass, matrices }] of classes) {
      const known = found.get(id) ?? { slotClass, matrices: new Set(), users: 0 };
      found.set(id, known);
      known.users += 1;
      for (const name of matrices) known.matrices.add(name);
    }
  }
  const slotBytes = ({ slotClass, matrices }: { slotClass: SlotClass; matrices: ReadonlySet<string> }) =>
    parametersOf({ ...config, tiedEmbeddings: false })
      .filter(({ name }) => matrices.has(name))
      .flatMap((parameter) => slotMatrices(slotClass, parameter, config))
      .reduce((sum, matrix) => sum + slotMatrixBytes(matrix), 0);
  const bytesOfAll = [...found.values()].reduce((sum, own) => sum + own.users * slotBytes(own), 0);
  const share = Math.min(1, budgetBytes / Math.max(1, bytesOfAll));
  const classes = new Map(
    [...found].map(([id, { slotClass, matrices, users }]): [string, ClassLayout] => {
      return [id, { slotClass, matrices, slots: Math.max(1, Math.floor(users * share)) }];
    }),
  );
  const leanest = Math.min(...variants.map((variant) => variant.classes.size));
  const slotsTotal = [...classes.values()].reduce((sum, { slots }) => sum + slots, 0);
  return {
    classes,
    variants: Math.min(variants.length, Math.max(1, Math.floor(slotsTotal / Math.max(1, leanest)))),
    extraRows: Math.max(0, ...variants.map(({ vocabSize }) => vocabSize - config.vocabSize)),
    ownHeads: !config.tiedEmbeddings || variants.some(({ untied }) => untied),
  };
}

/** What a layout has room for; nothing without one. */
export function capacityOf(layout: PoolLayout | undefined): ResidencyCapacity {
  const slots = [...(layout?.classes ?? [])].map(([id, own]): [string, number] => [id, own.slots]);
  return { slots: new Map(slots), variants: layout?.variants ?? 0 };
}
