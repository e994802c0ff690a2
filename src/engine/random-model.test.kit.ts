// Models whose weights follow from their parameters' names, so that tools/golden.py can make the same ones without a file between.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type DType, elementCount, type ModelConfig, type Parameter, parametersOf } from "../core/index.js";
import { type Checkpoint, parseModelConfig, writeSafetensors } from "../formats/index.js";
import { fromFloat32 } from "../ggml/index.js";
import { assert, uniformAt } from "../util/index.js";

/** Weights by Hugging Face's names, row-major. */
export type WeightTable = ReadonlyMap<string, Float32Array>;

/** The bytes of a name as digits to the base 31, modulo 2^31. */
function seedOf(name: string): number {
  return new TextEncoder().encode(name).reduce((seed, byte) => (seed * 31 + byte) % 2 ** 31, 0);
}

/** Norms are near 1; matrices are scaled so that what they multiply keeps its size. */
function randomWeight({ name, shape, kind }: Parameter): Float32Array {
  const [centre, size] = name.endsWith("norm.weight")
    ? [1, 0.5]
    : kind === "vector"
      ? [0, 0.5]
      : [0, kind === "embedding" ? 1 : 3 / Math.sqrt(shape.at(-1)!)];
  const seed = seedOf(name);
  return Float32Array.from({ length: elementCount(shape) }, (_, at) => centre + size * (2 * uniformAt(seed, at) - 1));
}

export function randomWeights(config: ModelConfig): Map<string, Float32Array> {
  return new Map(parametersOf(config).map((parameter) => [parameter.name, randomWeight(parameter)]));
}

/** A Llama of 23,000 parameters, or what `fields` make of it. */
export function smallConfig(fields: Partial<ModelConfig> = {}): ModelConfig {
  return {
    architecture: "llama",
    hiddenSize: 32,
    layers: 2,
    heads: 4,
    kvHeads: 2,
    headDim: 8,
    feedForward: 64,
    vocabSize: 96,
    contextLength: 640,
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

/** A checkpoint in memory, all of it f32 but for matrices of which `dtypeOf` says otherwise. */
export function memoryCheckpoint(
  config: ModelConfig,
  weights: WeightTable = randomWeights(config),
  dtypeOf: (name: string) => DType = () => "f32",
): Checkpoint {
  const stored = new Map<string, Uint8Array>();
  const tensors = parametersOf(config).map(({ name, shape, kind }) => {
    const values = weights.get(name);
    assert(values?.length === elementCount(shape), `${name} has ${values?.length} values for [${shape}]`);
    const dtype = kind === "vector" ? "f32" : dtypeOf(name);
    const bytes = dtype === "f32" ? new Uint8Array(values.buffer) : fromFloat32(dtype, values, shape.at(-1)!);
    stored.set(name, bytes);
    return { name, shape, dtype, byteLength: bytes.byteLength };
  });
  return {
    name: "random",
    path: "memory",
    config,
    configJson: {},
    text: { tokenizer: undefined, tokenizerConfig: {}, chatTemplate: undefined, generationConfig: {} },
    tensors: new Map(tensors.map((tensor) => [tensor.name, tensor])),
    read: async (name, into) => into.set(stored.get(name)!),
    fingerprint: async () => "random",
    [Symbol.asyncDispose]: async () => {},
  };
}

/** Writes a Hugging Face folder of random weights. */
export async function writeRandomModel(folder: string, configJson: Readonly<Record<string, unknown>>): Promise<void> {
  await writeFile(join(folder, "config.json"), JSON.stringify(configJson));
  const tensors = parametersOf(parseModelConfig(folder, configJson)).map((parameter) => ({
    name: parameter.name,
    shape: parameter.shape,
    dtype: "F32" as const,
    bytes: new Uint8Array(randomWeight(parameter).buffer),
  }));
  await writeSafetensors(join(folder, "model.safetensors"), tensors);
}
