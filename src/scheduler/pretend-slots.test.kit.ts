import assert from "node:assert/strict";
import type { WantedVariant } from "../core/index.js";
import type { Budget, Holding } from "../memory/index.js";
import type { Dice } from "./dice.test.kit.js";
import type { Facts } from "./facts.js";

/** Where variants lie: a slot each and some bytes, loads that take some steps and now and then fail. */
export class PretendSlots implements Facts {
  readonly #dice: Dice;
  readonly #slots: number;
  /** Steps until each is there, 0 for those that are; the one used longest ago first. */
  readonly #placed = new Map<string, number>();
  /** How often each has come with other bytes than before. */
  readonly #editions = new Map<string, number>();

  readonly #budget: Budget;
  readonly #bytesOf: (variant: string) => number;

  constructor(dice: Dice, slots: number, memory: { budget: Budget; bytesOf: (variant: string) => number }) {
    this.#dice = dice;
    this.#slots = slots;
    this.#budget = memory.budget;
    this.#bytesOf = memory.bytesOf;
    this.#budget.join({ holdings: (spared) => this.#holdings(spared) });
  }

  /** Bytes of all variants that are there or on their way. */
  get bytes(): number {
    return [...this.#placed.keys()].reduce((sum, variant) => sum + this.#bytesOf(variant), 0);
  }

  /** Whether anything is on its way. */
  get isLoading(): boolean {
    return [...this.#placed.values()].some((steps) => steps > 0);
  }

  residency(variant: string): "resident" | "loading" | "absent" {
    const steps = this.#placed.get(variant);
    return steps === undefined ? "absent" : steps > 0 ? "loading" : "resident";
  }

  identity(variant: string): string {
    return `${this.#editions.get(variant) ?? 0}`;
  }

  hasRoom(variant: string, spared: ReadonlySet<string>, bytesMore = 0): boolean {
    const hasSlot = this.#staying(spared).length < this.#slots;
    return hasSlot && this.#budget.hasRoom(this.#bytesOf(variant) - bytesMore, spared);
  }

  touch(variant: string): void {
    this.#placed.delete(variant);
    this.#placed.set(variant, 0);
  }

  /** Begins a load if there is room, dropping what may go if need be. */
  load({ variant, spared }: WantedVariant, running: ReadonlySet<string>): void {
    assert.equal(this.residency(variant), "absent", `${variant} is wanted and ${this.residency(variant)}`);
    for (const other of running) assert.ok(spared.has(other), `${other} runs and might be dropped for ${variant}`);
    if (!this.hasRoom(variant, spared)) return;
    const staying = this.#staying(spared);
    const [victim] = [...this.#placed.keys()].filter((other) => !staying.includes(other));
    if (this.#placed.size === this.#slots) this.#drop(victim!);
    assert.ok(this.#budget.makeRoom(this.#bytesOf(variant), spared));
    this.#budget.commit(this.#bytesOf(variant));
    this.#placed.set(variant, this.#dice.between(1, 15));
    if (this.#dice.chance(0.3)) this.#editions.set(variant, (this.#editions.get(variant) ?? 0) + 1);
  }

  /** A step later: names the variants whose load failed. */
  pass(): string[] {
    const failed: string[] = [];
    for (const [variant, steps] of [...this.#placed]) {
      if (steps === 0) continue;
      if (steps > 1 || !this.#dice.chance(0.05)) this.#placed.set(variant, steps - 1);
      else {
        this.#drop(variant);
        failed.push(variant);
      }
    }
    return failed;
  }

  /** Drops all that are there. */
  clear(): void {
    for (const variant of [...this.#placed.keys()]) this.#drop(variant);
  }

  #drop(variant: string): void {
    this.#placed.delete(variant);
    this.#budget.release(this.#bytesOf(variant));
  }

  #holdings(spared: ReadonlySet<string>): Holding[] {
    const staying = this.#staying(spared);
    return [...this.#placed.keys()]
      .filter((variant) => !staying.includes(variant))
      .map((variant) => ({
        bytes: this.#bytesOf(variant),
        worth: () => this.#dice.between(0, 9),
        release: () => this.#drop(variant),
      }));
  }

  #staying(pinned: ReadonlySet<string>): string[] {
    return [...this.#placed.keys()].filter((other) => pinned.has(other) || this.residency(other) === "loading");
  }
}
