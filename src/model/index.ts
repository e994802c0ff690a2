export { readValues } from "./checkpoint-values.js";
export { type DecoderState, decode, type GroupedAttention, type StepInputs, type StepOutputs } from "./decoder.js";
export { type ClassLayout, DeltaPools, type Part, type PoolLayout } from "./delta-pools.js";
export { KvCache, type KvDType, kvDTypes, UnfitCacheType } from "./kv-cache.js";
export type { PartRun, VariantRows } from "./linear.js";
export { ropeFactors, ropeOf } from "./rope.js";
export { type BaseDType, type LoadProgress, storageDType, Weights } from "./weights.js";
