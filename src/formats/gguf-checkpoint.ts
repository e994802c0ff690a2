import { basename } from "node:path";
import { InvalidFile, type ModelConfig } from "../core/index.js";
import { assert } from "../util/index.js";
import { FileSource } from "./byte-source.js";
import type { Checkpoint, StoredTensor, TextAssets } from "./checkpoint.js";
import { computeFingerprint } from "./fingerprint.js";
import { type GgufHeader, type GgufTensor, readGgufHeader } from "./gguf.js";
import { ggufConfigJson, parseGgufArchitecture } from "./gguf-config.js";
import { GgufMetadata } from "./gguf-metadata.js";
import { ggufTextAssets } from "./gguf-tokenizer.js";
import { parseModelConfig } from "./model-config.js";
import { checkParameters } from "./parameter-check.js";

/** A {@link Checkpoint} in a GGUF file, seen as the Hugging Face folder it was made from. */
export class GgufCheckpoint implements Checkpoint {
  readonly name: string;
  readonly path: string;
  readonly config: ModelConfig;
  readonly configJson: Readonly<Record<string, unknown>>;
  readonly text: TextAssets;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly #source: FileSource;
  readonly #stored: ReadonlyMap<string, GgufTensor>;
  /** Heads whose rows lie in interleaved order, by parameter name. */
  readonly #interleavedHeads: ReadonlyMap<string, number>;
  #fingerprint: Promise<string> | undefined;

  private constructor(source: FileSource, header: GgufHeader, ropeFactors: Float32Array | undefined) {
    const metadata = new GgufMetadata(source.path, header.metadata);
    this.name = basename(source.path, ".gguf");
    this.path = source.path;
    this.#source = source;
    this.configJson = ggufConfigJson(metadata, header.tensors, ropeFactors);
    this.config = parseModelConfig(source.path, this.configJson);
    this.text = ggufTextAssets(metadata);
    this.#stored = renameTensors(header.tensors);
    this.tensors = new Map(
      checkParameters(source.path, this.config, this.#stored).map(({ name, shape }) => {
        const { dtype, byteLength } = this.#stored.get(name)!;
        return [name, { name, shape, dtype, byteLength }];
      }),
    );
    this.#interleavedHeads = parseGgufArchitecture(metadata) === "llama" ? interleavedHeads(this.config) : new Map();
  }

  /**
   * Opens a GGUF file and checks that it holds every parameter of its configuration, with the right shapes.
   *
   * @throws {InvalidFile} if it is malformed or contradicts itself
   * @throws {UnsupportedModel} if it is a model that this version does not compute
   */
  static async open(path: string): Promise<GgufCheckpoint> {
    const source = await FileSource.open(path);
    try {
      const header = await readGgufHeader(source);
      return new GgufCheckpoint(source, header, await readRopeFactors(source, header.tensors.get(ropeFactorsName)));
    } catch (error) {
      await source[Symbol.asyncDispose]();
      throw error;
    }
  }

  async read(name: string, into: Uint8Array): Promise<void> {
    const tensor = this.tensors.has(name) ? this.#stored.get(name) : undefined;
    assert(tensor, `Checkpoint ${this.path} was asked for "${name}", which it does not list`);
    assert(
      into.length === tensor.byteLength,
      `"${name}" has ${tensor.byteLength} bytes, ${into.length} were asked for`,
    );
    await this.#source.read(tensor.offset, into);
    const heads = this.#interleavedHeads.get(name);
    if (heads !== undefined) splitHalves(into, heads, tensor.shape[0]! / heads);
  }

  fingerprint(): Promise<string> {
    this.#fingerprint ??= computeFingerprint(this);
    return this.#fingerprint;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#source[Symbol.asyncDispose]();
  }
}

const ropeFactorsName = "rope_freqs.weight";

async function readRopeFactors(source: FileSource, tensor: GgufTensor | undefined): Promise<Float32Array | undefined> {
  if (!tensor) return undefined;
  if (tensor.dtype !== "f32") throw new InvalidFile(source.path, `${ropeFactorsName} is ${tensor.dtype}, expected f32`);
  const bytes = Buffer.alloc(tensor.byteLength);
  await source.read(tensor.offset, bytes);
  return Float32Array.from({ length: bytes.length / 4 }, (_, index) => bytes.readFloatLE(4 * index));
}

const topNames: Readonly<Record<string, string>> = {
  "token_embd.weight": "model.embed_tokens.weight",
  "output_norm.weight": "model.norm.weight",
  "output.weight": "lm_head.weight",
};

const layerNames: Readonly<Record<string, string>> = {
  attn_norm: "input_layernorm",
  attn_q: "self_attn.q_proj",
  attn_k: "self_attn.k_proj",
  attn_v: "self_attn.v_proj",
  attn_q_norm: "self_attn.q_norm",
  attn_k_norm: "self_attn.k_norm",
  attn_output: "self_attn.o_proj",
  ffn_norm: "post_attention_layernorm",
  ffn_gate: "mlp.gate_proj",
  ffn_up: "mlp.up_proj",
  ffn_down: "mlp.down_proj",
};

/** The tensors under Hugging Face's names; one that has none keeps its own, and is then refused by name. */
function renameTensors(tensors: ReadonlyMap<string, GgufTensor>): ReadonlyMap<string, GgufTensor> {
  const renamed = new Map<string, GgufTensor>();
  for (const [name, tensor] of tensors) {
    if (name === ropeFactorsName) continue;
    const [, layer = "", part = "", kind = ""] = /^blk\.(\d+)\.(\w+)\.(weight|bias)$/.exec(name) ?? [];
    const layerName = layerNames[part];
    renamed.set(topNames[name] ?? (layerName ? `model.layers.${layer}.${layerName}.${kind}` : name), tensor);
  }
  return renamed;
}

function interleavedHeads(config: ModelConfig): ReadonlyMap<string, number> {
  const heads = new Map<string, number>();
  for (let layer = 0; layer < config.layers; layer++) {
    for (const kind of ["weight", "bias"]) {
      heads.set(`model.layers.${layer}.self_attn.q_proj.${kind}`, config.heads);
      heads.set(`model.layers.${layer}.self_attn.k_proj.${kind}`, config.kvHeads);
    }
  }
  return heads;
}

/**
 * Reorders the rows of each head in place from (0, h, 1, h+1, …), in which GGUF's "llama" keeps the two halves that a
 * rotation pairs, to (0, 1, …, h, h+1, …), which the other families and Hugging Face use. Rows are moved whole, so
 * that any element type will do.
 */
function splitHalves(bytes: Uint8Array, heads: number, headDim: number): void {
  const rowBytes = bytes.length / (heads * headDim);
  const half = headDim / 2;
  const head = new Uint8Array(headDim * rowBytes);
  for (let start = 0; start < bytes.length; start += head.length) {
    head.set(bytes.subarray(start, start + head.length));
    for (let row = 0; row < headDim; row++) {
      const from = (row < half ? 2 * row : 2 * (row - half) + 1) * rowBytes;
      bytes.set(head.subarray(from, from + rowBytes), start + row * rowBytes);
    }
  }
}
