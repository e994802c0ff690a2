import type { Sequence } from "../core/index.js";
import { assert } from "../util/index.js";
import { ServiceCounters } from "./service-counters.js";

/** What a token costs whoever asked for it: one that is drawn takes a step, one that is read shares a step with others. */
const inputWeight = 1;
const outputWeight = 2;
/** Clients whose counters are kept at once. */
const clientsMax = 1024;

/** A client and one of the models it asks for. */
export interface Demand {
  readonly client: string;
  /** Null for the base. */
  readonly variant: string | null;
}

/** A client that has sequences here, and how its service divides among variants. */
interface Presence {
  /** Its number in the order in which clients came. */
  readonly order: number;
  sequences: number;
  readonly variants: ServiceCounters<string | null>;
}

/**
 * Who has had how much: virtual token counters (Sheng et al., "Fairness in Serving Large Language Models", OSDI 2024) of clients, and
 * within each client of the variants it asks for. Whoever has the least comes next. A prompt is charged when it is let in, as
 * far as the cache does not hold it, a token when it is drawn; what is computed again after a preemption costs nothing. The level is the least counter among those who wait, so a
 * newcomer neither jumps a queue that everybody else stood in nor pays for the time before.
 */
export class Fairness {
  #clients = new ServiceCounters<string>();
  readonly #here = new Map<string, Presence>();
  #arrivals = 0;

  enter({ standing: { client } }: Sequence): void {
    let presence = this.#here.get(client);
    if (!presence) {
      presence = { order: this.#arrivals++, sequences: 0, variants: new ServiceCounters() };
      this.#here.set(client, presence);
    }
    presence.sequences += 1;
  }

  leave({ standing: { client } }: Sequence): void {
    const presence = this.#presence(client);
    presence.sequences -= 1;
    if (presence.sequences === 0) this.#here.delete(client);
    // Nobody is owed anything by a server that had time for all.
    if (this.#here.size === 0) this.#clients = new ServiceCounters();
  }

  /** Weighted tokens that a client has had. */
  ofClient(client: string): number {
    return this.#clients.of(client);
  }

  /** Of two clients that are here, the one that came first has the lower number. */
  orderOf(client: string): number {
    return this.#presence(client).order;
  }

  /** Weighted tokens that a client, which is here, has had of one variant. */
  ofVariant(client: string, variant: string | null): number {
    return this.#presence(client).variants.of(variant);
  }

  /** What the client has had that has had least of those who wait. */
  get clientLevel(): number {
    return this.#clients.level;
  }

  chargeInput(sequence: Sequence): void {
    this.#charge(sequence, inputWeight * sequence.pendingTokens);
  }

  chargeOutput(sequence: Sequence): void {
    this.#charge(sequence, outputWeight);
  }

  /** Lifts the level among clients to the least counter of these. */
  levelClients(demands: Iterable<Demand>): void {
    let least = Number.POSITIVE_INFINITY;
    for (const { client } of demands) least = Math.min(least, this.ofClient(client));
    if (Number.isFinite(least)) this.#clients.raise(least);
  }

  /** Lifts the level among the variants of a client, which is here, to the least counter of these demands of it. */
  levelVariants(client: string, demands: Iterable<Demand>): void {
    const { variants } = this.#presence(client);
    let least = Number.POSITIVE_INFINITY;
    for (const { variant } of demands) least = Math.min(least, variants.of(variant));
    if (Number.isFinite(least)) variants.raise(least);
  }

  #charge({ standing: { client }, variant }: Sequence, service: number): void {
    this.#clients.charge(client, service);
    this.#clients.trim(clientsMax);
    this.#presence(client).variants.charge(variant, service);
  }

  #presence(client: string): Presence {
    const presence = this.#here.get(client);
    assert(presence, `client ${client} has no sequences here`);
    return presence;
  }
}
