import os from "node:os";

/** One side of a race: what to time, how many tokens that makes. */
export interface Runner {
  readonly tokens: number;
  timeMs(): number;
}

/** What came of a race: tokens a second and their ratio, as medians over the rounds that count. */
export interface Outcome {
  readonly ours: number;
  readonly theirs: number;
  readonly ratio: number;
  /** Of each round that counts. */
  readonly ratios: readonly number[];
  /** Rounds during which other programs took enough of the machine to tell. They count only when the undisturbed were too few. */
  readonly disturbed: number;
}

/** Of one core. */
const othersCoresMax = 0.15;
const triesPerRound = 3;

/**
 * Times two sides in turns, the first of a round second in the next, so that what else the machine does hits both alike, and
 * repeats rounds that were disturbed. The ratio is the median of the rounds' ratios, not the ratio of medians.
 */
export function race(ours: Runner, theirs: Runner, roundsWanted: number): Outcome {
  const speed = ({ tokens, timeMs }: Runner) => (tokens / timeMs()) * 1000;
  speed(ours);
  speed(theirs);
  const rounds: { ours: number; theirs: number; disturbed: boolean }[] = [];
  const undisturbed = () => rounds.filter((round) => !round.disturbed);
  while (undisturbed().length < roundsWanted && rounds.length < triesPerRound * roundsWanted) {
    const { value, othersCores } = watched(() => {
      if (rounds.length % 2 === 0) return { ours: speed(ours), theirs: speed(theirs) };
      const second = speed(theirs);
      return { ours: speed(ours), theirs: second };
    });
    rounds.push({ ...value, disturbed: othersCores > othersCoresMax });
  }
  const counted = undisturbed().length >= roundsWanted ? undisturbed() : rounds;
  const ratios = counted.map((round) => round.ours / round.theirs);
  return {
    ours: median(counted.map((round) => round.ours)),
    theirs: median(counted.map((round) => round.theirs)),
    ratio: median(ratios),
    ratios,
    disturbed: rounds.length - undisturbed().length,
  };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Does something, and says what part of one core other processes took meanwhile. */
function watched<T>(act: () => T): { value: T; othersCores: number } {
  const [busy, own, start] = [busyMs(), process.cpuUsage(), performance.now()];
  const value = act();
  const { user, system } = process.cpuUsage(own);
  return { value, othersCores: (busyMs() - busy - (user + system) / 1000) / (performance.now() - start) };
}

/** Milliseconds that all cores together have worked, counted in ticks of ten. */
function busyMs(): number {
  return os.cpus().reduce((sum, { times }) => sum + times.user + times.nice + times.sys + times.irq, 0);
}
