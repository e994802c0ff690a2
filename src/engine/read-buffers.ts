/** Memory that files are read into, used again and again: memory that is had anew is had page by page, and cleared first. */
export class ReadBuffers {
  readonly #leastBytes: number;
  readonly #keptBytesMax: number;
  /** Those that nobody has, the one longest here first. */
  #free: Uint8Array[] = [];

  /**
   * @param options.leastBytes of one, so that it serves most readings
   * @param options.keptBytesMax of all that nobody has
   */
  constructor(options: { readonly leastBytes: number; readonly keptBytesMax: number }) {
    this.#leastBytes = options.leastBytes;
    this.#keptBytesMax = options.keptBytesMax;
  }

  /** So many bytes, which may hold anything; they are given back by disposing. */
  take(byteLength: number): Disposable & { readonly bytes: Uint8Array } {
    const fitting = this.#free.filter(({ length }) => length >= byteLength);
    const [first] = fitting;
    const buffer = first
      ? fitting.reduce((least, other) => (other.length < least.length ? other : least), first)
      : new Uint8Array(Math.max(byteLength, this.#leastBytes));
    this.#free = this.#free.filter((other) => other !== buffer);
    return { bytes: buffer.subarray(0, byteLength), [Symbol.dispose]: () => this.#giveBack(buffer) };
  }

  #giveBack(buffer: Uint8Array): void {
    if (buffer.length > this.#keptBytesMax) return;
    this.#free.push(buffer);
    while (this.#free.reduce((sum, { length }) => sum + length, 0) > this.#keptBytesMax) this.#free.shift();
  }
}
