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

/** The ratios to a peer that are wanted, by what is timed. */
export interface Goals {
  readonly decode: number;
  readonly batchOf4: number;
  readonly batchOf8: number;
  readonly prefill: number;
}

const depth = 128;

/** What a duel times. */
export function measuresOf({ decode, batchOf4, batchOf8, prefill }: Goals): readonly Measure[] {
  return [
    decoding("decode", { sequences: 1, steps: 32, goal: decode }),
    decoding("batch of 4", { sequences: 4, steps: 8, goal: batchOf4 }),
    decoding("batch of 8", { sequences: 8, steps: 6, goal: batchOf8 }),
    prefilling("prefill of 512", { tokens: 512, goal: prefill }),
  ];
}

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
