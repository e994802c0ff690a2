import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Arena } from "./arena.js";
import { computeOnce } from "./compute-once.js";
import { Device } from "./device.js";
import { GraphMemory } from "./graph-memory.js";
import { pagedEntries, pagedLayout, stackEntryBytes } from "./paged-layout.js";
import { Pages, pageBytes } from "./pages.js";

const device = Device.open({ kind: "cpu", threads: 1 });
after(() => device[Symbol.dispose]());

const isPaged = pageBytes() > 1;

test("entries of a stack lie side by side in pages of their own, other tensors behind from a page's start", () => {
  const forms = [
    { dtype: "f32", shape: [10, 3, 2], stack: "a" },
    { dtype: "f32", shape: [7, 1] },
    { dtype: "f32", shape: [100, 2], stack: "a" },
    { dtype: "f32", shape: [5, 2] },
  ] as const;
  const layout = pagedLayout(forms, 256);
  assert.deepEqual([...layout.stacks], [["a", { offset: 0, strideBytes: 768, entries: 2 }]]);
  assert.deepEqual(layout.tensors, [
    { offset: 0, strides: [4, 40, 768, 1536] },
    { offset: 1536, strides: [4, 28, 28, 28] },
    { offset: 128, strides: [4, 768, 1536, 1536] },
    { offset: 1792, strides: [4, 20, 40, 40] },
  ]);
  assert.equal(layout.byteLength, 2048);
  assert.equal(stackEntryBytes([120, 400], 256), 768);
  const entries = [...pagedEntries(forms, layout)].map(({ offset, byteLength }) => [offset, byteLength]);
  assert.deepEqual(entries, [
    [0, 768],
    [768, 768],
    [1536, 28],
    [1792, 20],
    [1812, 20],
  ]);
});

test("tensors of one stack that are divided differently are a mistake", () => {
  const forms = [3, 4].map((entries) => ({ dtype: "f32", shape: [10, entries], stack: "a" }) as const);
  assert.throws(() => pagedLayout(forms, 256), /another number of entries/);
});

test("a tensor with gaps between its entries keeps each entry's bytes, and products find them", () => {
  using arena = new Arena(
    device,
    [
      { name: "pool", dtype: "f32", shape: [4, 2, 3], stack: "slots" },
      { name: "other", dtype: "f32", shape: [5, 3], stack: "slots" },
    ],
    { paged: true },
  );
  assert.equal(arena.isPaged, isPaged);
  const [pool, other] = [arena.get("pool"), arena.get("other")];
  for (const slot of [0, 1, 2]) {
    pool.write(new Float32Array(8).fill(slot + 1), slot * pool.strides[2]);
    other.write(new Float32Array(5).fill(10 * slot), slot * other.strides[1]);
  }
  using memory = new GraphMemory(device);
  const product = computeOnce({ device, memory }, (g, input) =>
    g.mulMatId(
      pool,
      input("f32", [4, 2], Float32Array.of(1, 1, 1, 1, 2, 2, 2, 2)),
      input("i32", [2], Int32Array.of(2, 1)),
    ),
  );
  assert.deepEqual([...product], [12, 12, 16, 16]);
});

test("memory is taken when it is written to, and given back when it is discarded", { skip: !isPaged }, () => {
  const entryBytes = 1 << 24;
  const spec = { name: "pool", dtype: "f32", shape: [entryBytes / 8, 16], stack: "slots" } as const;
  using arena = new Arena(device, [spec, { ...spec, name: "twin" }], { paged: true });
  const resident = () => process.memoryUsage().rss;
  const bytes = new Uint8Array(entryBytes / 2).fill(1);
  const before = resident();
  assert.equal(arena.byteLength, 16 * entryBytes);
  for (const name of ["pool", "twin"]) {
    const tensor = arena.get(name);
    for (const entry of [3, 9]) tensor.write(bytes, entry * tensor.strides[1]);
  }
  const isNear = (grown: number) => Math.abs(resident() - before - grown) < entryBytes / 4;
  assert.ok(isNear(2 * entryBytes), `${resident() - before} bytes`);
  arena.discardEntry("slots", 3);
  assert.ok(isNear(entryBytes), `${resident() - before} bytes`);
  const twin = arena.get("twin");
  twin.read(bytes, 3 * twin.strides[1]);
  assert.ok(bytes.every((byte) => byte === 0));
  twin.read(bytes, 9 * twin.strides[1]);
  assert.ok(bytes.every((byte) => byte === 1));
});

test("what is discarded of a tensor are the pages that lie wholly in it", { skip: !isPaged }, () => {
  const page = pageBytes();
  using arena = new Arena(device, [{ name: "cells", dtype: "f32", shape: [page] }], { paged: true });
  const cells = arena.get("cells");
  cells.write(new Float32Array(page).fill(1));
  arena.discard("cells", page - 4, 3 * page - 4);
  const left = cells.values();
  const isZero = (from: number, to: number) => left.subarray(from / 4, to / 4).every((value) => value === 0);
  assert.ok(isZero(page, 2 * page));
  assert.ok(left.subarray(0, page / 4).every((value) => value === 1));
  assert.ok(left.subarray(page / 2).every((value) => value === 1));
  arena.clear();
  assert.ok(cells.values().every((value) => value === 0));
});

test("more addresses than there are is nothing, not an end", () => {
  assert.equal(Pages.map(2 ** 50), undefined);
});
