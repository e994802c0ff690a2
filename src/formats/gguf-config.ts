import { InvalidFile, UnsupportedModel } from "../core/index.js";
import type { GgufTensor } from "./gguf.js";
import type { GgufMetadata } from "./gguf-metadata.js";

const architectures = ["llama", "qwen2", "qwen3"] as const;

/** What GGUF calls the families; its "llama" covers Mistral. */
export type GgufArchitecture = (typeof architectures)[number];

/** @throws {UnsupportedModel} for any other */
export function parseGgufArchitecture(metadata: GgufMetadata): GgufArchitecture {
  const name = metadata.string("general.architecture");
  const architecture = architectures.find((known) => known === name);
  if (architecture) return architecture;
  const seen = name === undefined ? "missing" : `"${name}"`;
  throw new UnsupportedModel(metadata.path, `general.architecture is ${seen}; known are ${architectures.join(", ")}`);
}

/**
 * Writes a GGUF's metadata as the config.json that the same model has in a Hugging Face folder. What GGUF leaves to
 * the tensors is read off them: tied embeddings have no `output.weight`, and biases are either there or not.
 * `ropeFactors` are the values of `rope_freqs.weight`, where the file has that tensor.
 */
export function ggufConfigJson(
  metadata: GgufMetadata,
  tensors: ReadonlyMap<string, GgufTensor>,
  ropeFactors: Float32Array | undefined,
): Record<string, unknown> {
  const architecture = parseGgufArchitecture(metadata);
  const key = (name: string) => `${architecture}.${name}`;
  const hiddenSize = metadata.requiredNumber(key("embedding_length"));
  const heads = metadata.requiredNumber(key("attention.head_count"));
  const headDim = metadata.number(key("attention.key_length")) ?? hiddenSize / heads;
  refuseUnsupported(metadata, architecture, headDim);
  return {
    model_type: architecture,
    hidden_size: hiddenSize,
    intermediate_size: metadata.requiredNumber(key("feed_forward_length")),
    num_hidden_layers: metadata.requiredNumber(key("block_count")),
    num_attention_heads: heads,
    num_key_value_heads: metadata.number(key("attention.head_count_kv")) ?? heads,
    head_dim: headDim,
    vocab_size: metadata.number(key("vocab_size")) ?? metadata.strings("tokenizer.ggml.tokens")?.length,
    max_position_embeddings: metadata.requiredNumber(key("context_length")),
    rms_norm_eps: metadata.requiredNumber(key("attention.layer_norm_rms_epsilon")),
    rope_theta: metadata.number(key("rope.freq_base")) ?? 10_000,
    rope_scaling: ropeScaling(metadata, architecture, headDim, ropeFactors),
    hidden_act: "silu",
    tie_word_embeddings: !tensors.has("output.weight"),
    attention_bias: architecture !== "qwen2" && tensors.has("blk.0.attn_q.bias"),
    mlp_bias: tensors.has("blk.0.ffn_gate.bias"),
    bos_token_id: metadata.number("tokenizer.ggml.bos_token_id") ?? null,
    eos_token_id: metadata.number("tokenizer.ggml.eos_token_id") ?? null,
  };
}

function refuseUnsupported(metadata: GgufMetadata, architecture: GgufArchitecture, headDim: number): void {
  const expect = (name: string, expected: number, why: string) => {
    const value = metadata.number(`${architecture}.${name}`) ?? expected;
    if (value === expected) return;
    throw new UnsupportedModel(metadata.path, `${architecture}.${name} is ${value}; ${why}`);
  };
  expect("expert_count", 0, "mixtures of experts are not computed");
  expect("attention.value_length", headDim, `keys have ${headDim} dimensions and values must have as many`);
  expect("rope.dimension_count", headDim, `heads have ${headDim} dimensions and all of them must be rotated`);
  expect("attention.sliding_window", 0, "the file does not say which of its layers have that window");
}

function ropeScaling(
  metadata: GgufMetadata,
  architecture: GgufArchitecture,
  headDim: number,
  factors: Float32Array | undefined,
): Record<string, unknown> | null {
  const key = (name: string) => `${architecture}.rope.${name}`;
  const kind = metadata.string(key("scaling.type")) ?? "none";
  if (factors) {
    if (kind !== "none")
      throw new InvalidFile(metadata.path, `it has both rope_freqs.weight and rope scaling "${kind}"`);
    const originalContextLength = metadata.number(key("scaling.original_context_length")) ?? 8192;
    const theta = metadata.number(key("freq_base")) ?? 10_000;
    return recogniseLlama3(metadata.path, factors, { headDim, theta, originalContextLength });
  }
  const factor = metadata.number(key("scaling.factor")) ?? metadata.number(key("scale_linear")) ?? 1;
  if (kind === "none") return factor === 1 ? null : { rope_type: "linear", factor };
  return { rope_type: kind, factor };
}

/**
 * Finds the Llama 3 scaling behind a table of frequency divisors, one for each pair of dimensions: GGUF keeps the
 * table alone. Low frequencies are divided by `factor`, high ones by 1, those between by a blend (Llama 3.1).
 */
function recogniseLlama3(
  path: string,
  factors: Float32Array,
  { headDim, theta, originalContextLength }: { headDim: number; theta: number; originalContextLength: number },
): Record<string, unknown> {
  const factor = Math.round(factors.at(-1) ?? 1);
  const [low, high] = [1, 4];
  const matches = factors.every((seen, pair) => {
    const waves = (originalContextLength * theta ** ((-2 * pair) / headDim)) / (2 * Math.PI);
    const blend = Math.min(Math.max((waves - low) / (high - low), 0), 1);
    return Math.abs(seen * ((1 - blend) / factor + blend) - 1) < 1e-3;
  });
  if (factors.length !== headDim / 2 || !matches) {
    throw new UnsupportedModel(path, "its rope_freqs.weight is not the frequency scaling of Llama 3");
  }
  return {
    rope_type: "llama3",
    factor,
    low_freq_factor: low,
    high_freq_factor: high,
    original_max_position_embeddings: originalContextLength,
  };
}
