import { parametersOf } from "../core/index.js";
import { mergedDType, mergedPlanesMax } from "../ggml/index.js";
import type { DeltaPools } from "./delta-pools.js";
import type { Weights } from "./weights.js";

/**
 * The classes whose parts in linear layers can be merged into the base's weights: sign planes, where every layer is interleaved,
 * and those that have no parts in linear layers. Where a variant has no others, rows of its prompts can be computed with both
 * in one.
 */
export function mergeableClasses(weights: Weights, pools: DeltaPools | undefined): ReadonlySet<string> {
  const layers = parametersOf(weights.config).filter(({ kind }) => kind === "linear");
  if (!pools || !layers.every(({ name }) => weights.matrix(name).isInterleaved)) return new Set();
  const mergeable = [...pools.layout.classes].filter(([, { slotClass, matrices }]) => {
    const isPlane = slotClass.kind === "plane" && slotClass.plane <= mergedPlanesMax;
    return (isPlane && slotClass.dtype === mergedDType) || !layers.some(({ name }) => matrices.has(name));
  });
  return new Set(mergeable.map(([classId]) => classId));
}
