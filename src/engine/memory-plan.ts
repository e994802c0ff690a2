import { openCheckpoint } from "../formats/index.js";
import { attendsByRow, Device, loadKernels } from "../ggml/index.js";
import { weightBytes } from "../model/index.js";
import { memoryShare } from "./defaults.js";
import { divideMemory, type MemoryDivision } from "./memory-division.js";
import type { EngineInfo, EngineOptions } from "./messages.js";
import { processBytes } from "./process-bytes.js";
import { expectedStepBytes } from "./step-bytes.js";
import { checkPins, openVariants } from "./variants.js";

/** What an engine would do with its memory. */
export interface MemoryPlan {
  readonly device: string;
  readonly contextLength: number;
  readonly division: MemoryDivision;
  /** What each variant takes while it is resident. */
  readonly variants: readonly { readonly name: string; readonly bytes: number }[];
  readonly refused: EngineInfo["refused"];
}

/**
 * Says how an engine with these options would divide its memory, without starting it: of base and variants, only headers are read, and kernels
 * are compiled if they were not.
 *
 * @throws {InsufficientMemory} when it could not start
 */
export async function planMemory(options: EngineOptions): Promise<MemoryPlan> {
  await using base = await openCheckpoint(options.base);
  const { kernels } = await loadKernels({ device: options.device });
  using device = Device.open({ kind: options.device, threads: 1, kernels });
  const { config } = base;
  const { variants, refused } = await openVariants(options.variants, base, { isChecked: true });
  checkPins(options.pinned, { variants, refused });
  const contextLength = Math.min(options.contextLength, config.contextLength);
  const divided = divideMemory({
    ...options,
    budgetBytes: options.memoryBytes ?? Math.floor(memoryShare * device.freeBytes),
    config,
    contextLength,
    processBytes: device.page > 1 ? processBytes(options.variants.length) : 0,
    baseBytes: weightBytes(base, options.baseDType),
    stepBytes: expectedStepBytes(config, {
      ...options,
      contextLength,
      attendsByRow: attendsByRow(device, config.headDim),
    }),
    variants,
    page: device.page,
  });
  return {
    device: device.description,
    contextLength,
    division: divided.division,
    variants: [...divided.variantBytes].map(([name, bytes]) => ({ name, bytes })),
    refused: [...refused, ...divided.refused],
  };
}
