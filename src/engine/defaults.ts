import { availableParallelism } from "node:os";
import type { EngineOptions } from "./messages.js";

/** What an engine does where its starter did not choose. */
export const defaultEngineOptions: Omit<EngineOptions, "base" | "variants"> = {
  baseDType: "auto",
  kvDType: "f16",
  device: "cpu",
  threads: availableParallelism(),
  contextLength: 2048,
  sequences: 16,
  memoryBytes: null,
  pinned: [],
  stepTokens: 512,
  queueMax: 256,
};

/** How much of what the machine has free an engine takes where nobody says how much. */
export const memoryShare = 0.8;
