import { embeddingName, headName, type ModelConfig, ownHeadName, rowBytes } from "../core/index.js";
import { Activations, attendByRow, type Graph, type Tensor } from "../ggml/index.js";
import type { DeltaPools } from "./delta-pools.js";
import type { KvCache } from "./kv-cache.js";
import {
  addLinear,
  type Linear,
  linears,
  partRows,
  perRow,
  tabledRows,
  type VariantRows,
  type Vector,
} from "./linear.js";
import { ropeOf } from "./rope.js";
import type { Weights } from "./weights.js";

/** Rows of one step that attend together: one token of each of several sequences, or many tokens of one. */
export interface AttentionGroup {
  /** Tokens of each sequence. */
  readonly rows: number;
  readonly sequences: number;
  /** The first sequence's region in the cache; the others' follow without gaps. */
  readonly firstRegion: number;
  /** Cells of a region that are looked at. */
  readonly cells: number;
  /** `[cells, rows, 1, sequences]` f16 */
  readonly mask: Tensor;
}

/** All rows of a step by the groups in which they attend. */
export interface GroupedAttention {
  /** In the order of `order`. */
  readonly groups: readonly AttentionGroup[];
  /** Batch rows in the groups' order `[≥ n]`, and each batch row's place in it `[n]`; i32. Undefined when both are the identity. */
  readonly order: { readonly gather: Tensor; readonly scatter: Tensor } | undefined;
}

/** Everything a step brings to the graph. `n` counts the rows of the batch, `m` those whose logits are wanted. */
export interface StepInputs {
  /** `[n]` i32; for tokens beyond the base's vocabulary, 0. */
  readonly tokens: Tensor;
  /** `[n]` i32 */
  readonly positions: Tensor;
  /** Where each row's keys and values go: `[n]` i64. */
  readonly cells: Tensor;
  /** Which rows attend together; undefined where the device attends row by row. */
  readonly attention: GroupedAttention | undefined;
  readonly variants: VariantRows;
  /** Of each run, the rows `slot * vocabulary + token` of its embedding pools: `[run.rows]` i32. */
  readonly embeddingRows: readonly Tensor[];
  /** Tokens beyond the base's vocabulary: rows of the extra pool `[k]` i32, and the batch rows they fill `[k]` i64. */
  readonly extraTokens: { readonly from: Tensor; readonly to: Tensor } | undefined;
  /** Batch rows whose logits are wanted: `[m]` i32. */
  readonly outputRows: Tensor;
  /** The variants of those rows. */
  readonly outputVariants: VariantRows;
  /** Of the first rows of the output, each one's variant, when one of them has more vocabulary than the base: i32. */
  readonly extraOutput: Tensor | undefined;
}

export interface StepOutputs {
  /** `[vocabulary, m]` f32 */
  readonly logits: Tensor;
  /** Logits of the rows beyond the base's vocabulary: `[extraRows, rows of extraOutput]` f32. */
  readonly extraLogits: Tensor | undefined;
}

/** What stays on the device from step to step. */
export interface DecoderState {
  readonly weights: Weights;
  readonly cache: KvCache;
  readonly pools: DeltaPools | undefined;
}

/**
 * One pass of the decoder-only transformer that Llama, Mistral, Qwen 2 and Qwen 3 are: they differ in biases and in norms over heads,
 * which `config` says. Shapes are in ggml's order.
 */
export function decode(g: Graph, state: DecoderState, step: StepInputs): StepOutputs {
  const { weights, cache, pools } = state;
  const { config } = weights;
  const { headDim, heads, kvHeads, rmsNormEps: eps } = config;
  const rows = step.tokens.extents[0];
  const rope = ropeOf(config, weights.ropeFactors);
  let variants = step.variants;
  const project = (x: Activations, ...layers: Linear[]) => linears(g, x, layers, pools, variants);
  const tabled = () => tabledRows(pools, variants);
  const norm = (x: Tensor, scale: Vector) => Activations.normed(g, x, perRow(g, scale, pools, variants), eps, tabled());
  const split = (x: Tensor) =>
    g.view(x, [headDim, x.extents[0] / headDim, rows], { strides: [headDim * 4, x.strides[1]], offset: 0 });
  const headNorm = (x: Tensor, scale: Vector) => {
    const perHead = perRow(g, scale, pools, variants); // [headDim] or [headDim, n]
    return g.mul(g.rmsNorm(x, eps), perHead.extents[1] > 1 ? g.reshape(perHead, [headDim, 1, rows]) : perHead);
  };

  let x = embed(g, state, step); // [hidden, n]
  for (let index = 0; index < config.layers; index++) {
    const layer = layerOf(weights, index);
    const h = norm(x, layer.attentionNorm); // [hidden, n]
    const [ownQ, ownK, v] = project(h, layer.q, layer.k, layer.v) as [Tensor, Tensor, Tensor]; // v: [headDim * kvHeads, n]
    let q = split(ownQ); // [headDim, heads, n]
    let k = split(ownK); // [headDim, kvHeads, n]
    if (layer.qNorm) q = headNorm(q, layer.qNorm);
    if (layer.kNorm) k = headNorm(k, layer.kNorm);
    q = g.rope(q, step.positions, rope); // [headDim, heads, n]
    k = g.rope(k, step.positions, rope); // [headDim, kvHeads, n]
    g.expand(g.setRows(cache.keys(index), g.reshape(k, [headDim * kvHeads, rows]), step.cells));
    g.expand(g.setRows(cache.values(index), v, step.cells));
    let a = step.attention
      ? attendInGroups(g, config, cache, index, g.reshape(q, [headDim * heads, rows]), step.attention)
      : attendByRow(g, {
          q,
          keys: byHead(g, config, cache.keys(index)),
          values: byHead(g, config, cache.values(index)),
          positions: step.positions,
          cells: step.cells,
          window: config.slidingWindow ?? undefined,
        }); // [headDim * heads, n]
    if (index === config.layers - 1) {
      // All rows left their keys and values; beyond that, only those whose logits are wanted matter any more.
      a = g.getRows(a, step.outputRows); // [headDim * heads, m]
      x = g.getRows(x, step.outputRows); // [hidden, m]
      variants = step.outputVariants;
    }
    x = addLinear(g, x, Activations.of(g, a, tabled()), layer.o, pools, variants); // [hidden, n], in the last layer [hidden, m]
    const f = norm(x, layer.feedForwardNorm);
    const [gate, up] = project(f, layer.gate, layer.up) as [Tensor, Tensor]; // [feedForward, n]
    x = addLinear(g, x, Activations.gated(g, gate, up, tabled()), layer.down, pools, variants);
  }

  const last = norm(x, vectorOf(weights, "model.norm.weight"));
  const head: Linear = {
    part: (own, classId) => own.headPart(classId),
    weight: weights.matrix(headName(config)),
    bias: undefined,
  };
  const [logits] = project(last, head) as [Tensor]; // [vocabulary, m]
  const extraPool = pools?.extraRows(ownHeadName) ?? pools?.extraRows(embeddingName);
  const extraLogits =
    step.extraOutput && extraPool
      ? g.mulMatId(extraPool, g.rows(last.values, 0, step.extraOutput.extents[0]), step.extraOutput)
      : undefined;
  return { logits, extraLogits };
}

/** Base rows, plus each variant row's parts, with tokens beyond the base's vocabulary taken from their own pool. → `[hidden, n]` */
function embed(g: Graph, { weights, pools }: DecoderState, step: StepInputs): Tensor {
  const { hiddenSize } = weights.config;
  let x = weights.matrix(embeddingName).getRows(g, step.tokens);
  step.variants.runs.forEach((run, index) => {
    const part = pools?.part(embeddingName, run.classId);
    if (!part) return;
    x = g.addRows(x, partRows(g, part, run, step.embeddingRows[index]!, hiddenSize), run.firstRow);
  });
  const extraPool = pools?.extraRows(embeddingName);
  if (step.extraTokens && extraPool) {
    const [, extraRows, variants] = extraPool.extents;
    const table = g.reshape(extraPool, [hiddenSize, extraRows * variants]);
    x = g.setRows(x, g.getRows(table, step.extraTokens.from), step.extraTokens.to);
  }
  return x;
}

/** Keys or values of all cells, `[headDim * kvHeads, cells]` → `[headDim, kvHeads, cells]` */
function byHead(g: Graph, { headDim, kvHeads }: ModelConfig, cached: Tensor): Tensor {
  return g.view(cached, [headDim, kvHeads, cached.extents[1]], {
    strides: [rowBytes(cached.dtype, headDim), cached.strides[1]],
    offset: 0,
  });
}

/** Each group of rows against the cells of its sequences. q `[headDim * heads, n]` → `[headDim * heads, n]` in batch order */
function attendInGroups(
  g: Graph,
  config: ModelConfig,
  cache: KvCache,
  layer: number,
  q: Tensor,
  { groups, order }: GroupedAttention,
): Tensor {
  const { headDim, heads, kvHeads } = config;
  const scale = 1 / Math.sqrt(headDim);
  const ordered = order ? g.getRows(q, order.gather) : q;
  let firstRow = 0;
  let joined: Tensor | undefined;
  for (const group of groups) {
    const count = group.rows * group.sequences;
    const own = g.rows(ordered, firstRow, count);
    const [elementBytes, rowStride] = own.strides;
    const queries = g.view(own, [headDim, heads, group.rows, group.sequences], {
      strides: [headDim * elementBytes, rowStride, rowStride * group.rows],
      offset: 0,
    });
    const cells = (cached: Tensor) => {
      const cellStride = cached.strides[1];
      const regionStride = cellStride * cache.contextLength;
      return g.view(cached, [headDim, group.cells, kvHeads, group.sequences], {
        strides: [cellStride, rowBytes(cache.dtype, headDim), regionStride],
        offset: group.firstRegion * regionStride,
      });
    };
    const q4 = g.permute(queries, [0, 2, 1, 3]); // [headDim, rows, heads, sequences]
    const out = g.attend(q4, cells(cache.keys(layer)), cells(cache.values(layer)), group.mask, scale);
    const flat = g.reshape(out, [headDim * heads, count]);
    joined = joined ? g.appendRows(joined, flat) : flat;
    firstRow += count;
  }
  return order ? g.getRows(joined!, order.scatter) : joined!;
}

interface Layer {
  readonly attentionNorm: Vector;
  readonly q: Linear;
  readonly k: Linear;
  readonly v: Linear;
  readonly qNorm: Vector | undefined;
  readonly kNorm: Vector | undefined;
  readonly o: Linear;
  readonly feedForwardNorm: Vector;
  readonly gate: Linear;
  readonly up: Linear;
  readonly down: Linear;
}

function layerOf(weights: Weights, index: number): Layer {
  const prefix = `model.layers.${index}`;
  const vector = (name: string) => vectorOf(weights, `${prefix}.${name}`);
  const optional = (name: string) => (weights.find(`${prefix}.${name}`) ? vector(name) : undefined);
  const matrix = (name: string): Linear => ({
    part: (pools, classId) => pools.part(`${prefix}.${name}.weight`, classId),
    weight: weights.matrix(`${prefix}.${name}.weight`),
    bias: optional(`${name}.bias`),
  });
  return {
    attentionNorm: vector("input_layernorm.weight"),
    q: matrix("self_attn.q_proj"),
    k: matrix("self_attn.k_proj"),
    v: matrix("self_attn.v_proj"),
    qNorm: optional("self_attn.q_norm.weight"),
    kNorm: optional("self_attn.k_norm.weight"),
    o: matrix("self_attn.o_proj"),
    feedForwardNorm: vector("post_attention_layernorm.weight"),
    gate: matrix("mlp.gate_proj"),
    up: matrix("mlp.up_proj"),
    down: matrix("mlp.down_proj"),
  };
}

function vectorOf(weights: Weights, name: string): Vector {
  return { name, base: weights.get(name) };
}
