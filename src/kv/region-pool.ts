import { assert } from "../util/index.js";

/**
 * Which regions of the key-value cache are taken. Always gives the lowest free one, so that the running sequences lie side by
 * side and attention over them stays one operation.
 */
export class RegionPool {
  readonly #taken: boolean[];

  constructor(regions: number) {
    this.#taken = new Array<boolean>(regions).fill(false);
  }

  get free(): number {
    return this.#taken.filter((taken) => !taken).length;
  }

  /** Undefined when all are taken. */
  take(): number | undefined {
    const region = this.#taken.indexOf(false);
    if (region === -1) return undefined;
    this.#taken[region] = true;
    return region;
  }

  release(region: number): void {
    assert(this.#taken[region], `region ${region} released while it was free`);
    this.#taken[region] = false;
  }
}
