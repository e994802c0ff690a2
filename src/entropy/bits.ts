// Bits in 32-bit words, the lowest bit of the first word first. Words lie little-endian in bytes; a stream fills whole words.
//
//   word 0                              word 1
//   ┌──────┬───────────┬──────────────┬─┴────┬─────
//   │ a: 5 │ b: 12     │ c: 19, its low 15 … high 4 │ …
//   └──────┴───────────┴──────────────┴──────┴─────

import { assert } from "../util/index.js";
import { CorruptCode } from "./corrupt-code.js";

/** Collects values of a few bits each. */
export class BitWriter {
  #words = new Uint32Array(64);
  #bitCount = 0;

  /** Appends the low `count` bits of `value`, 0 to 32; those above must be 0. */
  write(value: number, count: number): void {
    if (count === 0) return;
    const index = this.#bitCount >>> 5;
    const shift = this.#bitCount & 31;
    if (index + 2 > this.#words.length) this.#grow();
    this.#words[index]! |= value << shift;
    // In two steps, since a shift by 32 is one by 0.
    this.#words[index + 1]! |= (value >>> 1) >>> (31 - shift);
    this.#bitCount += count;
  }

  /** Appends a whole number from 1 on in Elias's gamma code: as many zeros as it has bits after its first, then itself. */
  writeGamma(value: number): void {
    assert(value >= 1 && value < 2 ** 31, `${value} has no gamma code`);
    const extra = 31 - Math.clz32(value);
    this.write(0, extra);
    this.write(1, 1);
    this.write(value ^ (1 << extra), extra);
  }

  /** What was written, filled up with zeros to a multiple of 4 bytes. */
  finish(): Uint8Array {
    return new Uint8Array(this.#words.buffer.slice(0, Math.ceil(this.#bitCount / 32) * 4));
  }

  #grow(): void {
    const larger = new Uint32Array(this.#words.length * 2);
    larger.set(this.#words);
    this.#words = larger;
  }
}

/** Reads what a {@link BitWriter} wrote. */
export class BitReader {
  readonly #words: Uint32Array;
  readonly #bitsTotal: number;
  #bitsRead = 0;

  constructor(bytes: Uint8Array) {
    this.#words = wordsOf(bytes);
    this.#bitsTotal = bytes.length * 8;
  }

  /** Whole words of which a bit was read, in bytes. */
  get bytesRead(): number {
    return Math.ceil(this.#bitsRead / 32) * 4;
  }

  /** The next `count` bits, 0 to 31. @throws {CorruptCode} at the end */
  read(count: number): number {
    const index = this.#bitsRead >>> 5;
    const shift = this.#bitsRead & 31;
    this.#bitsRead += count;
    if (this.#bitsRead > this.#bitsTotal) throw new CorruptCode("its bits end too early");
    const window = (this.#words[index]! >>> shift) | ((this.#words[index + 1]! << 1) << (31 - shift));
    return window & ((1 << count) - 1);
  }

  /** The next number in gamma code. @throws {CorruptCode} at the end, or if it is no such code */
  readGamma(): number {
    let extra = 0;
    while (this.read(1) === 0) extra += 1;
    if (extra > 30) throw new CorruptCode("a number in it is too long");
    return (1 << extra) | this.read(extra);
  }
}

/** Bytes as words, copied to where words may lie, with a word of zeros after them that a window may reach into. */
export function wordsOf(bytes: Uint8Array): Uint32Array {
  const words = new Uint32Array(Math.ceil(bytes.length / 4) + 1);
  new Uint8Array(words.buffer).set(bytes);
  return words;
}
