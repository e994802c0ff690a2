export { readValues } from "./checkpoint-values.js";
export { type DecoderState, decode, type GroupedAttention, type StepInputs, type StepOutputs } from "./decoder.js";
export { type ClassLayout, DeltaPools, type Part, type PoolLayout } from "./delta-pools.js";
export {
  type CellSizes,
  cellBytes,
  KvCache,
  type KvDType,
  kvDTypes,
  sharedCellBytes,
  UnfitCacheType,
} from "./kv-cache.js";
export type { MergedRun, PartRun, VariantRows } from "./linear.js";
export { type MergedPart, mergeableClasses } from "./merging.js";
export { type PoolSizes, poolSizes, poolSpecs, variantBytes } from "./pool-specs.js";
export { ropeFactors, ropeOf } from "./rope.js";
export { type BaseDType, type LoadProgress, storageDType, Weights, weightBytes } from "./weights.js";
