// Bases, fine-tunes and students at random, small enough to train in a test.

import { type ModelConfig, parametersOf } from "../core/index.js";
import { type Checkpoint, type PlaneDType, paddedCols } from "../formats/index.js";
import { fromFloat32 } from "../ggml/index.js";
import { uniformAt } from "../util/index.js";
import type { TrainingSample } from "./samples.js";
import type { Student } from "./student.js";

/** Weights by Hugging Face's names, row-major. */
type WeightTable = ReadonlyMap<string, Float32Array>;

/** A Llama of some 30,000 parameters whose columns no block divides, or what `fields` make of it. */
export function smallConfig(fields: Partial<ModelConfig> = {}): ModelConfig {
  return {
    architecture: "llama",
    hiddenSize: 48,
    layers: 2,
    heads: 4,
    kvHeads: 2,
    headDim: 12,
    feedForward: 72,
    vocabSize: 40,
    contextLength: 64,
    rmsNormEps: 1e-5,
    ropeTheta: 10_000,
    ropeScaling: { kind: "none" },
    tiedEmbeddings: true,
    qkvBias: false,
    outputBias: false,
    mlpBias: false,
    qkNorm: false,
    slidingWindow: null,
    ...fields,
  };
}

const elements = (shape: readonly number[]) => shape.reduce((product, extent) => product * extent, 1);

/** Numbers between ±size that depend on the seed alone. */
export function noise(count: number, seed: number, size: number): Float32Array {
  return Float32Array.from({ length: count }, (_, at) => size * (2 * uniformAt(seed, at) - 1));
}

/** Norms near 1, biases near 0, and matrices that keep the size of what they multiply. */
export function randomWeights(config: ModelConfig): Map<string, Float32Array> {
  return new Map(
    parametersOf(config).map(({ name, shape, kind }, index) => {
      const isNorm = name.endsWith("norm.weight");
      const size = kind === "vector" ? 0.3 : kind === "embedding" ? 0.6 : 2 / Math.sqrt(shape[1]!);
      return [name, noise(elements(shape), index, size).map((value) => value + (isNorm ? 1 : 0))];
    }),
  );
}

/** Every weight moved by up to a fifth of what it might be. With `rows` a longer vocabulary than the base's. */
export function tunedWeights(config: ModelConfig, base: WeightTable): Map<string, Float32Array> {
  return new Map(
    parametersOf(config).map(({ name, shape, kind }, index) => {
      const moved = noise(elements(shape), 1000 + index, kind === "vector" ? 0.1 : 0.4 / Math.sqrt(shape[1]!));
      const own = base.get(name)!;
      return [name, moved.map((value, at) => value + (own[at] ?? 0))];
    }),
  );
}

/** A checkpoint in memory, all of it f32. */
export function memoryCheckpoint(config: ModelConfig, weights: WeightTable): Checkpoint {
  const tensors = parametersOf(config).map(({ name, shape }) => ({
    name,
    shape,
    dtype: "f32" as const,
    byteLength: weights.get(name)!.byteLength,
  }));
  return {
    name: "random",
    path: "memory",
    config,
    configJson: {},
    text: { tokenizer: undefined, tokenizerConfig: {}, chatTemplate: undefined, generationConfig: {} },
    tensors: new Map(tensors.map((tensor) => [tensor.name, tensor])),
    read: async (name, into) => into.set(new Uint8Array(weights.get(name)!.slice().buffer)),
    fingerprint: async () => "random",
    [Symbol.asyncDispose]: async () => {},
  };
}

export interface Pair {
  readonly base: Checkpoint;
  readonly tuned: Checkpoint;
  readonly student: Student;
}

/** A base, a fine-tune of it, and the fine-tune's nearest planes of a dtype, the second half as large as the first. */
export function randomPair(
  options: { config?: Partial<ModelConfig>; dtype?: PlaneDType; planes?: number; extraRows?: number } = {},
): Pair {
  const { dtype = "q1_0", planes = 1, extraRows = 0 } = options;
  const config = smallConfig(options.config);
  const tunedConfig = { ...config, vocabSize: config.vocabSize + extraRows };
  const base = randomWeights(config);
  const tuned = tunedWeights(tunedConfig, base);
  const matrices = new Map<string, { planes: { dtype: PlaneDType; bytes: Uint8Array }[] }>();
  const vectors = new Map<string, Float32Array>();
  for (const [index, { name, shape, kind }] of parametersOf(config).entries()) {
    if (kind === "vector") {
      vectors.set(name, tuned.get(name)!);
      continue;
    }
    const [rows, cols] = shape as [number, number];
    const padded = paddedCols(dtype, cols);
    const difference = new Float32Array(rows * padded);
    for (let row = 0; row < rows; row++) {
      for (let col = 0; col < cols; col++) {
        difference[row * padded + col] = tuned.get(name)![row * cols + col]! - base.get(name)![row * cols + col]!;
      }
    }
    const planeOf = (values: Float32Array) => ({ dtype, bytes: fromFloat32(dtype, values, padded) });
    const further = Array.from({ length: planes - 1 }, (_, plane) =>
      planeOf(noise(rows * padded, 5000 + 100 * plane + index, 0.2 / Math.sqrt(cols))),
    );
    matrices.set(name, { planes: [planeOf(difference), ...further] });
  }
  return {
    base: memoryCheckpoint(config, base),
    tuned: memoryCheckpoint(tunedConfig, tuned),
    student: { matrices, vectors },
  };
}

/** Samples of random tokens, the first part of each not counted. */
export function randomSamples(count: number, length: number, vocabulary: number): TrainingSample[] {
  return Array.from({ length: count }, (_, sample) => ({
    tokens: Array.from({ length }, (_, at) => Math.floor(uniformAt(7000 + sample, at) * vocabulary)),
    from: sample % length,
  }));
}
