import type { ModelConfig } from "../core/index.js";
import type { Rope, Tensor } from "../ggml/index.js";

/**
 * By what each rotary frequency is divided under Llama 3's scaling: 1 for wavelengths well inside the original context, `factor`
 * for those beyond it, and a linear blend between (Llama 3.1 reference code, `apply_scaling`). `[headDim / 2]`, or undefined when
 * the model does not scale by frequency.
 */
export function ropeFactors(config: ModelConfig): Float32Array | undefined {
  const scaling = config.ropeScaling;
  if (scaling.kind !== "llama3") return undefined;
  const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalContextLength } = scaling;
  return Float32Array.from({ length: config.headDim / 2 }, (_, i) => {
    const wavelength = 2 * Math.PI * config.ropeTheta ** ((2 * i) / config.headDim);
    if (wavelength < originalContextLength / high) return 1;
    if (wavelength > originalContextLength / low) return factor;
    const smooth = (originalContextLength / wavelength - low) / (high - low);
    return 1 / ((1 - smooth) / factor + smooth);
  });
}

/** How a model rotates queries and keys. @param factors of {@link ropeFactors}, on a device */
export function ropeOf({ headDim, ropeTheta, ropeScaling }: ModelConfig, factors: Tensor | undefined): Rope {
  return { dims: headDim, base: ropeTheta, scale: ropeScaling.kind === "linear" ? 1 / ropeScaling.factor : 1, factors };
}
