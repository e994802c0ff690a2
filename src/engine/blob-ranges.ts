import type { StoredBlob } from "../formats/index.js";

/** Blobs of up to this many bytes in all are read as one. */
export const rangeBytesMax = 1 << 20;
/** Between neighbours, which are filled up to whole lines of a cache. */
const gapBytesMax = 64;

/** A stretch of a file that is read in one call, and what lies in it. */
export interface BlobRange<Item> {
  readonly offset: number;
  readonly byteLength: number;
  readonly items: readonly Item[];
}

/** Stretches of a file, from front to back, that hold all of these blobs; one that is larger than a stretch may be is one by itself. */
export function blobRanges<Item extends { readonly blob: StoredBlob }>(items: readonly Item[]): BlobRange<Item>[] {
  const ranges: { offset: number; byteLength: number; items: Item[] }[] = [];
  for (const item of [...items].sort((a, b) => a.blob.offset - b.blob.offset)) {
    const { offset, storedBytes } = item.blob;
    const last = ranges.at(-1);
    const byteLength = last ? Math.max(last.byteLength, offset + storedBytes - last.offset) : 0;
    if (last && offset - last.offset - last.byteLength <= gapBytesMax && byteLength <= rangeBytesMax) {
      last.byteLength = byteLength;
      last.items.push(item);
    } else {
      ranges.push({ offset, byteLength: storedBytes, items: [item] });
    }
  }
  return ranges;
}
