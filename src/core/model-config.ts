/** Rotary position scaling. "llama3" stretches low frequencies only (Llama 3.1 model card, `rope_scaling`). */
export type RopeScaling =
  | { readonly kind: "none" }
  | { readonly kind: "linear"; readonly factor: number }
  | {
      readonly kind: "llama3";
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      readonly originalContextLength: number;
    };

/** The blueprint of a decoder-only transformer; never changes once read. */
export interface ModelConfig {
  readonly architecture: "llama" | "mistral" | "qwen2" | "qwen3";
  readonly hiddenSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly feedForward: number;
  readonly vocabSize: number;
  readonly contextLength: number;
  readonly rmsNormEps: number;
  readonly ropeTheta: number;
  readonly ropeScaling: RopeScaling;
  /** The output head is the transposed embedding table. */
  readonly tiedEmbeddings: boolean;
  /** Biases on the query, key and value projections. */
  readonly qkvBias: boolean;
  /** A bias on the attention's output projection. */
  readonly outputBias: boolean;
  /** Biases on the three feed-forward projections. */
  readonly mlpBias: boolean;
  /** Root-mean-square norms over each query and key head (Qwen 3). */
  readonly qkNorm: boolean;
  /** Positions that a token may look back over, itself included; null for all. */
  readonly slidingWindow: number | null;
}

/** What role a parameter plays, which decides how it is stored, sent to a device and compressed. */
export type ParameterKind = "embedding" | "linear" | "head" | "vector";

export interface Parameter {
  /** Hugging Face's name, e.g. `model.layers.0.self_attn.q_proj.weight`. */
  readonly name: string;
  /** Row-major: `[out, in]` for matrices, `[n]` for norms and biases. */
  readonly shape: readonly number[];
  readonly kind: ParameterKind;
}

/** Hugging Face's name of the embedding. */
export const embeddingName = "model.embed_tokens.weight";

/** Hugging Face's name of an output head that is not the embedding. */
export const ownHeadName = "lm_head.weight";

/** Hugging Face's name of the matrix that makes logits: the embedding's where they are tied. */
export function headName({ tiedEmbeddings }: Pick<ModelConfig, "tiedEmbeddings">): string {
  return tiedEmbeddings ? embeddingName : ownHeadName;
}

/** Every parameter of a model, in slot order: embedding, layers from the first, final norm, output head when untied. */
export function parametersOf(config: ModelConfig): Parameter[] {
  const { hiddenSize: dim, feedForward, headDim } = config;
  const queryDim = config.heads * headDim;
  const keyDim = config.kvHeads * headDim;
  const parameters: Parameter[] = [];
  const vector = (name: string, size: number) => parameters.push({ name, shape: [size], kind: "vector" });
  const linear = (name: string, out: number, input: number, bias: boolean) => {
    parameters.push({ name: `${name}.weight`, shape: [out, input], kind: "linear" });
    if (bias) vector(`${name}.bias`, out);
  };

  parameters.push({ name: embeddingName, shape: [config.vocabSize, dim], kind: "embedding" });
  for (let layer = 0; layer < config.layers; layer++) {
    const prefix = `model.layers.${layer}`;
    vector(`${prefix}.input_layernorm.weight`, dim);
    linear(`${prefix}.self_attn.q_proj`, queryDim, dim, config.qkvBias);
    linear(`${prefix}.self_attn.k_proj`, keyDim, dim, config.qkvBias);
    linear(`${prefix}.self_attn.v_proj`, keyDim, dim, config.qkvBias);
    if (config.qkNorm) {
      vector(`${prefix}.self_attn.q_norm.weight`, headDim);
      vector(`${prefix}.self_attn.k_norm.weight`, headDim);
    }
    linear(`${prefix}.self_attn.o_proj`, dim, queryDim, config.outputBias);
    vector(`${prefix}.post_attention_layernorm.weight`, dim);
    linear(`${prefix}.mlp.gate_proj`, feedForward, dim, config.mlpBias);
    linear(`${prefix}.mlp.up_proj`, feedForward, dim, config.mlpBias);
    linear(`${prefix}.mlp.down_proj`, dim, feedForward, config.mlpBias);
  }
  vector("model.norm.weight", dim);
  if (!config.tiedEmbeddings) parameters.push({ name: ownHeadName, shape: [config.vocabSize, dim], kind: "head" });
  return parameters;
}
