export type { EnginePort } from "./engine-port.js";
export { EngineProcess } from "./engine-process.js";
export { InlineEngine } from "./inline-engine.js";
export { LocalCompleter } from "./local-completer.js";
export { ServedModel } from "./served-model.js";
