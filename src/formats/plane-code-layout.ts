// Where the bytes of a plane's rows go when it is coded; plane-code.ts draws the contexts.

import { dtypes, rowBytes } from "../core/index.js";
import { CorruptCode } from "../entropy/index.js";
import { type PlaneDType, paddedCols } from "./delta-tensor.js";

/** Where the two bytes of a scale lie in a block; its other bytes are codes. A block type is a line here. */
const scaleOffsets: Readonly<Record<PlaneDType, number>> = { q1_0: 0, tq1_0: 52, q4_0: 0, f16: 0 };

/** What the code of a plane depends on, beside its shape. */
export function codeBlocks(dtype: PlaneDType): { blockSize: number; blockBytes: number; scaleOffset: number } {
  const { blockSize, blockBytes } = dtypes[dtype];
  return { blockSize, blockBytes, scaleOffset: scaleOffsets[dtype] };
}

/** What becomes of the bytes of a context; in the order of their numbers in the file. */
export const forms = ["raw", "own", "codes", "before"] as const;
export type Form = (typeof forms)[number];

/** Contexts of full blocks: codes, and the two bytes of a scale. */
const FULL_CONTEXTS = 3;
const PART_SYMBOLS = 1 << 16;

/** Which bytes of a row are coded, in which context of the model, and which are raw: the same in every row. */
export class RowLayout {
  /** Places in a row. */
  readonly coded: Uint32Array;
  readonly raw: Uint32Array;
  /** How many contexts have a distribution of their own. */
  readonly ownContexts: number;
  readonly #codedRuns: Int32Array;
  readonly #rowBytes: number;
  readonly #partRows: number;
  /** For the coded bytes of as many rows as a part has, the model's context. */
  readonly #contexts: Uint8Array;

  constructor(contexts: Uint8Array, chosen: readonly Form[]) {
    const places = Uint32Array.from(contexts.keys());
    this.coded = places.filter((place) => chosen[contexts[place]!] !== "raw");
    this.raw = places.filter((place) => chosen[contexts[place]!] === "raw");
    this.#codedRuns = runsOf(this.coded);
    this.#rowBytes = contexts.length;
    const distributions = distributionsOf(chosen);
    this.ownContexts = chosen.filter((form) => form === "own").length;
    this.#partRows = Math.max(1, Math.floor(PART_SYMBOLS / Math.max(1, this.coded.length)));
    this.#contexts = new Uint8Array(this.coded.length * this.#partRows);
    for (const [i, place] of this.coded.entries()) this.#contexts[i] = distributions[contexts[place]!]!;
    // What is there already is copied behind itself: row 0, then 2 rows, then 4.
    for (let filled = this.coded.length; filled < this.#contexts.length; filled *= 2)
      this.#contexts.copyWithin(filled, 0, filled);
  }

  /** What rows the parts of a plane are; none where nothing is coded. */
  parts(rows: number): readonly { readonly firstRow: number; readonly rows: number }[] {
    if (this.coded.length === 0) return [];
    return Array.from({ length: Math.ceil(rows / this.#partRows) }, (_, part) => {
      const firstRow = part * this.#partRows;
      return { firstRow, rows: Math.min(this.#partRows, rows - firstRow) };
    });
  }

  contextsOf(rows: number): Uint8Array {
    return this.#contexts.subarray(0, rows * this.coded.length);
  }

  gather(plane: Uint8Array, firstRow: number, rows: number): Uint8Array {
    const { coded } = this;
    const symbols = new Uint8Array(coded.length * rows);
    let at = 0;
    for (let row = firstRow; row < firstRow + rows; row++) {
      const start = row * this.#rowBytes;
      for (let i = 0; i < coded.length; i++) symbols[at++] = plane[start + coded[i]!]!;
    }
    return symbols;
  }

  scatter(symbols: Uint8Array, plane: Uint8Array, firstRow: number, rows: number): void {
    scatterRows(symbols, this.#codedRuns, plane, { rowBytes: this.#rowBytes, firstRow, rows });
  }
}

/** Stretches of places that follow each other, as pairs of the first and the one behind the last. */
export function runsOf(places: Uint32Array): Int32Array {
  const runs: number[] = [];
  for (const place of places) {
    if (runs.at(-1) === place) runs[runs.length - 1] = place + 1;
    else runs.push(place, place + 1);
  }
  return Int32Array.from(runs);
}

/** Puts bytes, one row's after the other's, to these places of rows of a plane: four at a time, which halves what it takes. */
export function scatterRows(
  bytes: Uint8Array,
  runs: Int32Array,
  plane: Uint8Array,
  { rowBytes, firstRow, rows }: { rowBytes: number; firstRow: number; rows: number },
): void {
  const from = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const into = new DataView(plane.buffer, plane.byteOffset, plane.byteLength);
  let at = 0;
  for (let row = 0; row < rows; row++) {
    const start = (firstRow + row) * rowBytes;
    for (let run = 0; run < runs.length; run += 2) {
      const end = (start + runs[run + 1]!) | 0;
      let to = (start + runs[run]!) | 0;
      for (; to <= end - 4; to = (to + 4) | 0) {
        into.setUint32(to, from.getUint32(at));
        at = (at + 4) | 0;
      }
      for (; to < end; to = (to + 1) | 0) {
        plane[to] = bytes[at]!;
        at = (at + 1) | 0;
      }
    }
  }
}

/** The context of each byte of a row. */
export function rowContexts(dtype: PlaneDType, cols: number): Uint8Array {
  const { blockSize, blockBytes, scaleOffset } = codeBlocks(dtype);
  const contexts = new Uint8Array(rowBytes(dtype, paddedCols(dtype, cols)));
  const fullBlocks = Math.floor(cols / blockSize);
  for (let place = 0; place < contexts.length; place++) {
    const inBlock = place % blockBytes;
    const inScale = inBlock - scaleOffset;
    if (place >= fullBlocks * blockBytes) contexts[place] = FULL_CONTEXTS + inBlock;
    else if (inScale === 0 || inScale === 1) contexts[place] = 1 + inScale;
  }
  return contexts;
}

/** How many contexts there are, if these are the ones of a row. */
export function contextCount(contexts: Uint8Array): number {
  return Math.max(FULL_CONTEXTS, contexts.at(-1)! + 1);
}

/**
 * The number of each context's distribution among those of OWN contexts; 0 for RAW ones, which need none.
 *
 * @throws {CorruptCode} where a context shares one that there is not
 */
export function distributionsOf(chosen: readonly Form[]): readonly number[] {
  let last = -1;
  return chosen.map((form) => {
    if (form === "own") last += 1;
    if ((form === "codes" && chosen[0] !== "own") || (form === "before" && last < 0))
      throw new CorruptCode("a context shares a distribution that there is not");
    return form === "raw" || form === "codes" ? 0 : last;
  });
}
