import { Budget, coldest, type Heat, type Holding, heatAt, heated } from "../memory/index.js";
import { assert } from "../util/index.js";

/** The classes of slots, by id, of which a variant needs one each. */
export type SlotNeeds = ReadonlySet<string>;

/** How many places there are. */
export interface ResidencyCapacity {
  /** Slots of each class, by its id. */
  readonly slots: ReadonlyMap<string, number>;
  /** Variants that can be resident at once, whatever their classes. */
  readonly variants: number;
}

/** The memory behind the slots. */
export interface SlotMemory {
  readonly budget: Budget;
  /** Bytes that a variant of these needs takes. */
  bytesOf(needs: SlotNeeds): number;
  /** What it takes to load so many bytes again. */
  msOf(bytes: number): number;
  /** Gives back the memory of slots, and of a variant's own row unless somebody has it. */
  discard(freed: FreedPlaces): void;
}

/** What nobody has any more of a placement. */
export interface FreedPlaces {
  readonly index: number | null;
  readonly slots: ReadonlyMap<string, number>;
}

/** Where a variant lies. */
export interface Placement {
  /** Its number among resident variants: its row in pools that every variant has one of. */
  readonly index: number;
  /** Its slot of each class. */
  readonly slots: ReadonlyMap<string, number>;
}

interface Resident extends Placement {
  readonly bytes: number;
  heat: Heat;
  isLoading: boolean;
}

/** Slots that cost nothing, for those who have memory for all of them. */
const ampleMemory = (): SlotMemory => ({ budget: new Budget(0), bytesOf: () => 0, msOf: () => 0, discard: () => {} });

/**
 * Which variant is where on the device; bookkeeping only, nothing is read or written here. Room for a new one is made by dropping
 * those of which least is lost a byte, and never one that is pinned, that is being loaded, or that somebody runs on.
 */
export class Residency {
  readonly #memory: SlotMemory;
  readonly #pinned: ReadonlySet<string>;
  readonly #freeSlots: Map<string, number[]>;
  readonly #freeIndexes: number[];
  /** Least recently used first. */
  readonly #placed = new Map<string, Resident>();
  /** While a place is being found: those who make room for it, whose places it may take as they are. */
  #dropped: Placement[] | undefined;
  /** Uses of any variant: the turns of heat. */
  #uses = 0;

  constructor(
    capacity: ResidencyCapacity,
    options: { readonly memory?: SlotMemory; readonly pinned?: ReadonlySet<string> } = {},
  ) {
    this.#memory = options.memory ?? ampleMemory();
    this.#pinned = options.pinned ?? new Set();
    this.#freeSlots = new Map(
      [...capacity.slots].map(([classId, count]) => [classId, Array.from({ length: count }, (_, i) => i)]),
    );
    this.#freeIndexes = Array.from({ length: capacity.variants }, (_, i) => i);
    this.#memory.budget.join({ holdings: (spared) => this.#holdings(spared) });
  }

  get names(): readonly string[] {
    return [...this.#placed.keys()];
  }

  find(variant: string): Placement | undefined {
    return this.#placed.get(variant);
  }

  /** Whether a variant's parts lie in slots, or are on their way into slots that are theirs. */
  state(variant: string): "resident" | "loading" | "absent" {
    const resident = this.#placed.get(variant);
    return resident === undefined ? "absent" : resident.isLoading ? "loading" : "resident";
  }

  /** Variants that are on their way. */
  get loadingCount(): number {
    let count = 0;
    for (const { isLoading } of this.#placed.values()) if (isLoading) count += 1;
    return count;
  }

  /** Counts a use: the variant moves away from eviction. */
  use(variant: string): void {
    const resident = this.#placed.get(variant);
    if (!resident) return;
    this.#uses += 1;
    resident.heat = heated(resident.heat, this.#uses);
    this.#placed.delete(variant);
    this.#placed.set(variant, resident);
  }

  /**
   * Finds places for a variant that is to be loaded, dropping others if need be; undefined, and nothing dropped, when those that stay leave too
   * little. It stays until it is {@link loaded}.
   *
   * @param spared variants that must stay
   */
  place(variant: string, needs: SlotNeeds, spared: ReadonlySet<string>): Placement | undefined {
    assert(!this.#placed.has(variant), `${variant} is placed already`);
    const { budget, bytesOf } = this.#memory;
    const victims = this.#victims(needs, spared);
    const bytes = bytesOf(needs);
    if (victims === undefined || !budget.hasRoom(bytes, spared)) return undefined;
    const dropped: Placement[] = [];
    this.#dropped = dropped;
    for (const victim of victims) this.drop(victim);
    assert(budget.makeRoom(bytes, spared), "there was room for it");
    this.#dropped = undefined;
    budget.commit(bytes);
    const slots = new Map([...needs].map((classId) => [classId, this.#freeSlots.get(classId)!.shift()!]));
    // Who loads it wants it, which is as good as a use.
    const heat = heated(coldest, this.#uses);
    const resident = { index: this.#freeIndexes.shift()!, slots, bytes, heat, isLoading: true };
    this.#placed.set(variant, resident);
    for (const place of dropped) this.#memory.discard(withoutThoseOf(resident, place));
    return resident;
  }

  /** What was placed is there now. */
  loaded(variant: string): void {
    const resident = this.#placed.get(variant);
    assert(resident?.isLoading, `${variant} was not being loaded`);
    resident.isLoading = false;
  }

  /** Whether `place` would find places, with so many bytes more than there are now. */
  hasRoom(needs: SlotNeeds, spared: ReadonlySet<string>, bytesMore = 0): boolean {
    const { budget, bytesOf } = this.#memory;
    return this.#victims(needs, spared) !== undefined && budget.hasRoom(bytesOf(needs) - bytesMore, spared);
  }

  drop(variant: string): void {
    const resident = this.#placed.get(variant);
    assert(resident, `${variant} is dropped but was not placed`);
    this.#placed.delete(variant);
    // First again: memory that somebody had is given to the next one as it is, and need not be had from the system anew.
    this.#freeIndexes.unshift(resident.index);
    for (const [classId, slot] of resident.slots) this.#freeSlots.get(classId)!.unshift(slot);
    this.#memory.budget.release(resident.bytes);
    const { index, slots } = resident;
    if (this.#dropped) this.#dropped.push({ index, slots });
    else this.#memory.discard({ index, slots });
  }

  *#holdings(spared: ReadonlySet<string>): Iterable<Holding> {
    for (const [name, { bytes, heat }] of this.#movable(spared)) {
      const worth = () => (heatAt(heat, this.#uses) * this.#memory.msOf(bytes)) / 1000;
      yield { bytes, worth, release: () => this.drop(name) };
    }
  }

  *#movable(spared: ReadonlySet<string>): Iterable<[string, Resident]> {
    for (const [name, resident] of this.#placed) {
      if (!resident.isLoading && !spared.has(name) && !this.#pinned.has(name)) yield [name, resident];
    }
  }

  /** Whom to drop so that there are slots: the coldest, of equals those used longest ago, as few of them as will do. */
  #victims(needs: SlotNeeds, spared: ReadonlySet<string>): string[] | undefined {
    if (this.#fits(needs, [])) return [];
    const byHeat = [...this.#movable(spared)].sort(
      ([, a], [, b]) => heatAt(a.heat, this.#uses) - heatAt(b.heat, this.#uses),
    );
    let victims: string[] = [];
    for (const [name] of byHeat) {
      if (this.#fits(needs, victims)) break;
      victims.push(name);
    }
    if (!this.#fits(needs, victims)) return undefined;
    // One that came first in the order may have no slot of the classes that are short.
    for (const kept of [...victims].reverse()) {
      const fewer = victims.filter((victim) => victim !== kept);
      if (this.#fits(needs, fewer)) victims = fewer;
    }
    return victims;
  }

  #fits(needs: SlotNeeds, victims: readonly string[]): boolean {
    if (this.#freeIndexes.length + victims.length === 0) return false;
    return [...needs].every(
      (classId) =>
        (this.#freeSlots.get(classId)?.length ?? 0) > 0 ||
        victims.some((name) => this.#placed.get(name)!.slots.has(classId)),
    );
  }
}

/** What another one's placement leaves of the places of one that was dropped. */
function withoutThoseOf({ index, slots }: Placement, dropped: Placement): FreedPlaces {
  return {
    index: dropped.index === index ? null : dropped.index,
    slots: new Map([...dropped.slots].filter(([classId, slot]) => slots.get(classId) !== slot)),
  };
}
