import assert from "node:assert/strict";
import type { WantedVariant } from "../core/index.js";
import type { Dice } from "./dice.test.kit.js";
import type { Facts } from "./facts.js";

/** Where variants lie, without bytes: a slot each, loads that take some steps and now and then fail. */
export class PretendSlots implements Facts {
  readonly #dice: Dice;
  readonly #slots: number;
  /** Steps until each is there, 0 for those that are; the one used longest ago first. */
  readonly #placed = new Map<string, number>();
  /** How often each has come with other bytes than before. */
  readonly #editions = new Map<string, number>();

  constructor(dice: Dice, slots: number) {
    this.#dice = dice;
    this.#slots = slots;
  }

  residency(variant: string): "resident" | "loading" | "absent" {
    const steps = this.#placed.get(variant);
    return steps === undefined ? "absent" : steps > 0 ? "loading" : "resident";
  }

  identity(variant: string): string {
    return `${this.#editions.get(variant) ?? 0}`;
  }

  hasRoom(_variant: string, pinned: ReadonlySet<string>): boolean {
    return this.#staying(pinned).length < this.#slots;
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
    if (this.#placed.size === this.#slots) this.#placed.delete(victim!);
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
        this.#placed.delete(variant);
        failed.push(variant);
      }
    }
    return failed;
  }

  #staying(pinned: ReadonlySet<string>): string[] {
    return [...this.#placed.keys()].filter((other) => pinned.has(other) || this.residency(other) === "loading");
  }
}
