// A base and a fine-tune made on the spot: one Llama layer whose rows no block divides.

import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { type ModelConfig, type Parameter, parametersOf } from "../core/index.js";
import { type SafetensorsDType, writeSafetensors } from "../formats/index.js";
import { fromFloat32 } from "../ggml/index.js";
import { gaussian } from "./codec-conformance.test.kit.js";

/** How a checkpoint is to differ from the plain one. */
export interface CheckpointVariation {
  readonly seed?: number;
  readonly vocabSize?: number;
  readonly hiddenSize?: number;
  readonly tied?: boolean;
  readonly dtype?: "F32" | "F16" | "BF16";
  /** File name → content, beside config.json and the weights. */
  readonly files?: Readonly<Record<string, string>>;
  /** Changes a tensor's values in place; the seed has been applied. */
  readonly change?: (parameter: Parameter, values: Float32Array) => void;
}

/** Values of every parameter are drawn from seed 1; another seed adds a tenth of what it draws itself. */
export async function writeCheckpoint(folder: string, variation: CheckpointVariation = {}): Promise<string> {
  const { seed = 1, vocabSize = 24, hiddenSize = 160, tied = true, dtype = "F32", files = {}, change } = variation;
  const config = {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    hidden_size: hiddenSize,
    intermediate_size: 200,
    num_hidden_layers: 1,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 40,
    vocab_size: vocabSize,
    max_position_embeddings: 64,
    tie_word_embeddings: tied,
  };
  await mkdir(folder);
  await writeFile(join(folder, "config.json"), JSON.stringify(config));
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
  const tensors = parametersOf(modelConfig(hiddenSize, vocabSize, tied)).map((parameter, index) => {
    const [rows = 1, cols = 1] = parameter.shape;
    const values = gaussian({ rows, cols }, 1000 + index);
    if (seed !== 1) {
      for (const [i, value] of gaussian({ rows, cols }, 1000 * seed + index).entries()) values[i]! += value / 10;
    }
    change?.(parameter, values);
    const bytes = fromFloat32(dtypes[dtype], values, values.length);
    return { name: parameter.name, shape: parameter.shape, dtype: dtype satisfies SafetensorsDType, bytes };
  });
  await writeSafetensors(join(folder, "model.safetensors"), tensors);
  return folder;
}

/** An empty folder that goes when the test ends. */
export async function temporaryFolder(test: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "kindred-delta-"));
  test.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Names in a folder, sorted. */
export async function filesIn(folder: string): Promise<string[]> {
  return (await readdir(folder)).sort();
}

const dtypes = { F32: "f32", F16: "f16", BF16: "bf16" } as const;

function modelConfig(hiddenSize: number, vocabSize: number, tiedEmbeddings: boolean): ModelConfig {
  return {
    architecture: "llama",
    hiddenSize,
    layers: 1,
    heads: 4,
    kvHeads: 2,
    headDim: 40,
    feedForward: 200,
    vocabSize,
    contextLength: 64,
    rmsNormEps: 1e-6,
    ropeTheta: 10_000,
    ropeScaling: { kind: "none" },
    tiedEmbeddings,
    qkvBias: false,
    outputBias: false,
    mlpBias: false,
    qkNorm: false,
    slidingWindow: null,
  };
}
