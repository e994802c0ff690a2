import type { WantedVariant } from "../core/index.js";
import { type Facts, residencyOf } from "./facts.js";
import type { WaitingGroup } from "./waiting-line.js";

/** Loads that one plan asks for at most. */
const wantedMax = 4;

/**
 * What to load for those who wait, the next first, whether or not there is a region for them yet. None of it costs another its place
 * for whom somebody runs or waits; but one that starves takes the place of those behind it in line, if nobody of theirs runs.
 *
 * @param order the waiting line
 * @param running the variants of running sequences
 * @param groups of how many groups, from the first, something may be wanted
 */
export function wantedVariants(
  order: readonly WaitingGroup[],
  running: ReadonlySet<string>,
  facts: Facts,
  groups = order.length,
): WantedVariant[] {
  const wanted: WantedVariant[] = [];
  const before = new Set(running);
  const inUse = new Set(running);
  for (const { variant } of order) if (variant !== null) inUse.add(variant);
  for (const group of order.slice(0, groups)) {
    const { variant } = group;
    if (variant === null || before.has(variant)) continue;
    if (residencyOf(group, facts) === "absent")
      wanted.push({ variant, spared: group.isStarved ? new Set(before) : inUse });
    if (wanted.length === wantedMax) break;
    before.add(variant);
  }
  return wanted;
}
