import type { WantedVariant } from "../core/index.js";
import { type Facts, residencyOf } from "./facts.js";
import type { WaitingGroup } from "./waiting-line.js";

/** Loads that one plan asks for at most. */
const wantedMax = 4;

/**
 * What to load for those who wait, the next first, without dropping what runs or what an earlier one waits for.
 *
 * @param order the waiting line
 * @param running the variants of running sequences
 */
export function wantedVariants(
  order: readonly WaitingGroup[],
  running: ReadonlySet<string>,
  facts: Facts,
): WantedVariant[] {
  const wanted: WantedVariant[] = [];
  const spared = new Set(running);
  for (const group of order) {
    const { variant } = group;
    if (variant === null || spared.has(variant)) continue;
    if (residencyOf(group, facts) === "absent") wanted.push({ variant, spared: new Set(spared) });
    if (wanted.length === wantedMax) break;
    spared.add(variant);
  }
  return wanted;
}
