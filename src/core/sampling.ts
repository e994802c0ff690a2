/** How the next token is drawn. OpenAI's names and ranges, with vLLM's extensions (top_k, min_p, repetition_penalty). */
export interface SamplingParams {
  /** 0 takes the likeliest token; else logits are divided by it. */
  readonly temperature: number;
  /** Keep the smallest set of tokens whose probabilities reach this sum. 1 keeps all. */
  readonly topP: number;
  /** Keep this many of the likeliest tokens. 0 keeps all. */
  readonly topK: number;
  /** Keep tokens at least this fraction as likely as the likeliest. 0 keeps all. */
  readonly minP: number;
  /** Subtracted once from every token already generated. */
  readonly presencePenalty: number;
  /** Subtracted from a token once for each time it was generated. */
  readonly frequencyPenalty: number;
  /** Divides positive and multiplies negative logits of tokens in the prompt or output (CTRL, §4.1). 1 is none. */
  readonly repetitionPenalty: number;
  /** Added to a token's logit. */
  readonly logitBias: ReadonlyArray<readonly [token: number, bias: number]>;
  /** Draws are a function of the seed and the position alone. */
  readonly seed: number;
}

export const defaultSampling: Omit<SamplingParams, "seed"> = {
  temperature: 1,
  topP: 1,
  topK: 0,
  minP: 0,
  presencePenalty: 0,
  frequencyPenalty: 0,
  repetitionPenalty: 1,
  logitBias: [],
};
