import type { Sequence } from "../core/index.js";
import { assert } from "../util/index.js";
import type { Fairness } from "./fairness.js";
import type { Rules } from "./rules.js";

/** Waiting sequences of one client, priority and variant, by arrival; never empty. */
export interface WaitingGroup {
  readonly client: string;
  readonly priority: number;
  readonly variant: string | null;
  readonly sequences: readonly Sequence[];
  /** Others let in before its first since its last one was, though its turn came before theirs: its variant was not resident. */
  readonly overtaken: number;
  /** It has been passed over or first in line for so long that it goes before all. */
  readonly isStarved: boolean;
  /** Its client is further ahead of others than priority may carry it. */
  readonly isOverdrawn: boolean;
}

interface Group extends WaitingGroup {
  readonly key: string;
  readonly sequences: Sequence[];
  overtaken: number;
  /** Steps that it was first in line. */
  turns: number;
  isStarved: boolean;
  isOverdrawn: boolean;
  /** More urgent ones went before its priority so often that it is that priority's turn. */
  isDue: boolean;
  servedClient: number;
  clientOrder: number;
  servedVariant: number;
}

/**
 * Who waits, and in what order they may go: those who starve; then by priority, as far as that does not carry a client too far ahead;
 * then the client that has had least, of it the variant that has had least, and of that the first to arrive.
 */
export class WaitingLine {
  readonly #rules: Rules;
  readonly #groups = new Map<string, Group>();
  /** In the order last asked for, which is nearly the next one. */
  #order: Group[] = [];
  /** For each priority that waits, the more urgent ones that were let in since its last. */
  #yielded = new Map<number, number>();
  #size = 0;

  constructor(rules: Rules) {
    assert(rules.overtakenMax >= 1 && rules.turnsMax >= 1, "everybody bears one step and one that overtakes");
    this.#rules = rules;
  }

  get size(): number {
    return this.#size;
  }

  get groups(): Iterable<WaitingGroup> {
    return this.#groups.values();
  }

  /** One that was here before finds its old place in its group. */
  add(sequence: Sequence): void {
    const key = keyOf(sequence);
    let group = this.#groups.get(key);
    if (!group) {
      group = newGroup(key, sequence);
      this.#groups.set(key, group);
      this.#order.push(group);
    }
    const later = group.sequences.findIndex(({ arrival }) => arrival > sequence.arrival);
    group.sequences.splice(later === -1 ? group.sequences.length : later, 0, sequence);
    this.#size += 1;
  }

  remove(sequence: Sequence): void {
    const group = this.#groups.get(keyOf(sequence));
    const place = group?.sequences.indexOf(sequence) ?? -1;
    assert(group && place !== -1, `sequence ${sequence.id} does not wait`);
    group.sequences.splice(place, 1);
    this.#size -= 1;
    if (group.sequences.length > 0) return;
    this.#groups.delete(group.key);
    this.#order = this.#order.filter((other) => other !== group);
  }

  /** All groups, the next first; good until something is added or removed. */
  inOrder(fairness: Fairness): readonly WaitingGroup[] {
    fairness.levelClients(this.#order);
    const { overtakenMax, turnsMax, leadMax } = this.#rules;
    for (const group of this.#order) {
      group.isStarved = group.overtaken >= overtakenMax || group.turns >= turnsMax;
      group.servedClient = fairness.ofClient(group.client);
      group.isOverdrawn = group.servedClient - fairness.clientLevel > leadMax;
      group.isDue = (this.#yielded.get(group.priority) ?? 0) >= overtakenMax;
      group.clientOrder = fairness.orderOf(group.client);
      group.servedVariant = fairness.ofVariant(group.client, group.variant);
    }
    return this.#order.sort(compareGroups);
  }

  /** Takes the first of a group out, past some whose turn it was. */
  take(group: WaitingGroup, overtaken: readonly WaitingGroup[]): Sequence {
    const taken = this.#own(group);
    const first = taken.sequences[0]!;
    for (const passed of overtaken) this.#own(passed).overtaken += 1;
    taken.overtaken = 0;
    taken.turns = 0;
    const yielded = new Map<number, number>();
    for (const { priority } of this.#groups.values()) {
      const before = this.#yielded.get(priority) ?? 0;
      if (priority !== taken.priority) yielded.set(priority, priority > taken.priority ? before + 1 : before);
    }
    this.#yielded = yielded;
    this.remove(first);
    return first;
  }

  /** Notes that a group was first in line for a step and did not get in. */
  hold(group: WaitingGroup): void {
    this.#own(group).turns += 1;
  }

  #own({ client, priority, variant }: WaitingGroup): Group {
    return this.#groups.get(keyFor(client, priority, variant))!;
  }
}

function keyOf({ standing: { client, priority }, variant }: Sequence): string {
  return keyFor(client, priority, variant);
}

function keyFor(client: string, priority: number, variant: string | null): string {
  return `${priority} ${client.length} ${client}${variant === null ? "" : ` ${variant}`}`;
}

function newGroup(key: string, { standing: { client, priority }, variant }: Sequence): Group {
  const standing = {
    isStarved: false,
    isOverdrawn: false,
    isDue: false,
    servedClient: 0,
    clientOrder: 0,
    servedVariant: 0,
  };
  return { key, client, priority, variant, sequences: [], overtaken: 0, turns: 0, ...standing };
}

function compareGroups(a: Group, b: Group): number {
  const arrival = a.sequences[0]!.arrival - b.sequences[0]!.arrival;
  if (a.isStarved || b.isStarved) return Number(b.isStarved) - Number(a.isStarved) || arrival;
  return (
    Number(a.isOverdrawn) - Number(b.isOverdrawn) ||
    Number(b.isDue) - Number(a.isDue) ||
    a.priority - b.priority ||
    a.servedClient - b.servedClient ||
    a.clientOrder - b.clientOrder ||
    a.servedVariant - b.servedVariant ||
    arrival
  );
}
