// A random base and random variants of it, all of them in their slots.

import type { DType, ModelConfig } from "../core/index.js";
import type { Device } from "../ggml/index.js";
import type { BaseDType } from "../model/index.js";
import type { ResidentVariant } from "./batch.js";
import { poolLayout } from "./pool-layout.js";
import { memoryCheckpoint, randomWeights, type WeightTable } from "./random-model.test.kit.js";
import { type RandomVariant, registered, tunedModel } from "./random-variant.test.kit.js";
import { loadVariant } from "./variant-load.js";
import { Workbench } from "./workbench.test.kit.js";

export interface Family {
  readonly bench: Workbench;
  readonly base: WeightTable;
  resident(name: string): ResidentVariant | undefined;
  /** The base, or a variant as a model of its own. */
  model(name: string | null): { readonly config: ModelConfig; readonly weights: WeightTable };
}

export interface FamilyOptions {
  readonly device?: Device;
  readonly dtype?: BaseDType;
  readonly kvDType?: "f16" | "f32";
  readonly regions?: number;
  /** How the base's matrices are stored. Default: f32. */
  readonly storedAs?: (name: string) => DType;
}

/** Slots and indexes are given out from the last, so that none is what it would be by itself. */
export async function openFamily(
  config: ModelConfig,
  variants: Readonly<Record<string, RandomVariant>>,
  options: FamilyOptions = {},
): Promise<Family> {
  const base = randomWeights(config);
  const own = new Map(Object.entries(variants).map(([name, variant]) => [name, registered(config, base, variant)]));
  const layout = poolLayout(config, [...own.values()], Number.POSITIVE_INFINITY)!;
  const bench = await Workbench.open(memoryCheckpoint(config, base, options.storedAs), { ...options, pools: layout });
  const free = new Map([...layout.classes].map(([id, { slots }]) => [id, slots]));
  const residents = new Map<string, ResidentVariant>();
  for (const [name, variant] of own) {
    const slots = new Map<string, number>();
    for (const id of variant.needs) {
      slots.set(id, free.get(id)! - 1);
      free.set(id, slots.get(id)!);
    }
    const place = { index: own.size - 1 - residents.size, slots, vocabSize: variant.vocabSize };
    await loadVariant(variant, place, bench);
    residents.set(name, place);
  }
  return {
    bench,
    base,
    resident: (name) => residents.get(name),
    model: (name) => (name === null ? { config, weights: base } : tunedModel(config, base, variants[name]!)),
  };
}
