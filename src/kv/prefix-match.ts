/** Whose keys and values lie in a region: those of the first `computedTokens` of `tokens`. A running sequence is one. */
export interface Occupant {
  readonly tokens: readonly number[];
  readonly computedTokens: number;
}

/** What lies in a region, for whom. */
export interface Content {
  /** Null while nothing lies in it. */
  readonly occupant: Occupant | null;
  /** Only newcomers of the same scope may find what the occupant has computed. */
  readonly scope: string;
  readonly isTaken: boolean;
}

/** A region and how far what lies in it agrees with a newcomer's tokens. */
export interface Match {
  readonly index: number;
  readonly length: number;
  /** Tokens in it after those. */
  readonly rest: number;
  readonly isTaken: boolean;
}

/** The longest, of equals one that is free, of those the one of which least is lost. */
export function longestMatch(
  contents: readonly Content[],
  tokens: readonly number[],
  scope: string,
): Match | undefined {
  let best: Match | undefined;
  for (const [index, { occupant, scope: own, isTaken }] of contents.entries()) {
    if (occupant === null || own !== scope) continue;
    const length = commonLength(occupant, tokens);
    if (length === 0) continue;
    const match = { index, length, rest: occupant.computedTokens - length, isTaken };
    if (best === undefined || compareMatches(match, best) > 0) best = match;
  }
  return best;
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
