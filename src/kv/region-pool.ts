import { Budget, coldest, type Heat, type Holding, heatAt, heated } from "../memory/index.js";
import { assert } from "../util/index.js";
import { type Content, longestMatch, type Match, type Occupant } from "./prefix-match.js";

/** A region for a newcomer, and how many of its first tokens need not be computed. */
export interface Place {
  readonly region: number;
  readonly cachedTokens: number;
  /** The region whose first cells hold them; null where they lie in the place itself. */
  readonly copiedFrom: number | null;
}

/** The memory behind the cells. */
export interface CellMemory {
  readonly budget: Budget;
  /** Bytes that the first so many cells of a region take. */
  bytesOf(cells: number): number;
  /** What it takes to compute so many tokens again. */
  msOf(tokens: number): number;
  /** Gives back the memory of a region's cells from this one on. */
  discard(region: number, fromCell: number): void;
}

/** For whom a place is sought. */
export interface Newcomer {
  readonly occupant: Occupant;
  /** Only newcomers of the same scope may find what it computes. */
  readonly scope: string;
  /** Cells that are to have memory from the start. */
  readonly cells: number;
}

interface Region extends Content {
  occupant: Occupant | null;
  scope: string;
  isTaken: boolean;
  /** When it was released last, in releases. */
  releasedAt: number;
  /** Cells whose memory is committed. */
  cells: number;
  /** How much what lies in it was asked for. */
  heat: Heat;
}

/** Fewer tokens than this are sooner computed again than copied, or kept in a region of their own. */
const fewTokens = 16;

/** Cells that cost nothing, for those who have memory for all of them. */
const ampleMemory = (): CellMemory => ({ budget: new Budget(0), bytesOf: () => 0, msOf: () => 0, discard: () => {} });

/**
 * Which regions of the key-value cache are taken, and what lies in each. What a sequence has computed stays when it leaves, until its
 * region or its memory is wanted: a newcomer of the same scope that begins with the same tokens goes on from there. It takes the region over if little
 * is lost by that, and gets a copy in another if more is, or if the region's sequence still runs. Otherwise an empty region is taken, the
 * lowest first, and then the one released longest ago.
 *
 * A sequence has memory for the cells that were asked for, and for more when it grows; what it leaves keeps only that of computed ones.
 */
export class RegionPool {
  readonly #regions: readonly Region[];
  readonly #memory: CellMemory;
  /** Cells of regions that copies which are yet to be made read or write. */
  readonly #copying = new Map<number, number>();
  /** Regions of which the place that is just sought may be made. */
  #wanted: readonly number[] = [];
  #releases = 0;
  /** Places given: the turns of heat. */
  #places = 0;

  constructor(regions: number, memory: CellMemory = ampleMemory()) {
    this.#memory = memory;
    this.#regions = Array.from({ length: regions }, () => ({
      occupant: null,
      scope: "",
      isTaken: false,
      releasedAt: 0,
      cells: 0,
      heat: coldest,
    }));
    memory.budget.join({ holdings: () => this.#holdings() });
  }

  /** Regions that are not taken. */
  get free(): number {
    let free = 0;
    for (const { isTaken } of this.#regions) if (!isTaken) free += 1;
    return free;
  }

  /** Cells of a region that have memory. */
  cellsOf(index: number): number {
    return this.#regions[index]!.cells;
  }

  /** Bytes that could be had if a taken region's occupant left. */
  bytesIfLeft(index: number): number {
    const { occupant, cells } = this.#regions[index]!;
    const copied = this.#copying.get(index);
    const kept = copied === undefined ? 0 : Math.max(copied, occupant?.computedTokens ?? 0);
    return this.#memory.bytesOf(cells) - this.#memory.bytesOf(kept);
  }

  /**
   * Takes a region, with memory, for an occupant that has computed nothing yet. At least one of its tokens is left to compute, for its
   * logits. What is to be copied must be copied before anything else is computed, in the order of these calls; see {@link settle}.
   *
   * @param spared variants that must stay
   * @returns undefined when all are taken, or memory is short
   */
  take({ occupant, scope, cells }: Newcomer, spared: ReadonlySet<string>): Place | undefined {
    const match = longestMatch(this.#regions, occupant.tokens, scope);
    const staysWhole = match !== undefined && (match.isTaken || match.rest >= fewTokens);
    const other = this.#leastRecent(staysWhole ? match.index : undefined);
    const place = placeOf(match, staysWhole, other);
    if (place === undefined) return undefined;
    if (this.#claim(place, cells, spared)) return this.#occupy(place, { occupant, scope, cells });
    if (match === undefined || match.isTaken || place.region === match.index) return undefined;
    // Where there is no memory for both, what is found is not kept whole.
    const over = { region: match.index, cachedTokens: match.length, copiedFrom: null };
    return this.#claim(over, cells, spared) ? this.#occupy(over, { occupant, scope, cells }) : undefined;
  }

  /** Whether memory for so many cells could be had, with so many bytes more than there are now; {@link take} finds it then. */
  hasRoom(cells: number, spared: ReadonlySet<string>, bytesMore: number): boolean {
    return this.#memory.budget.hasRoom(this.#memory.bytesOf(cells) - bytesMore, spared);
  }

  /**
   * Whether a taken region could have memory for so many cells, with so many bytes more than there are now; {@link grow} finds it
   * then.
   */
  canGrow(index: number, cells: number, spared: ReadonlySet<string>, bytesMore: number): boolean {
    return this.#memory.budget.hasRoom(this.#bytesToGrow(index, cells) - bytesMore, spared);
  }

  /** Commits memory for more cells of a taken region; false, and nothing has changed, when it is short. */
  grow(index: number, cells: number, spared: ReadonlySet<string>): boolean {
    const region = this.#regions[index]!;
    assert(region.isTaken && cells >= region.cells, `region ${index} grows from ${region.cells} cells to ${cells}`);
    const isFound = this.#memory.budget.makeRoom(this.#bytesToGrow(index, cells), spared);
    if (isFound) this.#resize(index, cells);
    return isFound;
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
    this.#resize(index, computedTokens);
  }

  /** All copies that places asked for have been made. */
  settle(): void {
    const copied = [...this.#copying.keys()];
    this.#copying.clear();
    for (const index of copied) {
      const { isTaken, occupant, cells } = this.#regions[index]!;
      if (!isTaken) this.#resize(index, Math.min(cells, occupant?.computedTokens ?? 0));
    }
  }

  /** No copies are made that places asked for since the last {@link settle}: nobody has stayed in these regions. */
  cancelCopies(into: Iterable<number>): void {
    for (const index of into) {
      const region = this.#regions[index]!;
      assert(!region.isTaken, `region ${index} is taken and waits for a copy`);
      region.occupant = null;
    }
    this.settle();
  }

  /** Forgets what lies in regions that are free: nobody knows any more whether it is right. */
  forget(): void {
    for (const [index, { isTaken }] of this.#regions.entries()) if (!isTaken) this.#empty(index);
  }

  /** What lies in regions that are free. */
  *#holdings(): Iterable<Holding> {
    const { bytesOf, msOf } = this.#memory;
    for (const [index, { occupant, isTaken, cells, heat }] of this.#regions.entries()) {
      if (isTaken || occupant === null || this.#copying.has(index) || this.#wanted.includes(index)) continue;
      const worth = () => (heatAt(heat, this.#places) * msOf(occupant.computedTokens)) / 1000;
      yield { bytes: bytesOf(cells), worth, release: () => this.#empty(index) };
    }
  }

  /** Commits memory for a place if there is or can be enough. */
  #claim({ region, copiedFrom }: Place, cells: number, spared: ReadonlySet<string>): boolean {
    const { budget, bytesOf } = this.#memory;
    const all = Math.max(cells, this.#copying.get(region) ?? 0);
    this.#wanted = copiedFrom === null ? [region] : [region, copiedFrom];
    const isFound = budget.makeRoom(bytesOf(all) - bytesOf(this.#regions[region]!.cells), spared);
    this.#wanted = [];
    if (isFound) this.#resize(region, all);
    return isFound;
  }

  #bytesToGrow(index: number, cells: number): number {
    const { bytesOf } = this.#memory;
    return bytesOf(cells) - bytesOf(this.#regions[index]!.cells);
  }

  #occupy(place: Place, { occupant, scope }: Newcomer): Place {
    const { region: index, cachedTokens, copiedFrom } = place;
    const region = this.#regions[index]!;
    this.#places += 1;
    const found = copiedFrom === null ? region : this.#regions[copiedFrom]!;
    const heat = heated(cachedTokens > 0 ? found.heat : coldest, this.#places);
    if (cachedTokens > 0) found.heat = heat;
    Object.assign(region, { occupant, scope, isTaken: true, heat });
    if (copiedFrom === null) return place;
    for (const copied of [index, copiedFrom]) {
      this.#copying.set(copied, Math.max(cachedTokens, this.#copying.get(copied) ?? 0));
    }
    return place;
  }

  #empty(index: number): void {
    this.#regions[index]!.occupant = null;
    this.#resize(index, 0);
  }

  /** Commits or releases what lies between; cells that are yet to be copied stay. */
  #resize(index: number, cells: number): void {
    const { budget, bytesOf, discard } = this.#memory;
    const region = this.#regions[index]!;
    const kept = Math.max(cells, this.#copying.get(index) ?? 0);
    const more = bytesOf(kept) - bytesOf(region.cells);
    region.cells = kept;
    if (more > 0) budget.commit(more);
    if (more >= 0) return;
    budget.release(-more);
    discard(index, kept);
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
