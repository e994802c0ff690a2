import type { Logprob, SampledToken, SamplingParams, Sequence } from "../core/index.js";
import { uniformAt } from "../util/index.js";

/**
 * Draws a sequence's next token. A function of the logits, the sequence's tokens, its parameters and its position: what else is in
 * the batch cannot matter. Penalties and biases first, then temperature, top-k, top-p, min-p, in vLLM's order.
 *
 * @param logits natural, over the variant's whole vocabulary; changed in place
 */
export function sampleToken(logits: Float32Array, sequence: Sequence): SampledToken {
  const { sampling, topLogprobs } = sequence.spec;
  const report = topLogprobs === null ? undefined : new Reporter(logits, topLogprobs);
  adjust(logits, sequence);
  const token = sampling.temperature === 0 ? argmax(logits) : draw(logits, sampling, sequence.generatedTokens);
  return { id: sequence.id, token, logprob: report?.of(token) ?? null, top: report?.top ?? [] };
}

/** Log probabilities under the model's own distribution, taken before anything changes the logits. */
class Reporter {
  readonly top: readonly Logprob[];
  readonly #logits: Float32Array;
  readonly #logSum: number;

  constructor(logits: Float32Array, count: number) {
    this.#logits = logits.slice();
    const max = logits[argmax(logits)]!;
    let sum = 0;
    for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i]! - max);
    this.#logSum = max + Math.log(sum);
    this.top = largest(this.#logits, count).map((token) => ({ token, logprob: this.of(token) }));
  }

  of(token: number): number {
    return this.#logits[token]! - this.#logSum;
  }
}

function adjust(logits: Float32Array, { spec, tokens }: Sequence): void {
  const { repetitionPenalty, presencePenalty, frequencyPenalty, logitBias } = spec.sampling;
  if (repetitionPenalty !== 1) {
    for (const token of new Set(tokens)) {
      const logit = logits[token]!;
      logits[token] = logit > 0 ? logit / repetitionPenalty : logit * repetitionPenalty;
    }
  }
  if (presencePenalty !== 0 || frequencyPenalty !== 0) {
    const counts = new Map<number, number>();
    for (const token of tokens.slice(spec.prompt.length)) counts.set(token, (counts.get(token) ?? 0) + 1);
    for (const [token, count] of counts) logits[token]! -= presencePenalty + frequencyPenalty * count;
  }
  for (const [token, bias] of logitBias) if (token < logits.length) logits[token]! += bias;
}

function draw(logits: Float32Array, sampling: SamplingParams, position: number): number {
  const { temperature, topK, topP, minP, seed } = sampling;
  const max = logits[argmax(logits)]!;
  const weights = new Float64Array(logits.length);
  let sum = 0;
  for (let i = 0; i < logits.length; i++) {
    weights[i] = Math.exp((logits[i]! - max) / temperature);
    sum += weights[i]!;
  }
  const u = uniformAt(seed, position);
  const filters = (topK > 0 && topK < logits.length) || topP < 1 || minP > 0;
  if (!filters) return pick(weights, undefined, u * sum);

  let kept = candidates(weights, sum, sampling);
  if (topK > 0) kept = kept.slice(0, topK);
  if (topP < 1) {
    // The sum is that of what top-k left, as if the rest had never been.
    const total = topK > 0 ? kept.reduce((s, token) => s + weights[token]!, 0) : sum;
    let reached = 0;
    let end = 0;
    while (end < kept.length && reached < topP * total) {
      reached += weights[kept[end]!]!;
      end += 1;
    }
    kept = kept.slice(0, Math.max(1, end));
  }
  // The likeliest token has weight 1, so min-p's threshold is minP itself.
  if (minP > 0) kept = kept.filter((token) => weights[token]! >= minP);
  return pick(weights, kept, u * kept.reduce((s, token) => s + weights[token]!, 0));
}

/**
 * Tokens, the likeliest first, that can pass the filters. Sorting a whole vocabulary costs more than everything else here, so the
 * unlikely are left out, unless so little remains that they might matter.
 */
function candidates(weights: Float64Array, sum: number, { topK, topP }: SamplingParams): number[] {
  const descending = (a: number, b: number) => weights[b]! - weights[a]! || a - b;
  for (const floor of [1e-3, 1e-6]) {
    const likely: number[] = [];
    let reached = 0;
    for (let i = 0; i < weights.length; i++) {
      if (weights[i]! < floor) continue;
      likely.push(i);
      reached += weights[i]!;
    }
    const enough = (topK > 0 && likely.length >= topK) || (topP < 1 && reached >= topP * sum);
    if (enough) return likely.sort(descending);
  }
  return Array.from(weights, (_, token) => token).sort(descending);
}

/** The token where the running sum of weights passes `target`; over all tokens, or those in `order`. */
function pick(weights: Float64Array, order: readonly number[] | undefined, target: number): number {
  const count = order?.length ?? weights.length;
  let reached = 0;
  let last = 0;
  for (let i = 0; i < count; i++) {
    const token = order ? order[i]! : i;
    if (weights[token] === 0) continue;
    reached += weights[token]!;
    last = token;
    if (reached > target) return token;
  }
  return last;
}

/** The index of the largest value, the first of equals. NaN is never largest. */
function argmax(values: Float32Array): number {
  let best = 0;
  let max = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < values.length; i++) {
    if (values[i]! > max) {
      max = values[i]!;
      best = i;
    }
  }
  return best;
}

/** Indexes of the `count` largest values, descending. */
function largest(values: Float32Array, count: number): number[] {
  const best: number[] = [];
  for (let i = 0; i < values.length; i++) {
    if (best.length === count && (count === 0 || !(values[i]! > values[best.at(-1)!]!))) continue;
    let place = best.length;
    while (place > 0 && values[i]! > values[best[place - 1]!]!) place -= 1;
    best.splice(place, 0, i);
    if (best.length > count) best.pop();
  }
  return best;
}
