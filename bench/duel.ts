import { setTimeout as sleep } from "node:timers/promises";
import { type Contender, promptTokens } from "./contender.js";

/** One thing to be timed on both sides. */
export interface Measure {
  readonly name: string;
  /** Our throughput over the peer's that is wanted at least. */
  readonly goal: number;
  readonly sequences: number;
  /** Tokens that one timing counts, over all sequences. */
  readonly tokens: number;
  timeMs(contender: Contender, vocabSize: number): Promise<number>;
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
    timeMs: (contender, vocabSize) => {
      const prompts = Array.from({ length: sequences }, (_, seed) => promptTokens(depth, vocabSize, seed));
      return contender.decodeMs(prompts, steps);
    },
  };
}

/** A prompt of `tokens` tokens read into an empty cache. */
export function prefilling(name: string, options: { tokens: number; goal: number }): Measure {
  const { tokens, goal } = options;
  return { name, goal, sequences: 1, tokens, timeMs: (contender, vocabSize) => contender.prefillMs(promptTokens(tokens, vocabSize)) };
}

/** What came of a measure: medians over the rounds, and each round's ratio. */
export interface Outcome {
  readonly measure: string;
  readonly goal: number;
  readonly peer: string;
  /** Tokens a second. */
  readonly ours: number;
  /** Tokens a second. */
  readonly theirs: number;
  readonly ratio: number;
  readonly ratios: readonly number[];
}

/**
 * Times both sides in turns, the first of a round second in the next, so that what else the machine does hits both alike. The ratio is
 * the median of the rounds' ratios, not the ratio of medians.
 */
export async function duel(measure: Measure, ours: Contender, peer: Contender, options: { rounds: number; vocabSize: number }): Promise<Outcome> {
  const time = async (contender: Contender) => {
    await quiet();
    return (measure.tokens / (await measure.timeMs(contender, options.vocabSize))) * 1000;
  };
  await time(ours);
  await time(peer);
  const rounds: { ours: number; theirs: number }[] = [];
  for (let round = 0; round < options.rounds; round++) {
    if (round % 2 === 0) rounds.push({ ours: await time(ours), theirs: await time(peer) });
    else {
      const theirs = await time(peer);
      rounds.push({ ours: await time(ours), theirs });
    }
  }
  const ratios = rounds.map((round) => round.ours / round.theirs);
  return {
    measure: measure.name,
    goal: measure.goal,
    peer: peer.name,
    ours: median(rounds.map((round) => round.ours)),
    theirs: median(rounds.map((round) => round.theirs)),
    ratio: median(ratios),
    ratios,
  };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/**
 * Waits until this process is idle. ggml's threads spin for a while after a pass in case there is another, and those of one
 * side would take a core from the other.
 */
export async function quiet(): Promise<void> {
  const intervalMs = 50;
  for (let calm = 0; calm < 2; ) {
    const before = process.cpuUsage();
    await sleep(intervalMs);
    const { user, system } = process.cpuUsage(before);
    calm = (user + system) / 1000 < 0.2 * intervalMs ? calm + 1 : 0;
  }
}
