import { type ModelConfig, type Parameter, parametersOf } from "../core/index.js";
import { Arena, type Device, type Graph, type Rope, type Tensor } from "../ggml/index.js";

/** The matrices of a layer that have one input. */
export interface Stage {
  /** What they take. */
  readonly input: "attention norm" | "attention" | "feed-forward norm" | "feed-forward";
  /** Hugging Face's names within the layer. */
  readonly matrices: readonly string[];
  /** What they give is added to the residual stream. */
  readonly addsToStream: boolean;
}

/** The stages of every layer, in the order in which a model computes them. */
export const stages: readonly Stage[] = [
  {
    input: "attention norm",
    matrices: ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    addsToStream: false,
  },
  { input: "attention", matrices: ["self_attn.o_proj"], addsToStream: true },
  { input: "feed-forward norm", matrices: ["mlp.gate_proj", "mlp.up_proj"], addsToStream: false },
  { input: "feed-forward", matrices: ["mlp.down_proj"], addsToStream: true },
];

/** The parameters of one layer in single precision; every layer of a model takes the place of the one before. */
export class LayerWeights implements Disposable {
  readonly #arena: Arena;
  readonly #parameters: readonly Parameter[];

  constructor(device: Device, config: ModelConfig) {
    this.#parameters = parametersOf(config);
    const specs = this.parametersOf(0).map(({ name, shape }) => ({
      name: withoutLayer(name),
      dtype: "f32" as const,
      shape: [...shape].reverse(),
    }));
    this.#arena = new Arena(device, specs);
  }

  /** Every parameter of a layer. */
  parametersOf(layer: number): readonly Parameter[] {
    return this.#parameters.filter(({ name }) => name.startsWith(`model.layers.${layer}.`));
  }

  /** Writes a parameter over the same one of another layer. */
  write(name: string, values: Float32Array): void {
    this.get(name).write(values);
  }

  /** By its name within the layer, such as `mlp.up_proj.weight`, or in the model. */
  get(name: string): Tensor {
    return this.#arena.get(withoutLayer(name));
  }

  find(name: string): Tensor | undefined {
    return this.#arena.tensors.get(withoutLayer(name));
  }

  [Symbol.dispose](): void {
    this.#arena[Symbol.dispose]();
  }
}

/** What the operations of a layer need beside its weights. */
export interface LayerContext {
  readonly config: ModelConfig;
  readonly rope: Rope;
  /** `[tokens]` i32 */
  readonly positions: Tensor;
  /** `[tokens, tokens]` f16 */
  readonly mask: Tensor;
}

/** Rows divided by their root mean square and scaled. x `[n, tokens]` → the same */
export function norm(g: Graph, x: Tensor, scale: Tensor, config: ModelConfig): Tensor {
  return g.mul(g.rmsNorm(x, config.rmsNormEps), scale);
}

/** h `[hidden, tokens]` → `[headDim * heads, tokens]`, what the output projection takes. */
export function attention(g: Graph, h: Tensor, weights: LayerWeights, context: LayerContext): Tensor {
  const { config, rope, positions, mask } = context;
  const { headDim, heads, kvHeads } = config;
  const tokens = h.extents[1];
  const headsOf = (name: "q" | "k" | "v", count: number) => {
    const projected = g.reshape(project(g, h, weights, `self_attn.${name}_proj`), [headDim, count, tokens]);
    const scale = weights.find(`self_attn.${name}_norm.weight`);
    return scale ? norm(g, projected, scale, config) : projected;
  };
  const byHead = (x: Tensor) => g.permute(x, [0, 2, 1, 3]); // [headDim, tokens, heads]
  const q = g.rope(headsOf("q", heads), positions, rope);
  const k = g.rope(headsOf("k", kvHeads), positions, rope);
  const v = headsOf("v", kvHeads);
  const out = g.attend(byHead(q), byHead(k), byHead(v), mask, 1 / Math.sqrt(headDim));
  return g.reshape(out, [headDim * heads, tokens]);
}

/** f `[hidden, tokens]` → `[feedForward, tokens]`, what the down projection takes. */
export function gated(g: Graph, f: Tensor, weights: LayerWeights): Tensor {
  return g.swiglu(project(g, f, weights, "mlp.gate_proj"), project(g, f, weights, "mlp.up_proj"));
}

/** x `[in, tokens]` → `[out, tokens]` */
export function project(g: Graph, x: Tensor, weights: LayerWeights, name: string): Tensor {
  const y = g.mulMat(weights.get(`${name}.weight`), x);
  const bias = weights.find(`${name}.bias`);
  return bias ? g.add(y, bias) : y;
}

function withoutLayer(name: string): string {
  return name.replace(/^model\.layers\.\d+\./, "");
}
