export { defaultEngineOptions, memoryShare } from "./defaults.js";
export { Engine, type StepTimes } from "./engine.js";
export type { MemoryDivision } from "./memory-division.js";
export { type MemoryPlan, planMemory } from "./memory-plan.js";
export type { EngineInfo, EngineOptions, FromEngine, StartEngine, ToEngine, VariantLoaded } from "./messages.js";
export { Probe, type ProbeOptions, type Question } from "./probe.js";
export { heapEnvironment, heapFlags, processBytes } from "./process-bytes.js";
export type { Reading } from "./reading.js";
export { sampleToken } from "./sampler.js";
