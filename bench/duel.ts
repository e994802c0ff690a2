import { type Contender, promptTokens } from "./contender.js";
import { quiet, watched } from "./quiet.js";

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

/** What came of a measure: medians over the rounds that count, and each one's ratio. */
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
  /** Rounds during which other programs took enough of the machine to tell; they count only when there were too few others. */
  readonly disturbed: number;
}

interface Timing {
  readonly tokensPerSecond: number;
  readonly disturbed: boolean;
}

/** Of one core. */
const othersCoresMax = 0.15;
const triesPerRound = 3;

/**
 * Times both sides in turns, the first of a round second in the next, so that what else the machine does hits both alike, and
 * repeats rounds that were disturbed. The ratio is the median of the rounds' ratios, not the ratio of medians.
 */
export async function duel(measure: Measure, ours: Contender, peer: Contender, options: { rounds: number; vocabSize: number }): Promise<Outcome> {
  const time = async (contender: Contender): Promise<Timing> => {
    await quiet();
    const { value, othersCores } = await watched(() => measure.timeMs(contender, options.vocabSize));
    return { tokensPerSecond: (measure.tokens / value) * 1000, disturbed: othersCores > othersCoresMax };
  };
  await time(ours);
  await time(peer);
  const all: { ours: number; theirs: number; disturbed: boolean }[] = [];
  const undisturbed = () => all.filter((round) => !round.disturbed);
  while (undisturbed().length < options.rounds && all.length < triesPerRound * options.rounds) {
    const order = all.length % 2 === 0 ? [ours, peer] : [peer, ours];
    const timings = new Map<Contender, Timing>();
    for (const contender of order) timings.set(contender, await time(contender));
    const [own, other] = [timings.get(ours)!, timings.get(peer)!];
    all.push({ ours: own.tokensPerSecond, theirs: other.tokensPerSecond, disturbed: own.disturbed || other.disturbed });
  }
  const counted = undisturbed().length >= options.rounds ? undisturbed() : all;
  const ratios = counted.map((round) => round.ours / round.theirs);
  return {
    measure: measure.name,
    goal: measure.goal,
    peer: peer.name,
    ours: median(counted.map((round) => round.ours)),
    theirs: median(counted.map((round) => round.theirs)),
    ratio: median(ratios),
    ratios,
    disturbed: all.length - undisturbed().length,
  };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
