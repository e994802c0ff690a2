import type { Sequence } from "../core/index.js";
import type { Fairness } from "./fairness.js";
import type { WaitingGroup } from "./waiting-line.js";

/**
 * Who gives its region to the first of a waiting group, if anybody: one that is less urgent, or, when the group starves, one no more
 * urgent whose client, or else whose variant, has had more. Of several the least urgent, then the one that has had most, then the last
 * that was let in.
 *
 * @param running in the order in which they were let in
 */
export function regionVictim(
  group: WaitingGroup,
  running: readonly Sequence[],
  fairness: Fairness,
): Sequence | undefined {
  let victim: Sequence | undefined;
  for (const sequence of running) {
    if (sequence.keepsRegion || !(isOutranked(sequence, group) || isAheadOf(sequence, group, fairness))) continue;
    if (victim === undefined || compareVictims(sequence, victim, fairness) >= 0) victim = sequence;
  }
  return victim;
}

/**
 * Who gives way so that the variant of a starving group finds slots: all sequences of as few other variants as it takes. Empty when
 * slots would be found anyway; undefined when there is no way: then nobody gives way.
 *
 * @param hasRoom whether the group's variant finds slots while these variants stay
 */
export function slotVictims(
  group: WaitingGroup,
  running: readonly Sequence[],
  fairness: Fairness,
  hasRoom: (pinned: ReadonlySet<string>) => boolean,
): Sequence[] | undefined {
  const byVariant = new Map<string, Sequence[]>();
  for (const sequence of running) {
    if (sequence.variant === null) continue;
    byVariant.set(sequence.variant, [...(byVariant.get(sequence.variant) ?? []), sequence]);
  }
  const pinned = new Set(byVariant.keys());
  const victims: string[] = [];
  const movable = [...byVariant]
    .filter(([, own]) => own.every((one) => !one.keepsRegion && one.standing.priority >= group.priority))
    .sort(([, a], [, b]) => compareVictims(b[0]!, a[0]!, fairness));
  for (const [variant] of movable) {
    if (hasRoom(pinned)) break;
    pinned.delete(variant);
    victims.push(variant);
  }
  if (!hasRoom(pinned)) return undefined;
  // One that came first in the order may have no slot of the classes that are short.
  const needed = victims.filter((variant) => {
    if (!hasRoom(new Set([...pinned, variant]))) return true;
    pinned.add(variant);
    return false;
  });
  return needed.flatMap((variant) => byVariant.get(variant)!);
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
