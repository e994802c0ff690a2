// Checkpoints made on the spot, small enough to write hundreds of times.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { parametersOf } from "../core/index.js";
import { uniformAt } from "../util/index.js";
import type { ByteSource } from "./byte-source.js";
import { parseModelConfig } from "./model-config.js";
import { type TensorToWrite, writeSafetensors } from "./safetensors-writer.js";

/** A config.json of some 3,000 parameters, of which any field may be replaced; undefined removes one. */
export function tinyConfig(fields: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  const config = {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    hidden_size: 8,
    intermediate_size: 12,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 4,
    vocab_size: 24,
    max_position_embeddings: 64,
    rms_norm_eps: 1e-5,
    hidden_act: "silu",
    tie_word_embeddings: true,
    ...fields,
  };
  return JSON.parse(JSON.stringify(config)) as Record<string, unknown>;
}

/** F32 tensors for every parameter of a configuration, with values that depend on name order and position alone. */
export function tinyTensors(config: Readonly<Record<string, unknown>>): TensorToWrite[] {
  return parametersOf(parseModelConfig("config.json", config)).map(({ name, shape }, index) => {
    const values = new Float32Array(shape.reduce((product, extent) => product * extent, 1));
    for (let at = 0; at < values.length; at++) values[at] = uniformAt(index, at) - 0.5;
    return { name, shape, dtype: "F32", bytes: new Uint8Array(values.buffer) };
  });
}

/** Writes config.json and the tensors, in one file or split evenly over `shards`. */
export async function writeTinyFolder(
  folder: string,
  config: Readonly<Record<string, unknown>> = tinyConfig(),
  tensors: readonly TensorToWrite[] = tinyTensors(config),
  shards = 1,
): Promise<void> {
  await writeFile(join(folder, "config.json"), JSON.stringify(config));
  if (shards === 1) return writeSafetensors(join(folder, "model.safetensors"), tensors);
  const weightMap: Record<string, string> = {};
  for (let shard = 0; shard < shards; shard++) {
    const file = `model-0000${shard + 1}-of-0000${shards}.safetensors`;
    const part = tensors.filter((_, index) => index % shards === shard);
    for (const { name } of part) weightMap[name] = file;
    await writeSafetensors(join(folder, file), part);
  }
  await writeFile(join(folder, "model.safetensors.index.json"), JSON.stringify({ weight_map: weightMap }));
}

/** An empty folder that goes when the test ends. */
export async function temporaryFolder(test: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "kindred-formats-"));
  test.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** A {@link ByteSource} over bytes in memory, as strict as a file about its end. */
export function bytesAsSource(bytes: Uint8Array): ByteSource {
  return {
    path: "memory",
    size: bytes.length,
    read: async (offset, into) => {
      if (offset < 0 || offset + into.length > bytes.length)
        throw new RangeError(`${offset}+${into.length} is outside`);
      into.set(bytes.subarray(offset, offset + into.length));
    },
  };
}
