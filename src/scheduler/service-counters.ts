/**
 * Service received, by name. A counter below the level counts as the level: who was away, or never here, starts there and brings no
 * credit along. So a counter at or below the level says nothing and may be dropped at any time.
 */
export class ServiceCounters<Name> {
  readonly #served = new Map<Name, number>();
  #level = 0;

  get level(): number {
    return this.#level;
  }

  get size(): number {
    return this.#served.size;
  }

  of(name: Name): number {
    return Math.max(this.#level, this.#served.get(name) ?? 0);
  }

  charge(name: Name, service: number): void {
    this.#served.set(name, this.of(name) + service);
  }

  /** Lifts the level; it never sinks. */
  raise(level: number): void {
    this.#level = Math.max(this.#level, level);
  }

  /**
   * Drops counters until `max` are left, first those that say nothing, then the least. The level rises to what is dropped, so that
   * nobody who left comes back with less than he had.
   */
  trim(max: number): void {
    if (this.#served.size <= max) return;
    for (const [name, served] of this.#served) if (served <= this.#level) this.#served.delete(name);
    const least = [...this.#served].sort(([, a], [, b]) => a - b).slice(0, Math.max(0, this.#served.size - max));
    for (const [name, served] of least) {
      this.raise(served);
      this.#served.delete(name);
    }
  }
}
