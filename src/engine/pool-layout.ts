import type { ModelConfig } from "../core/index.js";
import { type ClassLayout, type PoolLayout, poolSizes, poolSpecs, variantBytes } from "../model/index.js";
import type { ResidencyCapacity } from "../storage/index.js";
import type { RegisteredVariant } from "./variants.js";

type Placeable = Pick<RegisteredVariant, "classes" | "vocabSize" | "untied">;

/**
 * How to divide memory for variants that is theirs from the start: every class gets slots in the proportion in which the registered variants use it, as many as
 * `budgetBytes` hold, never more than there are variants with such parts and never none. A class has pools only in the matrices where
 * some variant has such a part. Undefined without variants.
 */
export function poolLayout(
  config: ModelConfig,
  variants: readonly Placeable[],
  budgetBytes: number,
): PoolLayout | undefined {
  const one = oneOfEach(config, variants);
  if (!one) return undefined;
  const { slotBytes, rowBytes } = poolSizes(poolSpecs(config, one), 1);
  const users = usersOf(variants);
  const bytesOfAll = [...users].reduce(
    (sum, [id, count]) => sum + count * slotBytes.get(id)!,
    variants.length * rowBytes,
  );
  const share = Math.min(1, budgetBytes / Math.max(1, bytesOfAll));
  const classes = new Map(
    [...one.classes].map(([id, own]) => [id, { ...own, slots: Math.max(1, Math.floor(users.get(id)! * share)) }]),
  );
  const leanest = Math.min(...variants.map((variant) => variant.classes.size));
  const slotsTotal = [...classes.values()].reduce((sum, { slots }) => sum + slots, 0);
  const atOnce = Math.max(1, Math.floor(slotsTotal / Math.max(1, leanest)));
  return { ...one, classes, variants: Math.min(variants.length, atOnce) };
}

/**
 * Pools whose slots take memory only while a variant is in them: places for as many variants of each class as could have memory at once if they
 * had all of it. Undefined without variants.
 *
 * @param page what memory is had in
 */
export function pagedPoolLayout(
  config: ModelConfig,
  variants: readonly Placeable[],
  { budgetBytes, page }: { readonly budgetBytes: number; readonly page: number },
): PoolLayout | undefined {
  const one = oneOfEach(config, variants);
  if (!one) return undefined;
  const sizes = poolSizes(poolSpecs(config, one), page);
  const fits = (count: number, bytes: number) => Math.min(count, Math.max(1, Math.floor(budgetBytes / bytes)));
  const users = usersOf(variants);
  const classes = new Map(
    [...one.classes].map(([id, own]) => {
      return [id, { ...own, slots: fits(users.get(id)!, variantBytes(sizes, [id])) }];
    }),
  );
  const leanest = Math.min(...variants.map((variant) => variantBytes(sizes, variant.classes.keys())));
  return { ...one, classes, variants: fits(variants.length, leanest) };
}

/** Pools for one variant of each class. */
export function oneOfEach(config: ModelConfig, variants: readonly Placeable[]): PoolLayout | undefined {
  if (variants.length === 0) return undefined;
  const classes = new Map<string, ClassLayout & { matrices: Set<string> }>();
  for (const variant of variants) {
    for (const [id, { slotClass, matrices }] of variant.classes) {
      const known = classes.get(id) ?? { slotClass, matrices: new Set(), slots: 1 };
      classes.set(id, known);
      for (const name of matrices) known.matrices.add(name);
    }
  }
  return {
    classes,
    variants: 1,
    extraRows: Math.max(0, ...variants.map(({ vocabSize }) => vocabSize - config.vocabSize)),
    ownHeads: !config.tiedEmbeddings || variants.some(({ untied }) => untied),
  };
}

/** How many variants have parts of each class. */
function usersOf(variants: readonly Placeable[]): Map<string, number> {
  const users = new Map<string, number>();
  for (const { classes } of variants) for (const id of classes.keys()) users.set(id, (users.get(id) ?? 0) + 1);
  return users;
}

/** What a layout has room for; nothing without one. */
export function capacityOf(layout: PoolLayout | undefined): ResidencyCapacity {
  const slots = [...(layout?.classes ?? [])].map(([id, own]): [string, number] => [id, own.slots]);
  return { slots: new Map(slots), variants: layout?.variants ?? 0 };
}
