import { type Contender, promptTokens } from "./contender.js";

/** One thing to be timed on both sides. */
export interface Measure {
  readonly name: string;
  /** Our throughput over the peer's that is wanted at least. */
  readonly goal: number;
  readonly sequences: number;
  /** Tokens that one timing counts, over all sequences. */
  readonly tokens: number;
  prepare(contender: Contender, vocabSize: number): void;
  timeMs(contender: Contender, vocabSize: number): number;
}

const depth = 128;

/** `steps` more tokens of each of `sequences` sequences that are `depth` tokens long when the clock starts. */
export function decoding(name: string, options: { sequences: number; steps: number; goal: number }): Measure {
  const { sequences, steps, goal } = options;
  return {
    name,
    goal,
    sequences,
    tokens: sequences * steps,
    prepare: (contender, vocabSize) => contender.begin(depthPrompts(sequences, vocabSize)),
    timeMs: (contender) => contender.decodeMs(steps),
  };
}

/** A prompt of `tokens` tokens read into an empty cache. */
export function prefilling(name: string, options: { tokens: number; goal: number }): Measure {
  const { tokens, goal } = options;
  return {
    name,
    goal,
    sequences: 1,
    tokens,
    prepare: () => {},
    timeMs: (contender, vocabSize) => contender.prefillMs(promptTokens(tokens, vocabSize)),
  };
}

/** Different prompts that bring each sequence to the depth of `decoding`. */
export function depthPrompts(sequences: number, vocabSize: number): number[][] {
  return Array.from({ length: sequences }, (_, seed) => promptTokens(depth, vocabSize, seed));
}
