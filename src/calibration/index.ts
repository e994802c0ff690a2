export type { CalibrationSequence } from "./chunks.js";
export { type Compressor, Lockstep } from "./lockstep.js";
export type { InputStatistics } from "./statistics.js";
