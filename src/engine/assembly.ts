import { InsufficientMemory } from "../core/index.js";
import type { Checkpoint } from "../formats/index.js";
import { attendsByRow, type Device } from "../ggml/index.js";
import { type DecoderState, DeltaPools, KvCache, Weights, weightBytes } from "../model/index.js";
import { memoryShare } from "./defaults.js";
import { largestStep } from "./largest-step.js";
import { divideMemory } from "./memory-division.js";
import type { EngineInfo, EngineOptions, FromEngine } from "./messages.js";
import { processBytes } from "./process-bytes.js";
import { expectedStepBytes } from "./step-bytes.js";
import { Stepper } from "./stepper.js";
import { checkPins, openVariants, type RegisteredVariant } from "./variants.js";

/** What an engine is made of. */
export interface EngineParts {
  readonly device: Device;
  readonly state: DecoderState;
  readonly stepper: Stepper;
  readonly variants: ReadonlyMap<string, RegisteredVariant>;
  readonly info: EngineInfo;
}

/**
 * Reads the base onto a device, registers the variants, and divides what memory there is. The device owns what is made on it.
 *
 * @param on.kernels what is said of the device's kernels
 * @throws {KindredError} if the base cannot be read, memory is short, or a pinned variant cannot be served
 */
export async function assemble(
  options: EngineOptions,
  on: {
    readonly device: Device;
    readonly checkpoint: Checkpoint;
    readonly kernels: string;
    readonly emit: (message: FromEngine) => void;
  },
): Promise<EngineParts> {
  const { device, checkpoint } = on;
  const { config } = checkpoint;
  const budgetBytes = options.memoryBytes ?? Math.floor(memoryShare * device.freeBytes);
  const ownBytes = device.page > 1 ? processBytes(options.variants.length) : 0;
  const expectedBytes = weightBytes(checkpoint, options.baseDType);
  if (ownBytes + expectedBytes > budgetBytes) {
    const parts = { ...(ownBytes > 0 ? { "the process": ownBytes } : {}), "the base": expectedBytes };
    throw new InsufficientMemory("start", { budgetBytes, parts });
  }
  const weights = await Weights.load(device, checkpoint, {
    dtype: options.baseDType,
    onProgress: (progress) => on.emit({ type: "loading", ...progress }),
  });
  const opened = await openVariants(options.variants, checkpoint);
  checkPins(options.pinned, opened);
  const contextLength = Math.min(options.contextLength, config.contextLength);
  const demands = {
    ...options,
    budgetBytes,
    processBytes: ownBytes,
    config,
    contextLength,
    baseBytes: weights.byteLength,
    variants: opened.variants,
    page: device.page,
  };
  // Where cells and slots have no memory from the start, what steps take is known before anything lies in them.
  const isShared = device.page > 1;
  const limits = { ...options, contextLength, attendsByRow: attendsByRow(device, config.headDim) };
  const stepBytes = isShared ? 0 : expectedStepBytes(config, limits);
  const first = divideMemory({ ...demands, stepBytes });
  const regions = first.division.sequences;
  const cache = new KvCache(device, config, { contextLength, regions, dtype: options.kvDType });
  const pools = first.layout && new DeltaPools(device, config, first.layout);
  pools?.copyBaseVectors(weights);
  const state = { weights, cache, pools };
  const stepper = new Stepper(device, state);
  const { plan, resident } = largestStep(state, options.stepTokens);
  stepper.reserve(plan, resident);
  const { division, refused } = isShared ? divideMemory({ ...demands, stepBytes: stepper.byteLength }) : first;
  for (const { name } of refused) opened.variants.delete(name);
  const info: EngineInfo = {
    device: device.description,
    kernels: on.kernels,
    threads: device.threads,
    contextLength,
    sequences: division.sequences,
    memory: division,
    refused: [...opened.refused, ...refused],
  };
  return { device, state, stepper, variants: opened.variants, info };
}
