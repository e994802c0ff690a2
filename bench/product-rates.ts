import { dtypes, elementCount, headName, type ModelConfig, parametersOf, tensorBytes } from "../src/core/index.js";
import type { Limits } from "./limits.js";

/** A base's matrices as a step multiplies with them, all in one form. */
export interface BaseMatrices {
  /** Weights, and bytes, of the layers' matrices and of the one that makes logits. */
  readonly layerWeights: number;
  readonly headWeights: number;
  readonly bytes: number;
}

export function baseMatrices(config: ModelConfig, dtype: "q8_0" | "q4_0"): BaseMatrices {
  const parameters = parametersOf(config);
  const layers = parameters.filter(({ kind }) => kind === "linear");
  const head = parameters.find(({ name }) => name === headName(config))!;
  const weightsOf = (some: typeof parameters) => some.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  return {
    layerWeights: weightsOf(layers),
    headWeights: elementCount(head.shape),
    bytes: [...layers, head].reduce((sum, { shape }) => sum + tensorBytes(dtype, shape), 0),
  };
}

/** The rates of a step over `rows` tokens of which `outputs` have logits, as if its `ms` were nothing but base products. */
export function baseRates(
  { layerWeights, headWeights, bytes }: BaseMatrices,
  { rows, outputs, ms }: { rows: number; outputs: number; ms: number },
): Limits {
  return {
    gigabytesPerSecond: bytes / ms / 1e6,
    gigaproductsPerSecond: (rows * layerWeights + outputs * headWeights) / ms / 1e6,
  };
}

/** The rates at which sign planes of `bytes` bytes in all are read and multiplied by one row each, in `ms`. */
export function planeRates(bytes: number, ms: number): Limits {
  const { blockBytes, blockSize } = dtypes.q1_0;
  return {
    gigabytesPerSecond: bytes / ms / 1e6,
    gigaproductsPerSecond: ((bytes / blockBytes) * blockSize) / ms / 1e6,
  };
}

/** What part of a limit is reached, of the one that binds: where reading and multiplying overlap wholly, the one that takes longer. */
export function bindingFraction(rates: Limits, limits: Limits): number {
  const part = (rate: number, limit: number) => (limit > 0 ? rate / limit : 0);
  return Math.max(
    part(rates.gigabytesPerSecond, limits.gigabytesPerSecond),
    part(rates.gigaproductsPerSecond, limits.gigaproductsPerSecond),
  );
}
