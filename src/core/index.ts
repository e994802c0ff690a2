export * from "./completion.js";
export * from "./dtype.js";
export * from "./errors.js";
export * from "./events.js";
export * from "./model-config.js";
export * from "./sampling.js";
export * from "./sequence.js";
export * from "./step.js";
