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
  const { sampling } = spec;
  // Field by field: this is done for every token.
  return {
    temperature: sampling.temperature,
    topK: sampling.topK,
    topP: sampling.topP,
    minP: sampling.minP,
    repetitionPenalty: sampling.repetitionPenalty,
    presencePenalty: sampling.presencePenalty,
    frequencyPenalty: sampling.frequencyPenalty,
    words,
    u: uniformAt(sampling.seed, generatedTokens),
    heard: heardBy(sequence, words),
    biases: biasesOf(sequence, words),
    likeliest: spec.topLogprobs,
  };
}

const none: Draw["biases"] = [];

/** What was asked for, and that no end comes too soon. */
function biasesOf({ spec, generatedTokens }: Sequence, words: number): Draw["biases"] {
  const { logitBias } = spec.sampling;
  const isTooSoon = generatedTokens < (spec.minTokens ?? 0);
  if (logitBias.length === 0 && !isTooSoon) return none;
  const ends = isTooSoon ? spec.endTokens.map((end) => [end, Number.NEGATIVE_INFINITY] as const) : [];
  return [...logitBias, ...ends].filter(([word]) => word < words);
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
