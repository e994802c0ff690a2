import { assert } from "../util/index.js";

/** Memory that nobody uses now: it may go, and what was in it can be had again. */
export interface Holding {
  readonly bytes: number;
  /** Seconds that it is expected to save by staying: how often it is asked for, times what it takes to have it again. */
  worth(): number;
  /** Lets it go, and releases its bytes. */
  release(): void;
}

/** Who commits memory, and keeps some that nobody uses now. */
export interface Holder {
  /** @param spared variants that must stay */
  holdings(spared: ReadonlySet<string>): Iterable<Holding>;
}

/**
 * Bytes that several holders share. What is committed never exceeds them; whoever needs more than is free gets what nobody uses now,
 * whoever's it is, that of which least is lost a byte first.
 */
export class Budget {
  readonly bytesTotal: number;
  readonly #holders: Holder[] = [];
  #bytesCommitted = 0;

  constructor(bytesTotal: number) {
    assert(bytesTotal >= 0, `a budget of ${bytesTotal} bytes`);
    this.bytesTotal = bytesTotal;
  }

  get bytesCommitted(): number {
    return this.#bytesCommitted;
  }

  get bytesFree(): number {
    return this.bytesTotal - this.#bytesCommitted;
  }

  /** From now on what this one does not use may be let go. */
  join(holder: Holder): void {
    this.#holders.push(holder);
  }

  /** Takes bytes that are free; see {@link makeRoom}. */
  commit(bytes: number): void {
    assert(bytes >= 0 && bytes <= this.bytesFree, `${bytes} bytes are committed of ${this.bytesFree} that are free`);
    this.#bytesCommitted += bytes;
  }

  release(bytes: number): void {
    assert(
      bytes >= 0 && bytes <= this.#bytesCommitted,
      `${bytes} bytes are released of ${this.#bytesCommitted} committed`,
    );
    this.#bytesCommitted -= bytes;
  }

  /** Whether {@link makeRoom} would find so many bytes. */
  hasRoom(bytes: number, spared: ReadonlySet<string>): boolean {
    let bytesShort = bytes - this.bytesFree;
    if (bytesShort <= 0) return true;
    for (const holding of this.#holdings(spared)) {
      bytesShort -= holding.bytes;
      if (bytesShort <= 0) return true;
    }
    return false;
  }

  /**
   * Lets go what it takes for so many bytes to be free.
   *
   * @param spared variants that must stay
   * @returns false, and nothing has gone, when that would not be enough
   */
  makeRoom(bytes: number, spared: ReadonlySet<string>): boolean {
    if (bytes <= this.bytesFree) return true;
    const going = leastWorth([...this.#holdings(spared)], bytes - this.bytesFree);
    for (const holding of going ?? []) holding.release();
    assert(going === undefined || bytes <= this.bytesFree, "what was let go has released less than it held");
    return going !== undefined;
  }

  *#holdings(spared: ReadonlySet<string>): Iterable<Holding> {
    for (const holder of this.#holders) yield* holder.holdings(spared);
  }
}

/** Which to let go for so many bytes: the least worth a byte first, as few as will do; undefined when all are too few. */
function leastWorth(holdings: readonly Holding[], bytes: number): Holding[] | undefined {
  const order = holdings
    .map((holding) => ({ holding, density: holding.worth() / Math.max(1, holding.bytes) }))
    .sort((a, b) => a.density - b.density);
  const going: Holding[] = [];
  let missing = bytes;
  for (const { holding } of order) {
    if (missing <= 0) break;
    going.push(holding);
    missing -= holding.bytes;
  }
  if (missing > 0) return undefined;
  // One that came first may be too small to matter beside those that came after it.
  for (const holding of [...going].reverse()) {
    if (missing + holding.bytes > 0) continue;
    going.splice(going.indexOf(holding), 1);
    missing += holding.bytes;
  }
  return going;
}
