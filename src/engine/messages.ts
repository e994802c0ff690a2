import type { ErrorData, FinishedSequence, SampledToken, SequenceSpec, StartedSequence } from "../core/index.js";
import type { DeviceKind } from "../ggml/index.js";
import type { BaseDType, KvDType } from "../model/index.js";
import type { MemoryDivision } from "./memory-division.js";

/** Everything an engine is started with; frozen then. Plain data, for it crosses to another process. */
export interface EngineOptions {
  /** A Hugging Face folder or a GGUF file. */
  readonly base: string;
  /** Delta artifacts and PEFT adapters by the name clients use. */
  readonly variants: readonly { readonly name: string; readonly path: string }[];
  readonly baseDType: BaseDType;
  readonly kvDType: KvDType;
  readonly device: DeviceKind;
  readonly threads: number;
  /** Tokens a sequence may have in all; at most what the model was made for. */
  readonly contextLength: number;
  /** Sequences that run at once. */
  readonly sequences: number;
  /** Memory for weights, steps, cells and slots together; null for {@link memoryShare} of what the device has free. */
  readonly memoryBytes: number | null;
  /** Variants that are resident from the start and stay so. */
  readonly pinned: readonly string[];
  /** Tokens of one step over all sequences. */
  readonly stepTokens: number;
  /** Sequences that may wait beyond those running. */
  readonly queueMax: number;
}

/** What a started engine says of itself. */
export interface EngineInfo {
  readonly device: string;
  /** Which kernels of our own it computes variants with, or why none: `native kernels: avx512vbmi`. */
  readonly kernels: string;
  readonly threads: number;
  readonly contextLength: number;
  readonly sequences: number;
  readonly memory: MemoryDivision;
  /** Variants that were left out, with the reason. */
  readonly refused: readonly { readonly name: string; readonly error: ErrorData }[];
}

/** The first message to an engine in a process of its own. */
export interface StartEngine {
  readonly type: "start";
  readonly options: EngineOptions;
}

export type ToEngine =
  | { readonly type: "submit"; readonly spec: SequenceSpec }
  | { readonly type: "abort"; readonly id: string };

/** A variant has been loaded. */
export interface VariantLoaded {
  readonly type: "variantLoaded";
  readonly variant: string;
  readonly bytes: number;
  readonly tookMs: number;
  /** What it was expected to take, by which the memory of variants is given away. */
  readonly expectedMs: number;
  /** How far what is expected of loads, and of steps, was off of late, as a part of what they took. */
  readonly errors: { readonly load: number; readonly step: number };
}

export type FromEngine =
  | { readonly type: "loading"; readonly bytesDone: number; readonly bytesTotal: number }
  | { readonly type: "ready"; readonly info: EngineInfo }
  | VariantLoaded
  | {
      readonly type: "step";
      readonly started: readonly StartedSequence[];
      readonly tokens: readonly SampledToken[];
      readonly finished: readonly FinishedSequence[];
    }
  | { readonly type: "failed"; readonly id: string; readonly error: ErrorData }
  /** The engine cannot start, or cannot go on. */
  | { readonly type: "broken"; readonly error: ErrorData };
