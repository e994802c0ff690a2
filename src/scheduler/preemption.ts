import type { Sequence } from "../core/index.js";
import type { Fairness } from "./fairness.js";
import type { WaitingGroup } from "./waiting-line.js";

/** Those among whom memory is short. */
export interface MemoryClaims {
  readonly running: readonly Sequence[];
  readonly fairness: Fairness;
  /** Whether one has memory for all that it may come to need. */
  isComplete(sequence: Sequence): boolean;
}

/**
 * Who gives its region, and the memory behind it, to the first of a waiting group: those who are less urgent, or, when the group starves,
 * no more urgent and of a client, or else of a variant, that has had more. As few as will do, the least urgent first, then those that have had most,
 * then the last that were let in; undefined when they are too few: then nobody gives way.
 *
 * @param running in the order in which they were let in
 * @param isEnough whether there is a place when these have left
 */
export function regionVictims(
  group: WaitingGroup,
  running: readonly Sequence[],
  fairness: Fairness,
  isEnough: (leaving: readonly Sequence[]) => boolean,
): Sequence[] | undefined {
  const movable = running
    .filter((one) => !one.keepsRegion && (isOutranked(one, group) || isAheadOf(one, group, fairness)))
    .reverse()
    .sort((a, b) => compareVictims(b, a, fairness));
  return fewest(
    movable.map((one) => [one]),
    isEnough,
  );
}

/**
 * Who gives way to a running sequence that needs more memory than there is: those less entitled to it, as few as will do, the least
 * entitled first; undefined when they are too few: then nobody does. Of equals, those who have memory for all that they may come to need
 * keep it.
 *
 * @param isEnough whether there is enough when these have left
 */
export function memoryVictims(
  sequence: Sequence,
  { running, fairness, isComplete }: MemoryClaims,
  isEnough: (leaving: readonly Sequence[]) => boolean,
): Sequence[] | undefined {
  const { priority } = sequence.standing;
  const movable = running
    .filter((one) => !one.keepsRegion && (one.standing.priority > priority || !isComplete(one)))
    .filter((one) => compareClaims(one, sequence, fairness) > 0)
    .sort((a, b) => compareClaims(b, a, fairness));
  return fewest(
    movable.map((one) => [one]),
    isEnough,
  );
}

/**
 * Who gives way so that the variant of a starving group finds slots: all sequences of as few other variants, and as few of the base, as
 * it takes. Empty when slots would be found anyway; undefined when there is no way: then nobody gives way.
 *
 * @param isEnough whether the group's variant finds slots when these have left
 */
export function slotVictims(
  group: WaitingGroup,
  running: readonly Sequence[],
  fairness: Fairness,
  isEnough: (leaving: readonly Sequence[]) => boolean,
): Sequence[] | undefined {
  if (isEnough([])) return [];
  const together = new Map<string, Sequence[]>();
  for (const sequence of running) {
    const key = sequence.variant === null ? `base ${sequence.id}` : `variant ${sequence.variant}`;
    together.set(key, [...(together.get(key) ?? []), sequence]);
  }
  const movable = [...together.values()]
    .filter((own) => own.every((one) => !one.keepsRegion && one.standing.priority >= group.priority))
    .sort((a, b) => compareVictims(b[0]!, a[0]!, fairness));
  return fewest(movable, isEnough);
}

/** As few of these, who leave together, as are enough, the first ones first; undefined when all are not. */
function fewest(
  order: readonly (readonly Sequence[])[],
  isEnough: (leaving: readonly Sequence[]) => boolean,
): Sequence[] | undefined {
  let leaving: (readonly Sequence[])[] = [];
  for (const own of order) {
    if (isEnough(leaving.flat())) break;
    leaving.push(own);
  }
  if (!isEnough(leaving.flat())) return undefined;
  // One that came first in the order may have nothing of what is short.
  for (const own of [...leaving]) {
    const fewer = leaving.filter((other) => other !== own);
    if (isEnough(fewer.flat())) leaving = fewer;
  }
  return leaving.flat();
}

function isOutranked({ standing }: Sequence, group: WaitingGroup): boolean {
  return standing.priority > group.priority && !group.isOverdrawn;
}

function isAheadOf({ standing, variant }: Sequence, group: WaitingGroup, fairness: Fairness): boolean {
  if (!group.isStarved || standing.priority < group.priority) return false;
  if (standing.client !== group.client) return fairness.ofClient(standing.client) > fairness.ofClient(group.client);
  return fairness.ofVariant(group.client, variant) > fairness.ofVariant(group.client, group.variant);
}

/** Positive when `a` should rather give way than `b`. */
function compareVictims({ standing: a }: Sequence, { standing: b }: Sequence, fairness: Fairness): number {
  return a.priority - b.priority || fairness.ofClient(a.client) - fairness.ofClient(b.client);
}

/** Negative when `a` is more entitled to memory than `b`: the more urgent, then whose client has had less, then who came first. */
export function compareClaims(a: Sequence, b: Sequence, fairness: Fairness): number {
  return compareVictims(a, b, fairness) || a.arrival - b.arrival;
}
