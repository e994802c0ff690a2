export { CannotDistill } from "./check.js";
export { type Distillation, type DistillOptions, type DistillProgress, distill } from "./distill.js";
export type { TrainingSample } from "./samples.js";
export { measureSensitivity, type Sensitivity, type WeightedSample } from "./sensitivity.js";
export type { Student, StudentPlane } from "./student.js";
