import { assert } from "./assert.js";

/** So many bytes that may be in use at once. Who wants more than there are waits its turn, and gets all of it alone. */
export class ByteBudget {
  readonly #bytesMax: number;
  readonly #waiting: { readonly bytes: number; readonly go: () => void }[] = [];
  #bytesUsed = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get bytesUsed(): number {
    return this.#bytesUsed;
  }

  /** Waits for its turn, in the order of asking. What it returns gives the bytes back, once. */
  async take(bytes: number): Promise<Disposable> {
    if (this.#waiting.length > 0 || !this.#fits(bytes)) {
      await new Promise<void>((go) => this.#waiting.push({ bytes, go }));
    } else this.#bytesUsed += bytes;
    let isTaken = true;
    return {
      [Symbol.dispose]: () => {
        assert(isTaken, `${bytes} bytes are given back twice`);
        isTaken = false;
        this.#giveBack(bytes);
      },
    };
  }

  #giveBack(bytes: number): void {
    this.#bytesUsed -= bytes;
    for (let next = this.#waiting[0]; next && this.#fits(next.bytes); next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#bytesUsed += next.bytes;
      next.go();
    }
  }

  #fits(bytes: number): boolean {
    return this.#bytesUsed === 0 || this.#bytesUsed + bytes <= this.#bytesMax;
  }
}
