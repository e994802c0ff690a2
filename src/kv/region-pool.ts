import { assert } from "../util/index.js";

/** Whose keys and values lie in a region: those of the first `computedTokens` of `tokens`. A running sequence is one. */
export interface Occupant {
  readonly tokens: readonly number[];
  readonly computedTokens: number;
}

/** A region for a newcomer, and how many of its first tokens need not be computed. */
export interface Place {
  readonly region: number;
  readonly cachedTokens: number;
  /** The region whose first cells hold them; null where they lie in the place itself. */
  readonly copiedFrom: number | null;
}

interface Region {
  /** Null while nothing lies in it. */
  occupant: Occupant | null;
  /** Only newcomers of the same scope may find what the occupant has computed. */
  scope: string;
  isTaken: boolean;
  /** When it was released last, in releases. */
  releasedAt: number;
}

/** A region and how far what lies in it agrees with a newcomer's tokens. */
interface Match {
  readonly index: number;
  readonly length: number;
  /** Tokens in it after those. */
  readonly rest: number;
  readonly isTaken: boolean;
}

/** Fewer tokens than this are sooner computed again than copied, or kept in a region of their own. */
const fewTokens = 16;

/**
 * Which regions of the key-value cache are taken, and what lies in each. What a sequence has computed stays when it leaves, until its
 * region is wanted: a newcomer of the same scope that begins with the same tokens goes on from there. It takes the region over if little
 * is lost by that, and gets a copy in another if more is, or if the region's sequence still runs. Otherwise an empty region is taken, the
 * lowest first, and then the one released longest ago.
 */
export class RegionPool {
  readonly #regions: readonly Region[];
  #releases = 0;

  constructor(regions: number) {
    this.#regions = Array.from({ length: regions }, () => ({
      occupant: null,
      scope: "",
      isTaken: false,
      releasedAt: 0,
    }));
  }

  /** Regions that are not taken. */
  get free(): number {
    return this.#regions.filter(({ isTaken }) => !isTaken).length;
  }

  /**
   * Takes a region for an occupant that has computed nothing yet. At least one of its tokens is left to compute, for its logits.
   * What is to be copied must be copied before anything else is computed, in the order of these calls.
   *
   * @returns undefined when all are taken
   */
  take(occupant: Occupant, scope: string): Place | undefined {
    const match = this.#longestMatch(occupant.tokens, scope);
    const staysWhole = match !== undefined && (match.isTaken || match.rest >= fewTokens);
    const other = this.#leastRecent(staysWhole ? match.index : undefined);
    const place = placeOf(match, staysWhole, other);
    if (place === undefined) return undefined;
    Object.assign(this.#regions[place.region]!, { occupant, scope, isTaken: true });
    return place;
  }

  /** Gives a region back; what its occupant has computed by now is remembered. */
  release(index: number): void {
    const region = this.#regions[index]!;
    assert(region.isTaken && region.occupant, `region ${index} released while it was free`);
    const { tokens, computedTokens } = region.occupant;
    // The occupant may go on elsewhere: what lies here is what it has computed until now.
    region.occupant = computedTokens > 0 ? { tokens: tokens.slice(0, computedTokens), computedTokens } : null;
    region.isTaken = false;
    this.#releases += 1;
    region.releasedAt = this.#releases;
  }

  /** Forgets what lies in regions that are free: nobody knows any more whether it is right. */
  forget(): void {
    for (const region of this.#regions) if (!region.isTaken) region.occupant = null;
  }

  /** The longest, of equals one that is free, of those the one of which least is lost. */
  #longestMatch(tokens: readonly number[], scope: string): Match | undefined {
    let best: Match | undefined;
    for (const [index, { occupant, scope: own, isTaken }] of this.#regions.entries()) {
      if (occupant === null || own !== scope) continue;
      const length = commonLength(occupant, tokens);
      if (length === 0) continue;
      const match = { index, length, rest: occupant.computedTokens - length, isTaken };
      if (best === undefined || compareMatches(match, best) > 0) best = match;
    }
    return best;
  }

  /** The free region of which least is lost: an empty one, or the one released longest ago; the excepted one if it is the only one. */
  #leastRecent(except: number | undefined): number | undefined {
    let least: number | undefined;
    for (const [index, { isTaken }] of this.#regions.entries()) {
      if (isTaken) continue;
      if (least === undefined || least === except || (index !== except && this.#age(index) < this.#age(least))) {
        least = index;
      }
    }
    return least;
  }

  #age(index: number): number {
    const { occupant, releasedAt } = this.#regions[index]!;
    return occupant === null ? 0 : releasedAt;
  }
}

function placeOf(match: Match | undefined, staysWhole: boolean, other: number | undefined): Place | undefined {
  if (other === undefined) return undefined;
  if (match === undefined) return { region: other, cachedTokens: 0, copiedFrom: null };
  if (!staysWhole || other === match.index) {
    return { region: match.index, cachedTokens: match.length, copiedFrom: null };
  }
  if (match.length < fewTokens) return { region: other, cachedTokens: 0, copiedFrom: null };
  return { region: other, cachedTokens: match.length, copiedFrom: match.index };
}

/** Tokens that both begin with; all but the newcomer's last one at most. */
function commonLength({ tokens, computedTokens }: Occupant, newcomer: readonly number[]): number {
  const most = Math.min(computedTokens, newcomer.length - 1);
  let length = 0;
  while (length < most && tokens[length] === newcomer[length]) length += 1;
  return length;
}

/** Positive when `a` is the better one. */
function compareMatches(a: Match, b: Match): number {
  return a.length - b.length || Number(b.isTaken) - Number(a.isTaken) || b.rest - a.rest;
}
