export { defaultEngineOptions, Engine } from "./engine.js";
export type { EngineInfo, EngineOptions, FromEngine, ToEngine } from "./messages.js";
export { sampleToken } from "./sampler.js";
