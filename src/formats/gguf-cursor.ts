import { InvalidFile } from "../core/index.js";

/** Says that the bytes at hand end before the header does; the caller fetches more and starts over. */
export class NeedsMoreBytes extends Error {}

/** Reads little-endian values one after the other from the first bytes of a file, never past either end. */
export class GgufCursor {
  readonly #path: string;
  readonly #bytes: Buffer;
  readonly #fileBytes: number;
  #offset = 0;

  /** `bytes` are the file's first; `fileBytes` is its whole length. */
  constructor(path: string, bytes: Buffer, fileBytes: number) {
    this.#path = path;
    this.#bytes = bytes;
    this.#fileBytes = fileBytes;
  }

  /** Of the next value, from the start of the file. */
  get offset(): number {
    return this.#offset;
  }

  uint8(): number {
    return this.#bytes.readUInt8(this.#take(1));
  }

  int8(): number {
    return this.#bytes.readInt8(this.#take(1));
  }

  uint16(): number {
    return this.#bytes.readUInt16LE(this.#take(2));
  }

  int16(): number {
    return this.#bytes.readInt16LE(this.#take(2));
  }

  uint32(): number {
    return this.#bytes.readUInt32LE(this.#take(4));
  }

  int32(): number {
    return this.#bytes.readInt32LE(this.#take(4));
  }

  /** Rounded to a double where it is beyond 2^53. */
  uint64(): number {
    return Number(this.#bytes.readBigUInt64LE(this.#take(8)));
  }

  /** Rounded to a double where it is beyond 2^53. */
  int64(): number {
    return Number(this.#bytes.readBigInt64LE(this.#take(8)));
  }

  float32(): number {
    return this.#bytes.readFloatLE(this.#take(4));
  }

  float64(): number {
    return this.#bytes.readDoubleLE(this.#take(8));
  }

  string(): string {
    const byteLength = this.uint64();
    const start = this.#take(byteLength);
    return this.#bytes.toString("utf8", start, start + byteLength);
  }

  /** A count of things that take at least `bytesEach`: more than the rest of the file could hold is refused. */
  count(what: string, bytesEach: number): number {
    const count = this.uint64();
    if (count * bytesEach > this.#fileBytes - this.#offset) {
      throw new InvalidFile(
        this.#path,
        `it announces ${count} ${what} at byte ${this.#offset}, more than fit in the file`,
      );
    }
    return count;
  }

  #take(byteLength: number): number {
    const start = this.#offset;
    const end = start + byteLength;
    if (end > this.#fileBytes) {
      throw new InvalidFile(
        this.#path,
        `it is truncated: its header needs bytes ${start} to ${end}, it has ${this.#fileBytes}`,
      );
    }
    if (end > this.#bytes.length) throw new NeedsMoreBytes();
    this.#offset = end;
    return start;
  }
}
