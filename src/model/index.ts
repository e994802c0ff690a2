export { type AttentionGroup, type DecoderState, decode, type StepInputs, type StepOutputs } from "./decoder.js";
export { DeltaPools, type PoolLayout } from "./delta-pools.js";
export { KvCache } from "./kv-cache.js";
export type { PlaneRun, VariantRows } from "./linear.js";
export { ropeFactors } from "./rope.js";
export { type BaseDType, type LoadProgress, storageDType, Weights } from "./weights.js";
