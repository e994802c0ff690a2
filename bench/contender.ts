import { defaultSampling, type SequenceSpec } from "../src/core/index.js";

/** An engine with a model loaded, as a duel drives it. Times are in milliseconds. */
export interface Contender {
  readonly name: string;

  /** Reads a prompt in one pass and draws the token after it. */
  prefillMs(prompt: Prompt): number;

  /** Reads a prompt for each of the sequences that `decodeMs` goes on with. */
  begin(prompts: readonly Prompt[]): void;

  /** Draws `steps` more tokens of every sequence, all in one batch, from where their prompts end: each call starts there again. */
  decodeMs(steps: number): number;

  /** The likeliest `count` tokens after a prompt, each with the natural logarithm of its probability. */
  likeliest(prompt: Prompt, count: number): ReadonlyMap<number, number>;

  /** Reads a text a few tokens at a time, as a small batch would be, and copies the logits after each. */
  logitsAfterEach(text: Prompt): readonly Float32Array[];
}

export type Prompt = readonly number[];

/** Tokens that are read at once where logits are wanted after each. */
export const tokensReadAtOnce = 4;

/** Tokens of a prompt, which cost what any other tokens of that number would: spread over the vocabulary, another for each `seed`. */
export function promptTokens(count: number, vocabSize: number, seed = 0): number[] {
  return Array.from({ length: count }, (_, i) => 100 + ((i * 7919 + seed * 104729) % (vocabSize - 100)));
}

/** A sequence that takes the likeliest token each time and never ends. */
export function greedySpec(id: string, prompt: Prompt): SequenceSpec {
  return {
    id,
    variant: null,
    prompt,
    generated: [],
    sampling: { ...defaultSampling, temperature: 0, seed: 0 },
    maxTokens: Number.POSITIVE_INFINITY,
    endTokens: [],
    topLogprobs: null,
  };
}
