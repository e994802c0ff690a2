// A Hugging Face folder:
//
//   config.json                    the blueprint                  (model-config.ts)
//   model.safetensors              all weights, or
//   model.safetensors.index.json   { "weight_map": { tensor: shard's file name, … } } beside its shards (weight-files.ts)
//   tokenizer.json, tokenizer_config.json, chat_template.jinja, generation_config.json   (text-assets.ts, all optional)

import { basename, join, resolve } from "node:path";
import { type DType, embeddingName, type ModelConfig, ownHeadName, UnsupportedModel } from "../core/index.js";
import { assert } from "../util/index.js";
import type { Checkpoint, StoredTensor, TextAssets } from "./checkpoint.js";
import { computeFingerprint } from "./fingerprint.js";
import { readJson } from "./json-file.js";
import { parseModelConfig } from "./model-config.js";
import { checkParameters } from "./parameter-check.js";
import type { SafetensorsDType } from "./safetensors.js";
import { readTextAssets } from "./text-assets.js";
import { WeightFiles, type WeightLocation } from "./weight-files.js";

type TypedLocation = WeightLocation & { readonly parameterType: DType };

const parameterTypes: Readonly<Partial<Record<SafetensorsDType, DType>>> = { F32: "f32", F16: "f16", BF16: "bf16" };

/** Buffers that older versions of transformers saved beside the parameters; they follow from the configuration. */
const derivedBuffer = /\.rotary_emb\.inv_freq$/;

/** A {@link Checkpoint} in a Hugging Face folder, its weights in one safetensors file or in shards. */
export class HuggingFaceCheckpoint implements Checkpoint {
  readonly name: string;
  readonly path: string;
  readonly config: ModelConfig;
  readonly configJson: Readonly<Record<string, unknown>>;
  readonly text: TextAssets;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly #files: WeightFiles;
  readonly #locations: ReadonlyMap<string, TypedLocation>;
  #fingerprint: Promise<string> | undefined;

  private constructor(
    path: string,
    configJson: Readonly<Record<string, unknown>>,
    text: TextAssets,
    files: WeightFiles,
  ) {
    this.name = basename(resolve(path));
    this.path = path;
    this.configJson = configJson;
    this.config = parseModelConfig(join(path, "config.json"), configJson);
    this.text = text;
    this.#files = files;
    this.#locations = locateParameters(path, this.config, files.tensors);
    this.tensors = listTensors(path, this.config, this.#locations);
  }

  /**
   * Opens a folder and checks that it holds every parameter of its configuration, with the right shapes, and no other.
   *
   * @throws {InvalidFile} if a file is malformed or does not fit the configuration
   * @throws {UnsupportedModel} if it is a model that this version does not compute
   */
  static async open(path: string): Promise<HuggingFaceCheckpoint> {
    const configJson = await readJson(join(path, "config.json"));
    const text = await readTextAssets(path);
    const files = await WeightFiles.open(path);
    try {
      return new HuggingFaceCheckpoint(path, configJson, text, files);
    } catch (error) {
      await files[Symbol.asyncDispose]();
      throw error;
    }
  }

  async read(name: string, into: Uint8Array): Promise<void> {
    const location = this.#locations.get(name);
    assert(location, `Checkpoint ${this.path} was asked for "${name}", which it does not list`);
    assert(
      into.length === location.byteLength,
      `"${name}" has ${location.byteLength} bytes, ${into.length} were asked for`,
    );
    await location.source.read(location.offset, into);
  }

  fingerprint(): Promise<string> {
    this.#fingerprint ??= computeFingerprint(this);
    return this.#fingerprint;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#files[Symbol.asyncDispose]();
  }
}

/** Stored tensors by parameter name. Tied models may store the shared table under either name, or twice. */
function locateParameters(
  path: string,
  config: ModelConfig,
  stored: ReadonlyMap<string, WeightLocation>,
): ReadonlyMap<string, TypedLocation> {
  const locations = new Map<string, TypedLocation>();
  for (const [name, location] of stored) {
    if (derivedBuffer.test(name)) continue;
    const isTiedHead = name === ownHeadName && config.tiedEmbeddings;
    if (isTiedHead && stored.has(embeddingName)) continue;
    const parameterType = parameterTypes[location.dtype];
    if (!parameterType)
      throw new UnsupportedModel(path, `tensor "${name}" has dtype ${location.dtype}; floats are needed`);
    locations.set(isTiedHead ? embeddingName : name, { ...location, parameterType });
  }
  return locations;
}

function listTensors(
  path: string,
  config: ModelConfig,
  locations: ReadonlyMap<string, TypedLocation>,
): ReadonlyMap<string, StoredTensor> {
  const found = new Map(
    [...locations].map(([name, { shape, parameterType }]) => [name, { shape, dtype: parameterType }]),
  );
  return new Map(
    checkParameters(path, config, found).map(({ name, shape }) => {
      const { parameterType, byteLength } = locations.get(name)!;
      return [name, { name, shape, dtype: parameterType, byteLength }];
    }),
  );
}
