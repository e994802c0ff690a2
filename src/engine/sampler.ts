import type { SampledToken, Sequence } from "../core/index.js";
import { type Draw, type Drawn, drawRow } from "../ggml/index.js";
import { assert, uniformAt } from "../util/index.js";
import { HeardWords } from "./heard-words.js";

/**
 * Draws a sequence's next token. A function of the logits, the sequence's tokens, its parameters and its position: what else is in
 * the batch cannot matter. Penalties and biases first, then temperature, top-k, top-p and min-p, each
 * over what the one before left. NaN is never drawn; where all logits are, the token is 0.
 *
 * @param logits natural, over the variant's whole vocabulary
 */
export function sampleToken(logits: Float32Array, sequence: Sequence): SampledToken {
  return sampledToken(sequence, drawRow(logits, drawOf(sequence, logits.length)), logits);
}

/** How a sequence's next token is drawn from so many words; good until its next token is. */
export function drawOf(sequence: Sequence, words: number): Draw {
  const { spec, generatedTokens } = sequence;
  const { seed, logitBias, ...sampling } = spec.sampling;
  const ends = generatedTokens < (spec.minTokens ?? 0) ? spec.endTokens : [];
  return {
    ...sampling,
    words,
    u: uniformAt(seed, generatedTokens),
    heard: heardBy(sequence, words),
    biases: [...logitBias, ...ends.map((end) => [end, Number.NEGATIVE_INFINITY] as const)].filter(
      ([word]) => word < words,
    ),
    likeliest: spec.topLogprobs,
  };
}

/** @param logits where its log probabilities are reported, those that it was drawn from */
export function sampledToken({ id }: Sequence, { word, report }: Drawn, logits?: Float32Array): SampledToken {
  if (!report) return { id, token: word, logprob: null, top: [] };
  assert(logits !== undefined, "what is reported is read from logits");
  const logSum = logits[report.best]! + Math.log(report.sum);
  const logprobOf = (token: number) => logits[token]! - logSum;
  const top = report.likeliest.map((token) => ({ token, logprob: logprobOf(token) }));
  return { id, token: word, logprob: logprobOf(word), top };
}

const heardWords = new WeakMap<Sequence, HeardWords>();
const nothing = new Int32Array(0);

function heardBy(sequence: Sequence, words: number): Int32Array {
  const { repetitionPenalty, presencePenalty, frequencyPenalty } = sequence.spec.sampling;
  const withPrompt = repetitionPenalty !== 1;
  if (!withPrompt && presencePenalty === 0 && frequencyPenalty === 0) return nothing;
  const heard = heardWords.get(sequence) ?? new HeardWords(sequence, { withPrompt, wordsMax: words });
  heardWords.set(sequence, heard);
  return heard.hear(sequence);
}
