// What a program that embeds Kindred may use; everything else may change between any two versions.

export { openService, type Service, type ServiceOptions } from "./cli/wire.js";
export {
  type ChatMessage,
  type Completer,
  type CompletionEvent,
  type CompletionRequest,
  KindredError,
  type ModelCard,
  type SamplingParams,
  type ServiceEvent,
} from "./core/index.js";
export {
  type CompressOptions,
  codecs,
  compressDelta,
  createCodec,
  type DeltaReport,
  restoreCheckpoint,
} from "./delta/index.js";
export { defaultEngineOptions, type EngineInfo, type EngineOptions } from "./engine/index.js";
export { type Checkpoint, type DeltaArtifact, openCheckpoint, openDelta } from "./formats/index.js";
export { createApp, listen } from "./http/index.js";
