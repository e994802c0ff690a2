/** Buckets of one pass of the sort: eight bits. */
const BUCKETS = 256;

/**
 * The magnitudes of one block, ascending, with running sums: what the best levels of a block are found from. An
 * interval of magnitudes that share a level costs two look-ups, however many there are. One object serves many blocks.
 *
 * Order is by exponent and the upper 8 bits of the fraction: two within 0.4 % of each other may be swapped. That costs
 * the best levels nothing that can be measured and makes the sort four times as fast as an exact one.
 */
export class SortedMagnitudes {
  /** Magnitudes in this block. */
  count = 0;
  /** Σ x². */
  sumOfSquares = 0;
  readonly #magnitudes: Float32Array;
  /** The same memory as integers: non-negative floats order as their bits do. */
  readonly #bits: Uint32Array;
  readonly #halfSorted: Uint32Array;
  readonly #lowCounts = new Uint16Array(BUCKETS);
  readonly #highCounts = new Uint16Array(BUCKETS);
  /** `#sums[i]` is the sum of the `i` smallest. */
  readonly #sums: Float64Array;

  constructor(blockSize: number) {
    this.#magnitudes = new Float32Array(blockSize);
    this.#bits = new Uint32Array(this.#magnitudes.buffer);
    this.#halfSorted = new Uint32Array(blockSize);
    this.#sums = new Float64Array(blockSize + 1);
  }

  /** Takes `count` values from `values[start]` on. */
  load(values: Float32Array, start: number, count: number): void {
    for (let i = 0; i < count; i++) this.#magnitudes[i] = Math.abs(values[start + i]!);
    this.#sort(count);
    let sum = 0;
    let sumOfSquares = 0;
    for (let i = 0; i < count; i++) {
      const magnitude = this.#magnitudes[i]!;
      sum += magnitude;
      sumOfSquares += magnitude * magnitude;
      this.#sums[i + 1] = sum;
    }
    this.count = count;
    this.sumOfSquares = sumOfSquares;
  }

  get mean(): number {
    return this.#sums[this.count]! / this.count;
  }

  /** Sum of those from rank `from` up to, not including, `to`; rank 0 is the smallest. */
  sumBetween(from: number, to: number): number {
    return this.#sums[to]! - this.#sums[from]!;
  }

  /** How many are not above `threshold`. O(log count). */
  countUpTo(threshold: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#magnitudes[middle]! <= threshold) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Radix sort in two passes: by the upper eight bits of the fraction, then by the exponent (the sign is 0). */
  #sort(count: number): void {
    const sorted = this.#bits;
    const halfSorted = this.#halfSorted;
    const low = this.#lowCounts.fill(0);
    const high = this.#highCounts.fill(0);
    for (let i = 0; i < count; i++) {
      const bits = sorted[i]!;
      low[(bits >>> 15) & 255]! += 1;
      high[bits >>> 23]! += 1;
    }
    countsToStarts(low);
    countsToStarts(high);
    for (let i = 0; i < count; i++) {
      const bits = sorted[i]!;
      halfSorted[low[(bits >>> 15) & 255]!++] = bits;
    }
    for (let i = 0; i < count; i++) {
      const bits = halfSorted[i]!;
      sorted[high[bits >>> 23]!++] = bits;
    }
  }
}

/** Turns how many fall into each bucket into where each bucket begins. */
function countsToStarts(counts: Uint16Array): void {
  let start = 0;
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    const count = counts[bucket]!;
    counts[bucket] = start;
    start += count;
  }
}
