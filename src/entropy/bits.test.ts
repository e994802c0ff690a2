import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { BitReader, BitWriter, CorruptCode } from "./index.js";

const values = fc.array(
  fc.integer({ min: 0, max: 31 }).chain((count) => fc.tuple(fc.nat(2 ** count - 1), fc.constant(count))),
  { maxLength: 300 },
);

test("values of any width come back in order", () => {
  fc.assert(
    fc.property(values, (written) => {
      const writer = new BitWriter();
      for (const [value, count] of written) writer.write(value, count);
      const bytes = writer.finish();
      assert.equal(bytes.length % 4, 0);
      const reader = new BitReader(bytes);
      for (const [value, count] of written) assert.equal(reader.read(count), value);
    }),
  );
});

test("whole numbers in gamma code come back", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 2 ** 31 - 1 })), (numbers) => {
      const writer = new BitWriter();
      for (const number of numbers) writer.writeGamma(number);
      const reader = new BitReader(writer.finish());
      for (const number of numbers) assert.equal(reader.readGamma(), number);
    }),
  );
});

test("bits lie from the lowest of the first byte on", () => {
  const writer = new BitWriter();
  writer.write(0b101, 3);
  writer.write(0b11, 2);
  writer.write(0x1234, 16);
  assert.deepEqual([...writer.finish()], [0b100_11_101, 0b0100_0110, 0b0000_0010, 0]);
});

test("reading past the end is refused", () => {
  const reader = new BitReader(new Uint8Array(4));
  reader.read(31);
  reader.read(1);
  assert.throws(() => reader.read(1), CorruptCode);
  assert.throws(() => new BitReader(new Uint8Array(64)).readGamma(), CorruptCode);
});
