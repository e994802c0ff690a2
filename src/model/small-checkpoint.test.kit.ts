// A checkpoint in memory, of a model small enough to look at.

import { type DType, elementCount, type ModelConfig, parametersOf, tensorBytes } from "../core/index.js";
import type { Checkpoint } from "../formats/index.js";
import { fromFloat32 } from "../ggml/index.js";
import { uniformAt } from "../util/index.js";

export const smallModel: ModelConfig = {
  architecture: "llama",
  hiddenSize: 64,
  layers: 1,
  heads: 4,
  kvHeads: 2,
  headDim: 16,
  feedForward: 40,
  vocabSize: 48,
  contextLength: 64,
  rmsNormEps: 1e-5,
  ropeTheta: 10_000,
  ropeScaling: { kind: "none" },
  tiedEmbeddings: false,
  qkvBias: true,
  outputBias: false,
  mlpBias: false,
  qkNorm: false,
  slidingWindow: null,
};

/** The value of a parameter's element. */
export const valueAt = (parameter: number, element: number): number => Math.fround(uniformAt(parameter, element) - 0.5);

/** `read` may be watched or made to fail by `onRead`. */
export function smallCheckpoint(
  dtype: DType = "f32",
  config = smallModel,
  onRead: (name: string) => void = () => {},
): Checkpoint {
  const parameters = parametersOf(config);
  const tensors = parameters.map(({ name, shape, kind }) => {
    const own = kind === "vector" ? "f32" : dtype;
    return [name, { name, shape, dtype: own, byteLength: tensorBytes(own, shape) }] as const;
  });
  return {
    name: "small",
    path: "memory",
    config,
    configJson: {},
    text: { tokenizer: undefined, tokenizerConfig: {}, chatTemplate: undefined, generationConfig: {} },
    tensors: new Map(tensors),
    read: async (name, into) => {
      onRead(name);
      const index = parameters.findIndex((parameter) => parameter.name === name);
      const { shape } = parameters[index]!;
      const values = Float32Array.from({ length: elementCount(shape) }, (_, at) => valueAt(index, at));
      into.set(fromFloat32(tensors[index]![1].dtype, values, shape.at(-1)!));
    },
    fingerprint: async () => "small",
    [Symbol.asyncDispose]: async () => {},
  };
}
