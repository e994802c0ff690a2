/** How far a long piece of work has come. */
export interface Progress {
  /** The part of what comes before the first tensor that is done, such as looking at the model's inputs; 1 where nothing does. */
  readonly prepared: number;
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
  #startedMs = performance.now();
  #prepared = 1;
  #tensorsDone = 0;
  #bytesDone = 0;
  /** Done by an earlier run, and so nothing to tell the pace by. */
  #bytesFound = 0;

  constructor(
    tensors: readonly { readonly name: string; readonly byteLength: number }[],
    listener: ((progress: Progress) => void) | undefined,
  ) {
    this.#bytes = new Map(tensors.map(({ name, byteLength }) => [name, byteLength]));
    this.#bytesTotal = tensors.reduce((sum, { byteLength }) => sum + byteLength, 0);
    this.#listener = listener;
  }

  /** Tells how far preparations are, from 0 to 1; the pace of tensors is counted from their end. */
  preparing(prepared: number): void {
    this.#prepared = prepared;
    this.#startedMs = performance.now();
    this.#tell();
  }

  /** A tensor is done that an earlier run has left. */
  found(name: string): void {
    this.#bytesFound += this.#bytes.get(name) ?? 0;
    this.finished(name);
  }

  finished(name: string): void {
    this.#tensorsDone += 1;
    this.#bytesDone += this.#bytes.get(name) ?? 0;
    this.#tell();
  }

  #tell(): void {
    const elapsedSeconds = (performance.now() - this.#startedMs) / 1000;
    const bytesToDo = this.#bytesTotal - this.#bytesFound;
    const fraction = bytesToDo === 0 ? 1 : (this.#bytesDone - this.#bytesFound) / bytesToDo;
    this.#listener?.({
      prepared: this.#prepared,
      tensorsDone: this.#tensorsDone,
      tensorsTotal: this.#bytes.size,
      bytesDone: this.#bytesDone,
      bytesTotal: this.#bytesTotal,
      secondsLeft: fraction < FRACTION_MIN ? null : (elapsedSeconds * (1 - fraction)) / fraction,
    });
  }
}
