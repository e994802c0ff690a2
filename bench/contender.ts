/** An engine with a model loaded, as a duel drives it. Times are in milliseconds and begin when nothing else runs in the process. */
export interface Contender {
  readonly name: string;

  /** Reads a prompt in one pass, up to having the logits of its last token. */
  prefillMs(prompt: readonly number[]): Promise<number>;

  /** Makes `steps` more tokens of each sequence, all in one batch, once each has read its prompt. */
  decodeMs(prompts: readonly (readonly number[])[], steps: number): Promise<number>;

  /** The likeliest `count` tokens after a prompt, one after the other. */
  continuation(prompt: readonly number[], count: number): Promise<readonly number[]>;
}

/** Steps of a batch that are computed before the clock starts: they build graphs and wake threads. */
export const warmupSteps = 2;

/** Tokens of a prompt, which cost what any other tokens of that number would: spread over the vocabulary, another for each `seed`. */
export function promptTokens(count: number, vocabSize: number, seed = 0): number[] {
  return Array.from({ length: count }, (_, i) => 100 + ((i * 7919 + seed * 104729) % (vocabSize - 100)));
}
