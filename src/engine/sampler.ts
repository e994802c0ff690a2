import type { Logprob, SampledToken, SamplingParams, Sequence } from "../core/index.js";
import { uniformAt } from "../util/index.js";

/** What is computed of all logits of a row. */
export interface LogitMath {
  /** The index of the largest, the first of equals. NaN is never largest; 0 when there is no number. */
  largest(logits: Float32Array): number;
  /** Fills `weights` with each token's probability relative to the likeliest one's: e^((logit − largest) / temperature). */
  weigh(logits: Float32Array, largest: number, temperature: number, weights: Float64Array): void;
  /** Where a running sum of the weights, none of which is negative, passes `u` times their sum, u in [0, 1). */
  pick(weights: Float64Array, u: number): number;
}

/**
 * Draws a sequence's next token. A function of the logits, the sequence's tokens, its parameters and its position: what else is in
 * the batch cannot matter. Penalties and biases first, then temperature, top-k, top-p and min-p, each
 * over what the one before left. NaN is never drawn; where all logits are, the token is 0.
 *
 * @param logits natural, over the variant's whole vocabulary; changed in place
 * @param math what goes over all logits, by kernels where there are some: with temperature 1, most of what a draw takes
 */
export function sampleToken(
  logits: Float32Array,
  sequence: Sequence,
  math: LogitMath = { largest: largestAt, weigh, pick },
): SampledToken {
  const { sampling, topLogprobs } = sequence.spec;
  const report = topLogprobs === null ? undefined : new Reporter(logits, topLogprobs);
  adjust(logits, sequence);
  const token =
    sampling.temperature === 0 ? math.largest(logits) : draw(logits, sampling, sequence.generatedTokens, math);
  return { id: sequence.id, token, logprob: report?.of(token) ?? null, top: report?.top ?? [] };
}

/** A draw that depends on temperature, seed and position alone; undefined for one that anything else has a part in. */
export function plainDraw({ spec, generatedTokens }: Sequence): { temperature: number; u: number } | undefined {
  const { sampling, topLogprobs, minTokens = 0 } = spec;
  const { temperature, seed, topK, topP, minP, logitBias } = sampling;
  const hasPenalty =
    sampling.repetitionPenalty !== 1 || sampling.presencePenalty !== 0 || sampling.frequencyPenalty !== 0;
  const isMasked = generatedTokens < minTokens && spec.endTokens.length > 0;
  const hasFilter = temperature > 0 && (topK > 0 || topP < 1 || minP > 0);
  if (topLogprobs !== null || hasPenalty || logitBias.length > 0 || isMasked || hasFilter) return undefined;
  return { temperature, u: uniformAt(seed, generatedTokens) };
}

/** Log probabilities under the model's own distribution, taken before anything changes the logits. */
class Reporter {
  readonly top: readonly Logprob[];
  readonly #logits: Float32Array;
  readonly #logSum: number;

  constructor(logits: Float32Array, count: number) {
    this.#logits = logits.slice();
    const max = logits[largestAt(logits)]!;
    let sum = 0;
    for (let i = 0; i < logits.length; i++) sum += weightOf(logits[i]!, max, 1);
    this.#logSum = max + Math.log(sum);
    this.top = largest(this.#logits, count).map((token) => ({ token, logprob: this.of(token) }));
  }

  of(token: number): number {
    return this.#logits[token]! - this.#logSum;
  }
}

function adjust(logits: Float32Array, { spec, tokens, generatedTokens }: Sequence): void {
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
  if (generatedTokens < (spec.minTokens ?? 0)) {
    for (const token of spec.endTokens) if (token < logits.length) logits[token] = Number.NEGATIVE_INFINITY;
  }
}

function draw(logits: Float32Array, sampling: SamplingParams, position: number, math: LogitMath): number {
  const { temperature, topK, topP, minP, seed } = sampling;
  const u = uniformAt(seed, position);
  if (topK > 0 && topK < logits.length) {
    const order = largest(logits, topK);
    const max = logits[order[0]!]!;
    const weights = Float64Array.from(order, (token) => weightOf(logits[token]!, max, temperature));
    return order[pick(weights.subarray(0, keptCount(weights, total(weights), sampling)), u)] ?? 0;
  }
  if (scratch.length !== logits.length) scratch = new Float64Array(logits.length);
  const weights = scratch;
  math.weigh(logits, logits[math.largest(logits)]!, temperature, weights);
  if (topP < 1 || minP > 0) dropUnlikely(weights, sampling);
  return math.pick(weights, u);
}

/**
 * How many of the likeliest tokens top-p and min-p leave. Each keeps a beginning of the descending order, so what both keep is the
 * shorter one.
 *
 * @param weights of the likeliest tokens, descending; the first is 1, so min-p's threshold is minP itself
 * @param sum of all the weights that top-p looks at, also those not given here
 */
function keptCount(weights: Float64Array, sum: number, { topP, minP }: SamplingParams): number {
  let reached = 0;
  for (let count = 0; count < weights.length; count++) {
    if (weights[count]! < minP) return Math.max(1, count);
    reached += weights[count]!;
    if (topP < 1 && reached >= topP * sum) return count + 1;
  }
  return weights.length;
}

/** Sets the weights of tokens that top-p or min-p drops to zero; of equal ones the first stay. */
function dropUnlikely(weights: Float64Array, sampling: SamplingParams): void {
  const sum = total(weights);
  const descending = likeliest(weights, sum, sampling);
  const kept = descending.subarray(0, keptCount(descending, sum, sampling));
  const least = kept.at(-1) ?? 0;
  let ties = kept.length - kept.indexOf(least);
  for (let token = 0; token < weights.length; token++) {
    if (weights[token]! > least) continue;
    if (weights[token] === least && ties > 0) ties -= 1;
    else weights[token] = 0;
  }
}

/**
 * Weights that can pass top-p and min-p, descending. Sorting a whole vocabulary costs more than everything else here, so the small
 * ones are left out as long as the others reach top-p without them.
 */
function likeliest(weights: Float64Array, sum: number, sampling: SamplingParams, floor = 0.1): Float64Array {
  const { topP, minP } = sampling;
  const likely: number[] = [];
  let reached = 0;
  for (let token = 0; token < weights.length; token++) {
    const weight = weights[token]!;
    if (weight < floor || weight < minP) continue;
    likely.push(weight);
    reached += weight;
  }
  if (floor <= minP || (topP < 1 && reached >= topP * sum)) return new Float64Array(likely).sort().reverse();
  return likeliest(weights, sum, sampling, floor > 1e-7 ? floor / 100 : 0);
}

/** Where a running sum of the weights passes `u` times their sum, u in [0, 1). */
function pick(weights: Float64Array, u: number): number {
  const target = u * total(weights);
  let reached = 0;
  let last = 0;
  for (let i = 0; i < weights.length; i++) {
    if (weights[i] === 0) continue;
    reached += weights[i]!;
    last = i;
    if (reached > target) return i;
  }
  return last;
}

/** The weights of one draw: the same memory for all, as long as vocabularies are equally long. */
let scratch = new Float64Array(0);

function weigh(logits: Float32Array, largest: number, temperature: number, weights: Float64Array): void {
  for (let i = 0; i < logits.length; i++) weights[i] = weightOf(logits[i]!, largest, temperature);
}

/** Zero for what is too unlikely to count in double precision, and for NaN, of which nothing can be drawn. */
function weightOf(logit: number, max: number, temperature: number): number {
  const exponent = (logit - max) / temperature;
  return exponent > -exponentMax ? exponential(exponent) : 0;
}

const exponentMax = 45;
const exponentSteps = 32;
const powers = Float64Array.from({ length: exponentMax * exponentSteps + 1 }, (_, i) => Math.exp(-i / exponentSteps));

/**
 * e^x for x in (-exponentMax, 0], within 3e-10 of it: a table and the series for what is left. A draw takes one for every token of
 * the vocabulary, and Math.exp is five times as slow.
 */
function exponential(x: number): number {
  const step = Math.trunc(-x * exponentSteps);
  const rest = x + step / exponentSteps;
  return powers[step]! * (1 + rest * (1 + rest * (1 / 2 + rest * (1 / 6 + rest / 24))));
}

function total(weights: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < weights.length; i++) sum += weights[i]!;
  return sum;
}

/** The index of the largest value, the first of equals. NaN is never largest. */
function largestAt(values: Float32Array): number {
  let best = 0;
  let max = Number.NEGATIVE_INFINITY;
  const count = values.length;
  for (let i = 0; i < count; i++) {
    // A vocabulary is long and nearly all of it below the maximum so far: four at a time go by in half the time.
    while (
      i + 4 <= count &&
      !(values[i]! > max || values[i + 1]! > max || values[i + 2]! > max || values[i + 3]! > max)
    )
      i += 4;
    if (i < count && values[i]! > max) {
      max = values[i]!;
      best = i;
    }
  }
  return best;
}

/** Indexes of the `count` largest values, descending; the first of equals first, NaN never. */
function largest(values: Float32Array, count: number): number[] {
  const best: number[] = [];
  if (count === 0) return best;
  let least = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (best.length === count ? !(value > least) : Number.isNaN(value)) continue;
    let place = best.length;
    while (place > 0 && value > values[best[place - 1]!]!) place -= 1;
    best.splice(place, 0, i);
    if (best.length > count) best.pop();
    least = values[best.at(-1)!]!;
  }
  return best;
}
