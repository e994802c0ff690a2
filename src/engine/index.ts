export { defaultEngineOptions, Engine } from "./engine.js";
export type { EngineInfo, EngineOptions, FromEngine, StartEngine, ToEngine } from "./messages.js";
export { sampleToken } from "./sampler.js";
