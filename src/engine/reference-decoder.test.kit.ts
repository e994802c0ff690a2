// The transformer, slowly: one token after the other, in double precision, with plain arrays. What the engine computes is held
// against this.

import type { ModelConfig } from "../core/index.js";
import type { WeightTable } from "./random-model.test.kit.js";

type Vector = readonly number[];

/** Logits after each of a sequence's tokens. */
export function referenceLogits(config: ModelConfig, weights: WeightTable, tokens: readonly number[]): Vector[] {
  const { heads, kvHeads, headDim } = config;
  const headName = config.tiedEmbeddings ? "model.embed_tokens.weight" : "lm_head.weight";

  /** `W · x + b`, where b may be missing. */
  const project = (name: string, x: Vector): Vector => {
    const w = weights.get(`${name}.weight`)!;
    const b = weights.get(`${name}.bias`);
    return range(w.length / x.length, (out) => sum(x.length, (i) => w[out * x.length + i]! * x[i]!) + (b?.[out] ?? 0));
  };
  const norm = (name: string, x: Vector): Vector => {
    const scale = weights.get(`${name}.weight`)!;
    const size = Math.sqrt(sum(x.length, (i) => x[i]! ** 2) / x.length + config.rmsNormEps);
    return x.map((value, i) => (value / size) * scale[i]!);
  };
  const splitHeads = (x: Vector): Vector[] =>
    range(x.length / headDim, (head) => x.slice(head * headDim, (head + 1) * headDim));

  /** Keys and values of the tokens so far, by layer: [layer][position][kvHead]. */
  const keys: Vector[][][] = range(config.layers, () => []);
  const values: Vector[][][] = range(config.layers, () => []);

  return tokens.map((token, position) => {
    const embeddings = weights.get("model.embed_tokens.weight")!;
    let x: Vector = range(config.hiddenSize, (i) => embeddings[token * config.hiddenSize + i]!);

    for (let layer = 0; layer < config.layers; layer++) {
      const prefix = `model.layers.${layer}`;
      const attention = `${prefix}.self_attn`;
      const h = norm(`${prefix}.input_layernorm`, x);
      let q = splitHeads(project(`${attention}.q_proj`, h));
      let k = splitHeads(project(`${attention}.k_proj`, h));
      if (config.qkNorm) {
        q = q.map((head) => norm(`${attention}.q_norm`, head));
        k = k.map((head) => norm(`${attention}.k_norm`, head));
      }
      keys[layer]!.push(k.map((head) => rotate(config, head, position)));
      values[layer]!.push(splitHeads(project(`${attention}.v_proj`, h)));

      const first = config.slidingWindow === null ? 0 : Math.max(0, position + 1 - config.slidingWindow);
      const mixed = q.flatMap((head, index) => {
        const turned = rotate(config, head, position);
        const group = Math.floor(index / (heads / kvHeads));
        const scores = keys[layer]!.slice(first).map((cached) => dot(turned, cached[group]!) / Math.sqrt(headDim));
        const shares = softmax(scores);
        return range(headDim, (d) => sum(shares.length, (at) => shares[at]! * values[layer]![first + at]![group]![d]!));
      });
      x = add(x, project(`${attention}.o_proj`, mixed));

      const f = norm(`${prefix}.post_attention_layernorm`, x);
      const gate = project(`${prefix}.mlp.gate_proj`, f);
      const up = project(`${prefix}.mlp.up_proj`, f);
      const inner = gate.map((value, i) => (value / (1 + Math.exp(-value))) * up[i]!);
      x = add(x, project(`${prefix}.mlp.down_proj`, inner));
    }
    return project(headName.replace(/\.weight$/, ""), norm("model.norm", x));
  });
}

/** Turns the two halves of a head against each other, each pair by its own frequency. */
function rotate(config: ModelConfig, head: Vector, position: number): Vector {
  const half = head.length / 2;
  return head.map((value, at) => {
    const angle = position * frequency(config, at % half);
    return at < half
      ? value * Math.cos(angle) - head[at + half]! * Math.sin(angle)
      : value * Math.cos(angle) + head[at - half]! * Math.sin(angle);
  });
}

/** Radians by which the pair turns from one position to the next. */
export function frequency({ ropeTheta, ropeScaling, headDim }: ModelConfig, pair: number): number {
  const plain = ropeTheta ** ((-2 * pair) / headDim);
  if (ropeScaling.kind === "none") return plain;
  if (ropeScaling.kind === "linear") return plain / ropeScaling.factor;
  const turnsInContext = (ropeScaling.originalContextLength * plain) / (2 * Math.PI);
  const { factor, lowFrequencyFactor: low, highFrequencyFactor: high } = ropeScaling;
  const share = Math.min(1, Math.max(0, (turnsInContext - low) / (high - low)));
  return share * plain + (1 - share) * (plain / factor);
}

function softmax(scores: Vector): Vector {
  const max = Math.max(...scores);
  const weights = scores.map((score) => Math.exp(score - max));
  const total = sum(weights.length, (i) => weights[i]!);
  return weights.map((weight) => weight / total);
}

const range = <T>(count: number, make: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, index) => make(index));
const add = (a: Vector, b: Vector): Vector => a.map((value, i) => value + b[i]!);
const dot = (a: Vector, b: Vector): number => sum(a.length, (i) => a[i]! * b[i]!);

function sum(count: number, term: (index: number) => number): number {
  let total = 0;
  for (let i = 0; i < count; i++) total += term(i);
  return total;
}
