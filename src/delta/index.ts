export { type Allocation, type AllocationAim, allocate } from "./allocation.js";
export {
  type Calibration,
  type CodecFamily,
  type DeltaCodec,
  type EncodedTensor,
  type Factors,
  InvalidDifference,
  type Plane,
} from "./codec.js";
export { codecs, createCodec } from "./codecs.js";
export { CannotCompress } from "./compatibility.js";
export { type CompressOptions, compressDelta } from "./compress.js";
export { addEncoded } from "./decoded.js";
export type { DistillationOptions } from "./distilled.js";
export { WrongBase } from "./kinship.js";
export { addPlane, decodePlane } from "./planes.js";
export type { Progress } from "./progress-meter.js";
export { type DeltaReport, printReport, type ReportLine, reportOf } from "./report.js";
export { NotExact, type Restored, type RestoreOptions, restoreCheckpoint } from "./restore.js";
export { type Candidate, type Survey, type SurveyOptions, surveyForms } from "./survey.js";
