import { InvalidFile, type ModelConfig, UnsupportedModel } from "../core/index.js";
import { ConfigFields } from "./config-fields.js";
import { parseRope } from "./rope-config.js";

type Architecture = ModelConfig["architecture"];

/** What config.json may leave unsaid, as the transformers library fills it in, and what an architecture fixes. */
interface ArchitectureRules {
  readonly headDim: (fields: ConfigFields, hiddenSize: number, heads: number) => number;
  readonly kvHeads: (heads: number) => number;
  readonly biases: (fields: ConfigFields) => Pick<ModelConfig, "qkvBias" | "outputBias" | "mlpBias">;
  readonly qkNorm: boolean;
  readonly slidingWindow: (fields: ConfigFields, layers: number) => number | null;
}

const evenSplit = (_: ConfigFields, hiddenSize: number, heads: number) => hiddenSize / heads;
const noBiases = { qkvBias: false, outputBias: false, mlpBias: false };

const rules: Readonly<Record<Architecture, ArchitectureRules>> = {
  llama: {
    headDim: evenSplit,
    kvHeads: (heads) => heads,
    biases: (fields) => {
      const attention = fields.boolean("attention_bias", false);
      return { qkvBias: attention, outputBias: attention, mlpBias: fields.boolean("mlp_bias", false) };
    },
    qkNorm: false,
    slidingWindow: () => null,
  },
  mistral: {
    headDim: evenSplit,
    kvHeads: () => 8,
    biases: () => noBiases,
    qkNorm: false,
    // Absent means 4096 and null means none: the first Mistral was trained with a window, later ones say null.
    slidingWindow: (fields) => (fields.has("sliding_window") ? fields.optionalCount("sliding_window") : 4096),
  },
  qwen2: {
    headDim: evenSplit,
    kvHeads: () => 32,
    biases: () => ({ ...noBiases, qkvBias: true }),
    qkNorm: false,
    slidingWindow: qwenSlidingWindow,
  },
  qwen3: {
    headDim: () => 128,
    kvHeads: () => 32,
    biases: (fields) => {
      const attention = fields.boolean("attention_bias", false);
      return { qkvBias: attention, outputBias: attention, mlpBias: false };
    },
    qkNorm: true,
    slidingWindow: qwenSlidingWindow,
  },
};

/**
 * Reads the parsed config.json of a Hugging Face folder. `path` names the file in errors.
 *
 * @throws {UnsupportedModel} if it describes, correctly, something this version does not compute
 * @throws {InvalidFile} if a field is missing, of the wrong type, or contradicts another
 */
export function parseModelConfig(path: string, json: Readonly<Record<string, unknown>>): ModelConfig {
  const fields = new ConfigFields(path, json);
  const architecture = parseArchitecture(path, fields);
  const rule = rules[architecture];
  refuseUnsupported(path, fields);

  const hiddenSize = fields.count("hidden_size");
  const layers = fields.count("num_hidden_layers", { max: 4096 });
  const heads = fields.count("num_attention_heads");
  const kvHeads = fields.optionalCount("num_key_value_heads") ?? rule.kvHeads(heads);
  const headDim = fields.optionalCount("head_dim") ?? rule.headDim(fields, hiddenSize, heads);
  if (heads % kvHeads !== 0) {
    throw new InvalidFile(path, `num_attention_heads ${heads} is not a multiple of num_key_value_heads ${kvHeads}`);
  }
  if (!Number.isInteger(headDim) || headDim % 2 !== 0) {
    throw new InvalidFile(path, `each head has ${headDim} dimensions, rotary positions need an even number`);
  }
  return {
    architecture,
    hiddenSize,
    layers,
    heads,
    kvHeads,
    headDim,
    feedForward: fields.count("intermediate_size"),
    vocabSize: fields.count("vocab_size"),
    contextLength: fields.count("max_position_embeddings"),
    rmsNormEps: fields.positive("rms_norm_eps", 1e-6),
    ...parseRope(path, fields),
    tiedEmbeddings: fields.boolean("tie_word_embeddings", false),
    ...rule.biases(fields),
    qkNorm: rule.qkNorm,
    slidingWindow: rule.slidingWindow(fields, layers),
  };
}

function parseArchitecture(path: string, fields: ConfigFields): Architecture {
  const modelType = fields.value("model_type");
  if (typeof modelType === "string" && Object.hasOwn(rules, modelType)) return modelType as Architecture;
  throw new UnsupportedModel(
    path,
    `model_type is ${JSON.stringify(modelType ?? null)}; known are ${Object.keys(rules).join(", ")}`,
  );
}

function refuseUnsupported(path: string, fields: ConfigFields): void {
  const activation = fields.value("hidden_act") ?? "silu";
  if (activation !== "silu") {
    throw new UnsupportedModel(path, `hidden_act is ${JSON.stringify(activation)}; only "silu" is computed`);
  }
  const quantization = fields.record("quantization_config");
  if (quantization) {
    const method = JSON.stringify(quantization.value("quant_method") ?? null);
    throw new UnsupportedModel(
      path,
      `its weights are quantised (quant_method ${method}); floating-point ones are needed`,
    );
  }
}

/** Qwen says layer by layer who has a window: in `layer_types`, or by counting from `max_window_layers` on. */
function qwenSlidingWindow(fields: ConfigFields, layers: number): number | null {
  if (!fields.boolean("use_sliding_window", false)) return null;
  const types = fields.value("layer_types");
  const fullLayers = Array.isArray(types)
    ? types.filter((type) => type === "full_attention").length
    : Math.min(fields.count("max_window_layers", { default: 28, min: 0 }), layers);
  if (fullLayers === layers) return null;
  if (fullLayers === 0) return fields.optionalCount("sliding_window") ?? 4096;
  throw new UnsupportedModel(
    fields.path,
    `${fullLayers} of its ${layers} layers see the whole context and the others a sliding window; they must be alike`,
  );
}
