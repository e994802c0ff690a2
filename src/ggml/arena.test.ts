import assert from "node:assert/strict";
import { after, test } from "node:test";
import { dtypes, NativeError } from "../core/index.js";
import { Arena } from "./arena.js";
import { Device } from "./device.js";

const device = Device.open({ kind: "cpu", threads: 1 });
after(() => device[Symbol.dispose]());

test("an arena holds the tensors it was asked for, side by side, each with its own bytes", () => {
  using arena = new Arena(device, [
    { name: "norm", dtype: "f32", shape: [5] },
    { name: "weight", dtype: "q8_0", shape: [64, 3] },
    { name: "pool", dtype: "q1_0", shape: [128, 2, 4] },
  ]);
  assert.deepEqual([...arena.tensors.keys()], ["norm", "weight", "pool"]);
  assert.equal(String(arena.get("pool")), "pool: q1_0[128, 2, 4, 1]");
  assert.deepEqual(
    [...arena.tensors.values()].map((tensor) => tensor.byteLength),
    [20, 3 * 68, 8 * 18],
  );
  assert.ok(arena.byteLength >= 20 + 204 + 144);

  [...arena.tensors.values()].forEach((tensor, index) => {
    tensor.write(new Uint8Array(tensor.byteLength).fill(index + 1));
  });
  [...arena.tensors.values()].forEach((tensor, index) => {
    const bytes = new Uint8Array(tensor.byteLength);
    tensor.read(bytes);
    assert.ok(
      bytes.every((byte) => byte === index + 1),
      tensor.name,
    );
  });
});

test("part of a tensor is written and read at an offset; beyond its end nothing is", () => {
  using arena = new Arena(device, [{ name: "slots", dtype: "f32", shape: [4, 3] }]);
  const slots = arena.get("slots");
  arena.clear();
  slots.write(Float32Array.of(1, 2, 3, 4), 16);
  const all = new Float32Array(12);
  slots.read(all);
  assert.deepEqual([...all], [0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0]);
  const row = new Float32Array(2);
  slots.read(row, 24);
  assert.deepEqual([...row], [3, 4]);
  assert.throws(
    () => slots.write(new Float32Array(2), 44),
    /cannot write bytes 44…52 of slots: f32\[4, 3, 1, 1\], which has 48/,
  );
  assert.throws(() => slots.read(new Float32Array(13)), /cannot read bytes 0…52/);
  assert.throws(() => slots.write(new Float32Array(1), -4), /cannot write bytes -4…0/);
});

test("part of a tensor is copied to another place in it, also over itself", () => {
  using arena = new Arena(device, [{ name: "cells", dtype: "f32", shape: [6] }]);
  const cells = arena.get("cells");
  cells.write(Float32Array.of(1, 2, 3, 4, 5, 6));
  cells.copyWithin(0, 8, 12);
  assert.deepEqual([...cells.values()], [1, 2, 1, 2, 3, 6]);
  assert.throws(() => cells.copyWithin(0, 16, 12), /write bytes 16…28/);
});

test("on the CPU a tensor's bytes are the host's: what is put there is what is read", () => {
  using arena = new Arena(device, [
    { name: "before", dtype: "f32", shape: [3] },
    { name: "weight", dtype: "f32", shape: [4] },
  ]);
  assert.equal(arena.isHost, true);
  arena.clear();
  const window = arena.get("weight").hostBytes(4, 8);
  window.set(new Uint8Array(Float32Array.of(5, 6).buffer));
  const values = new Float32Array(4);
  arena.get("weight").read(values);
  assert.deepEqual([...values], [0, 5, 6, 0]);
  assert.throws(() => arena.get("weight").hostBytes(12, 8), /cannot map bytes 12…20/);
});

test("every dtype can be held", () => {
  const names = Object.keys(dtypes) as (keyof typeof dtypes)[];
  using arena = new Arena(
    device,
    names.map((dtype) => ({ name: dtype, dtype, shape: [512, 2] })),
  );
  for (const dtype of names) {
    const { blockSize, blockBytes } = dtypes[dtype];
    const tensor = arena.get(dtype);
    assert.equal(tensor.byteLength, (1024 / blockSize) * blockBytes, dtype);
    tensor.write(new Uint8Array(tensor.byteLength)); // ggml ends the process when it disagrees about the size
  }
});

test("an arena without tensors takes nothing", () => {
  using arena = new Arena(device, []);
  assert.equal(arena.byteLength, 0);
  arena.clear();
});

test("memory that is not to be had is a NativeError that says how much, and the process goes on", () => {
  const huge = { name: "huge", dtype: "f32" as const, shape: [2 ** 30, 2 ** 15] };
  assert.throws(
    () => new Arena(device, [huge]),
    (error: unknown) => {
      assert.ok(error instanceof NativeError);
      assert.match(error.message, /^Cannot allocate 141 TB on CPU \(.*\) for 1 tensors$/);
      assert.equal(error.details.bytes, 2 ** 47);
      return true;
    },
  );
  using arena = new Arena(device, [{ name: "small", dtype: "f32", shape: [4] }]);
  arena.clear();
});

test("rows that do not fill blocks are refused before ggml sees them", () => {
  assert.throws(
    () => new Arena(device, [{ name: "odd", dtype: "q4_0", shape: [172, 2] }]),
    /A row of 172 does not fill q4_0 blocks of 32/,
  );
  assert.throws(
    () => new Arena(device, [{ name: "flat", dtype: "f32", shape: [4, 0] }]),
    /extents are positive whole numbers/,
  );
});

test("two tensors of one name are a mistake", () => {
  const spec = { name: "twin", dtype: "f32" as const, shape: [4] };
  assert.throws(() => new Arena(device, [spec, spec]), /two tensors of an arena have one name/);
  using arena = new Arena(device, [spec]);
  assert.throws(() => arena.get("other"), /there is no tensor other in this arena/);
});
