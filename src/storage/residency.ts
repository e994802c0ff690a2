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

/** Where a variant lies. */
export interface Placement {
  /** Its number among resident variants: its row in pools that every variant has one of. */
  readonly index: number;
  /** Its slot of each class. */
  readonly slots: ReadonlyMap<string, number>;
}

/**
 * Which variant is where on the device; bookkeeping only, nothing is read or written here. Room for a new one is made by dropping
 * those used longest ago, and never one that is pinned.
 */
export class Residency {
  readonly #freeSlots: Map<string, number[]>;
  readonly #freeIndexes: number[];
  /** Least recently used first. */
  readonly #placed = new Map<string, Placement>();

  constructor(capacity: ResidencyCapacity) {
    this.#freeSlots = new Map(
      [...capacity.slots].map(([classId, count]) => [classId, Array.from({ length: count }, (_, i) => i)]),
    );
    this.#freeIndexes = Array.from({ length: capacity.variants }, (_, i) => i);
  }

  get names(): readonly string[] {
    return [...this.#placed.keys()];
  }

  find(variant: string): Placement | undefined {
    return this.#placed.get(variant);
  }

  /** Counts as a use: the variant moves away from eviction. */
  touch(variant: string): void {
    const placement = this.#placed.get(variant);
    if (!placement) return;
    this.#placed.delete(variant);
    this.#placed.set(variant, placement);
  }

  /** Finds places, dropping others if need be; undefined, and nothing dropped, when pinned ones leave too little. */
  place(variant: string, needs: SlotNeeds, isPinned: (variant: string) => boolean): Placement | undefined {
    assert(!this.#placed.has(variant), `${variant} is placed already`);
    const victims = this.#victims(needs, isPinned);
    if (victims === undefined) return undefined;
    for (const victim of victims) this.drop(victim);
    const slots = new Map([...needs].map((classId) => [classId, this.#freeSlots.get(classId)!.shift()!]));
    const placement = { index: this.#freeIndexes.shift()!, slots };
    this.#placed.set(variant, placement);
    return placement;
  }

  /** Whether `place` would find places. */
  hasRoom(needs: SlotNeeds, isPinned: (variant: string) => boolean): boolean {
    return this.#victims(needs, isPinned) !== undefined;
  }

  drop(variant: string): void {
    const placement = this.#placed.get(variant);
    assert(placement, `${variant} is dropped but was not placed`);
    this.#placed.delete(variant);
    this.#freeIndexes.push(placement.index);
    for (const [classId, slot] of placement.slots) this.#freeSlots.get(classId)!.push(slot);
  }

  /** Whom to drop: those used longest ago, as few of them as will do. */
  #victims(needs: SlotNeeds, isPinned: (variant: string) => boolean): string[] | undefined {
    let victims: string[] = [];
    for (const name of this.#placed.keys()) {
      if (this.#fits(needs, victims)) break;
      if (!isPinned(name)) victims.push(name);
    }
    if (!this.#fits(needs, victims)) return undefined;
    // One that came first in the order may have no slot of the classes that are short.
    for (const spared of [...victims].reverse()) {
      const fewer = victims.filter((victim) => victim !== spared);
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
