/** How far a long piece of work has come. */
export interface Progress {
  readonly tensorsDone: number;
  readonly tensorsTotal: number;
  readonly bytesDone: number;
  readonly bytesTotal: number;
  /** At the pace so far; null until that means something. */
  readonly secondsLeft: number | null;
}

/** Below this, what was done is too little, and starting up too much of it, to tell the pace. */
const FRACTION_MIN = 0.02;

/** Counts tensors as they are finished, in any order, and tells a listener each time. */
export class ProgressMeter {
  readonly #bytes: ReadonlyMap<string, number>;
  readonly #bytesTotal: number;
  readonly #listener: ((progress: Progress) => void) | undefined;
  readonly #startedMs = performance.now();
  #tensorsDone = 0;
  #bytesDone = 0;

  constructor(
    tensors: readonly { readonly name: string; readonly byteLength: number }[],
    listener: ((progress: Progress) => void) | undefined,
  ) {
    this.#bytes = new Map(tensors.map(({ name, byteLength }) => [name, byteLength]));
    this.#bytesTotal = tensors.reduce((sum, { byteLength }) => sum + byteLength, 0);
    this.#listener = listener;
  }

  finished(name: string): void {
    this.#tensorsDone += 1;
    this.#bytesDone += this.#bytes.get(name) ?? 0;
    const elapsedSeconds = (performance.now() - this.#startedMs) / 1000;
    const fraction = this.#bytesTotal === 0 ? 1 : this.#bytesDone / this.#bytesTotal;
    this.#listener?.({
      tensorsDone: this.#tensorsDone,
      tensorsTotal: this.#bytes.size,
      bytesDone: this.#bytesDone,
      bytesTotal: this.#bytesTotal,
      secondsLeft: fraction < FRACTION_MIN ? null : (elapsedSeconds * (1 - fraction)) / fraction,
    });
  }
}
