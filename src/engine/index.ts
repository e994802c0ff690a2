export { defaultEngineOptions, Engine, type StepTimes } from "./engine.js";
export type { EngineInfo, EngineOptions, FromEngine, StartEngine, ToEngine } from "./messages.js";
export { Probe, type ProbeOptions, type Question } from "./probe.js";
export type { Reading } from "./reading.js";
export { sampleToken } from "./sampler.js";
