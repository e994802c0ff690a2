import { parametersOf } from "../core/index.js";
import { mergedDType, mergedPlanesMax } from "../ggml/index.js";
import type { DeltaPools } from "./delta-pools.js";
import type { Weights } from "./weights.js";

/** What becomes of a variant's parts of a class where its planes are merged into the base's weights: merged too, or added to the product. */
export type MergedPart = "merged" | "added";

/**
 * The classes that a variant may have for rows of its prompts to be computed with its planes merged into the base's weights, where every
 * linear layer is interleaved: sign planes are, factors and parts of other matrices are added as ever.
 */
export function mergeableClasses(weights: Weights, pools: DeltaPools | undefined): ReadonlyMap<string, MergedPart> {
  const layers = parametersOf(weights.config).filter(({ kind }) => kind === "linear");
  if (!pools || !layers.every(({ name }) => weights.matrix(name).isInterleaved)) return new Map();
  const classes = new Map<string, MergedPart>();
  for (const [classId, { slotClass, matrices }] of pools.layout.classes) {
    const isPlane = slotClass.kind === "plane";
    if (!isPlane || !layers.some(({ name }) => matrices.has(name))) classes.set(classId, "added");
    else if (slotClass.dtype === mergedDType && slotClass.plane <= mergedPlanesMax) classes.set(classId, "merged");
  }
  return classes;
}
