// Products that delta planes and the base live on: block types against their decoded values.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { DType } from "../core/index.js";
import { Arena } from "./arena.js";
import { Device } from "./device.js";
import { assertClose, evaluate, noise, product } from "./evaluate.test.kit.js";
import { fromFloat32, toFloat32 } from "./quantize.js";

const device = Device.open({ kind: "cpu", threads: 2 });
after(() => device[Symbol.dispose]());

/**
 * How far a product may be from that of the decoded weights. ggml rounds the activations: to 16 bits for f16, to 8 bits a block
 * for the block types.
 */
const tolerances: Partial<Record<DType, number>> = {
  f32: 1e-6,
  f16: 1e-3,
  q8_0: 0.01,
  q1_0: 0.01,
  tq1_0: 0.01,
  tq2_0: 0.01,
};

for (const [name, tolerance] of Object.entries(tolerances)) {
  const dtype = name as DType;
  const [columns, out, slots] = [512, 24, 5];
  const bytes = fromFloat32(dtype, noise(columns * out * slots, 1), columns);
  const decoded = toFloat32(dtype, bytes, columns * out * slots);

  test(`mulMatId over a ${dtype} pool is the product with each row's decoded slot`, () => {
    using arena = new Arena(device, [{ name: "pool", dtype, shape: [columns, out, slots] }]);
    arena.get("pool").write(bytes);
    for (const ids of [[2], [4, 0, 4, 1], Array.from({ length: 40 }, (_, row) => (row * 7) % slots)]) {
      const x = noise(columns * ids.length, 2);
      const y = evaluate(device, (g, input) =>
        g.mulMatId(arena.get("pool"), input("f32", [columns, ids.length], x), input("i32", [ids.length], ids)),
      );
      const expected = ids.flatMap((slot, row) =>
        product(
          decoded.subarray(slot * columns * out, (slot + 1) * columns * out),
          x.subarray(row * columns, (row + 1) * columns),
          columns,
        ),
      );
      assertClose(y, expected, tolerance);
    }
  });

  test(`getRows over a ${dtype} table is the decoded rows, exactly`, () => {
    using arena = new Arena(device, [{ name: "table", dtype, shape: [columns, out * slots] }]);
    arena.get("table").write(bytes);
    const rows = [0, 119, 7, 7];
    const picked = evaluate(device, (g, input) => g.getRows(arena.get("table"), input("i32", [4], rows)));
    assert.deepEqual(
      [...picked],
      rows.flatMap((row) => [...decoded.subarray(row * columns, (row + 1) * columns)]),
    );
  });
}

test("q4_0 weights in the CPU's interleaved buffers give the product that they give elsewhere", (t) => {
  if (device.repackBufferType === undefined) return t.skip("this CPU's library has no interleaved buffers");
  const [columns, out] = [256, 64];
  const bytes = fromFloat32("q4_0", noise(columns * out, 1), columns);
  const spec = { name: "w", dtype: "q4_0" as const, shape: [columns, out] };
  using plain = new Arena(device, [spec]);
  using interleaved = new Arena(device, [spec], { repack: true });
  assert.equal(interleaved.isHost, false, "its bytes are not those of the file, so nobody may write there directly");
  for (const arena of [plain, interleaved]) arena.get("w").write(bytes);
  for (const rows of [1, 5, 33]) {
    const x = noise(columns * rows, 2);
    const through = (arena: Arena) =>
      evaluate(device, (g, input) => g.mulMat(arena.get("w"), input("f32", [columns, rows], x)));
    assertClose(through(interleaved), through(plain), 1e-3);
    assertClose(through(interleaved), product(toFloat32("q4_0", bytes, columns * out), x, columns), 0.01);
  }
});

test("what the device cannot do with a tensor is a NativeError that names the operation", (t) => {
  if (device.repackBufferType === undefined) return t.skip("this CPU's library has no interleaved buffers");
  using interleaved = new Arena(device, [{ name: "w", dtype: "q4_0", shape: [256, 64] }], { repack: true });
  assert.throws(() => evaluate(device, (g, input) => g.getRows(interleaved.get("w"), input("i32", [1], [0]))), {
    name: "NativeError",
    message: /^CPU \(.+\) cannot run operation 0 of the step, GET_ROWS$/,
  });
});
