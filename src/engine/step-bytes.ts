import type { ModelConfig } from "../core/index.js";

/** What decides how large a step may get. */
export interface StepLimits {
  readonly contextLength: number;
  readonly sequences: number;
  readonly stepTokens: number;
  /** Each row looks at its own cells, and no masks are needed. */
  readonly attendsByRow: boolean;
}

/** Inputs, and what is lost to alignment. */
const smallThings = 1 << 20;

/** Bytes that the largest step is expected to take while it is computed, before it can be asked of the device. */
export function expectedStepBytes(
  config: ModelConfig,
  { contextLength, sequences, stepTokens, attendsByRow }: StepLimits,
): number {
  const rows = Math.min(stepTokens, contextLength + sequences - 1);
  const widest = Math.max(2 * config.feedForward, 3 * config.heads * config.headDim);
  const activations = 4 * rows * (3 * config.hiddenSize + widest);
  const logits = 4 * config.vocabSize * sequences;
  // Logits come when the rows of layers have gone; ggml's attention has masks, and rows in other orders, beside them.
  if (attendsByRow) return Math.max(activations, logits) + smallThings;
  return activations + 2 * contextLength * rows + logits + smallThings;
}
