import { KindredError, type SequenceSpec } from "../core/index.js";
import type { EngineRestarted } from "./engine-port.js";

/** A request that is on an engine or waits to be given to one. */
export interface Pending {
  readonly spec: SequenceSpec;
  /** Tokens that engines have given so far: what the next one needs to go on. */
  readonly generated: readonly number[];
  fail(error: KindredError): void;
}

/** A request of which alone so many engines died, one after the other, is not given to another. */
const deathsMax = 3;

/**
 * Gives requests to an engine, and to its successor when it dies. After a death from outside, or before which requests had come further,
 * all of them go to the successor at once. After one in vain, one of them may be what the engine dies of: then they go one after the
 * other, each once the one before has got a token, and the one that engines die of fails alone.
 */
export class Resubmission {
  readonly #send: (spec: SequenceSpec) => void;
  readonly #pending = new Set<Pending>();
  /** Those that have not been given to this engine, in order. */
  readonly #held = new Set<Pending>();
  /** The one that others wait for, and how many engines died of it. */
  #suspect: { readonly pending: Pending; deaths: number } | undefined;
  #hasProgress = true;

  constructor(send: (spec: SequenceSpec) => void) {
    this.#send = send;
  }

  get size(): number {
    return this.#pending.size;
  }

  add(pending: Pending): void {
    this.#pending.add(pending);
    if (this.#suspect) this.#held.add(pending);
    else this.#give(pending);
  }

  /** It has got a token. */
  progressed(pending: Pending): void {
    this.#hasProgress = true;
    if (this.#suspect?.pending === pending) this.#next();
  }

  /** It is done with, however it ended. */
  remove(pending: Pending): void {
    this.#pending.delete(pending);
    this.#held.delete(pending);
    if (this.#suspect?.pending === pending) this.#next();
  }

  /** The engine died, and there is another. */
  restart({ wasKilled }: Pick<EngineRestarted, "wasKilled">): void {
    const suspect = this.#suspect;
    const inVain = !wasKilled && (!this.#hasProgress || suspect !== undefined);
    this.#suspect = undefined;
    this.#held.clear();
    this.#hasProgress = false;
    if (!inVain) {
      for (const pending of this.#pending) this.#give(pending);
      return;
    }
    for (const pending of this.#pending) this.#held.add(pending);
    if (suspect && this.#pending.has(suspect.pending)) {
      this.#held.delete(suspect.pending);
      suspect.deaths += 1;
      if (suspect.deaths < deathsMax) {
        this.#suspect = suspect;
        this.#give(suspect.pending);
        return;
      }
      const problem = `The engine died ${suspect.deaths} times in a row while it computed this request`;
      this.#pending.delete(suspect.pending);
      suspect.pending.fail(new KindredError("engine_failed", 500, problem));
    }
    this.#next();
  }

  #next(): void {
    const [next] = this.#held;
    this.#suspect = next && { pending: next, deaths: 0 };
    if (!next) return;
    this.#held.delete(next);
    this.#give(next);
  }

  #give({ spec, generated }: Pending): void {
    this.#send(generated.length === 0 ? spec : { ...spec, generated: [...generated] });
  }
}
