import assert from "node:assert/strict";
import { test } from "node:test";
import type { StoredBlob } from "../formats/index.js";
import { uniformAt } from "../util/index.js";
import { blobRanges } from "./blob-ranges.js";

const blob = (offset: number, storedBytes: number): { blob: StoredBlob } => ({
  blob: { name: "w", byteLength: storedBytes, sha256: null, offset, storedBytes, form: { kind: "plain" } },
});

test("neighbours are read as one, up to a MiB", () => {
  const half = 1 << 19;
  const ranges = blobRanges([blob(half, half), blob(0, half), blob(2 * half, 100)]);
  assert.deepEqual(
    ranges.map(({ offset, byteLength, items }) => [offset, byteLength, items.length]),
    [
      [0, 2 * half, 2],
      [2 * half, 100, 1],
    ],
  );
});

test("one blob that is wanted twice is read once", () => {
  const [range, ...others] = blobRanges([blob(64, 10), blob(64, 10), blob(0, 20)]);
  assert.equal(range?.byteLength, 74);
  assert.deepEqual(others, []);
});

test("every blob lies in the stretch it is in, none of which is longer than it need be", () => {
  for (let seed = 0; seed < 200; seed++) {
    let end = 0;
    const blobs = Array.from({ length: 30 }, (_, index) => {
      const offset = end + Math.floor(uniformAt(seed, 2 * index) ** 4 * 2e5);
      const bytes = Math.floor(uniformAt(seed, 2 * index + 1) ** 5 * 2e6);
      end = offset + bytes;
      return blob(offset, bytes);
    });
    const ranges = blobRanges(blobs);
    assert.equal(ranges.flatMap(({ items }) => items).length, blobs.length);
    for (const { offset, byteLength, items } of ranges) {
      assert.equal(offset, Math.min(...items.map((item) => item.blob.offset)));
      const last = Math.max(...items.map((item) => item.blob.offset + item.blob.storedBytes));
      assert.equal(offset + byteLength, last, `seed ${seed}`);
      assert.ok(byteLength <= 1 << 20 || items.length === 1, `seed ${seed}`);
    }
  }
});
