import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CorruptCode } from "../entropy/index.js";
import type { FloatDType } from "../formats/index.js";
import { uniformAt } from "../util/index.js";
import { decodeExact } from "./exact-decoder.js";
import { encodeExact } from "./exact-encoder.js";
import { parseHeader } from "./exact-header.js";
import { rawBitsOf, symbolBases, symbolOf, symbolRawBits } from "./exact-symbols.js";
import type { FloatBits } from "./float-bits.js";

const dtypes: readonly FloatDType[] = ["bf16", "f16", "f32"];
const width = { bf16: 16, f16: 16, f32: 32 } as const;

/** Bits of floats that are hard to get right: zeros, subnormals, the largest, infinities, several NaN, both signs. */
const special: Readonly<Record<FloatDType, readonly number[]>> = {
  bf16: [0, 0x8000, 1, 0x8001, 0x7f, 0x7f7f, 0xff7f, 0x7f80, 0xff80, 0x7fc0, 0xffff, 0x7f81, 0x3f80],
  f16: [0, 0x8000, 1, 0x8001, 0x3ff, 0x7bff, 0xfbff, 0x7c00, 0xfc00, 0x7e00, 0xffff, 0x7c01, 0x3c00],
  f32: [0, 0x80000000, 1, 0x80000001, 0x7fffff, 0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0xffffffff],
};

test("any floats turn into any others of their dtype, bit for bit", () => {
  for (const dtype of dtypes) {
    const bits = fc.oneof(fc.nat(2 ** width[dtype] - 1), fc.constantFrom(...special[dtype]));
    fc.assert(
      fc.property(fc.array(fc.tuple(bits, bits), { maxLength: 300 }), (pairs) => {
        checkRoundTrip(
          dtype,
          elements(
            dtype,
            pairs.map(([before]) => before),
          ),
          elements(
            dtype,
            pairs.map(([, after]) => after),
          ),
        );
      }),
    );
  }
});

test("every special value turns into every other", () => {
  for (const dtype of dtypes) {
    const values = special[dtype];
    const before = values.flatMap((value) => values.map(() => value));
    const after = values.flatMap(() => values);
    checkRoundTrip(dtype, elements(dtype, before), elements(dtype, after));
  }
});

test("hints change the code and not what comes of it", () => {
  const hint = fc.oneof(fc.double({ noNaN: true, min: -1, max: 1 }), fc.constantFrom(0, -0, 1e-40, 3e38));
  for (const dtype of dtypes) {
    const bits = fc.oneof(fc.nat(2 ** width[dtype] - 1), fc.constantFrom(...special[dtype]));
    fc.assert(
      fc.property(fc.array(fc.tuple(bits, bits, hint), { maxLength: 300 }), (triples) => {
        const before = triples.map(([from]) => from);
        const after = triples.map(([, to]) => to);
        const hints = Float32Array.from(triples, ([, , sum]) => sum);
        checkRoundTrip(dtype, elements(dtype, before), elements(dtype, after), hints);
      }),
      { numRuns: 20 },
    );
  }
});

test("a hint of the change's sign saves nearly a bit a weight", () => {
  const count = 100_000;
  const { reference, tuned } = pair("bf16", count, 1, 30);
  const hints = Float32Array.from(tuned, (bits, i) => {
    const isLarger = bits - reference[i]! > 0 === reference[i]! >= 0;
    return isLarger ? 0.01 : -0.01;
  });
  const saved = checkRoundTrip("bf16", reference, tuned)! - checkRoundTrip("bf16", reference, tuned, hints)!;
  assert.ok((saved * 8) / count > 0.8, `${(saved * 8) / count} bits a weight`);
});

test("a row that changes more than others is coded by itself", () => {
  const cols = 100;
  const count = 1000 * cols;
  const { reference, tuned } = pair("bf16", count, 1, 2);
  const some = pair("bf16", count, 1, 200).tuned;
  const mixed = tuned.map((bits, i) => (Math.floor(i / cols) % 2 === 0 ? bits : some[i]!));
  const [calm, wild, both] = [tuned, some, mixed].map((to) => checkRoundTrip("bf16", reference, to)!);
  assert.ok(both! < ((calm! + wild!) / 2) * 1.05, `${both} bytes, the two kinds of rows take ${calm} and ${wild}`);
});

test("floats whose low bits are all 0 cost as much as in the shorter dtype", () => {
  const count = 40_000;
  const { reference, tuned } = pair("bf16", count, 1, 20);
  const long = (short: FloatBits) => Int32Array.from(short, (bits) => bits << 16);
  const inF32 = checkRoundTrip("f32", long(reference), long(tuned));
  const inBf16 = checkRoundTrip("bf16", reference, tuned);
  assert.ok(Math.abs(inF32! - inBf16!) <= 4, `${inF32} bytes and ${inBf16}`);
});

test("a chunk is stored in the cheapest way", () => {
  const chunk = 65536;
  const { reference, tuned } = pair("bf16", 4 * chunk + 100, 1, 5);
  // As it was, changed in one place in fifty lumps, changed everywhere a little, and unrelated.
  tuned.set(reference.subarray(0, chunk));
  for (let i = chunk; i < 2 * chunk; i++) tuned[i] = i % 1300 < 9 ? reference[i]! + 1 : reference[i]!;
  for (let i = 3 * chunk; i < 4 * chunk; i++) tuned[i] = uniformAt(9, i) * 65536;
  for (let i = 3 * chunk; i < 4 * chunk; i++) reference[i] = uniformAt(8, i) * 65536;
  const code = encode("bf16", reference, tuned)!;
  const { header } = parseHeader(code, tuned.length, false);
  assert.deepEqual(
    header.chunks.map(({ mode }) => mode),
    ["copy", "sparse", "dense", "raw", "dense"],
  );
  checkRoundTrip("bf16", reference, tuned);
});

test("a small change to few weights takes well below a bit a weight", () => {
  const count = 200_000;
  const { reference, tuned } = pair("bf16", count, 0.1, 2);
  assert.ok((checkRoundTrip("bf16", reference, tuned)! * 8) / count < 0.7);
});

test("is within 5 % of the entropy of the difference given the reference's exponent", () => {
  for (const range of [1, 8, 60]) {
    const count = 300_000;
    const { reference, tuned } = pair("bf16", count, 0.7, range);
    const bits = checkRoundTrip("bf16", reference, tuned)! * 8;
    const ideal = conditionalEntropy(reference, tuned);
    assert.ok(bits < ideal * 1.05, `${bits / count} bits a weight, the entropy is ${ideal / count}`);
  }
});

test("a tensor that did not change has no code", () => {
  const { reference } = pair("f32", 1000, 1, 5);
  assert.equal(encode("f32", reference, reference.slice()), null);
  assert.equal(encode("bf16", new Int16Array(0), new Int16Array(0)), null);
});

test("the same tensors give the same bytes", () => {
  const { reference, tuned } = pair("f16", 100_000, 0.5, 9);
  assert.deepEqual(encode("f16", reference, tuned), encode("f16", reference.slice(), tuned.slice()));
});

test("truncated code is refused", () => {
  const { reference, tuned } = pair("bf16", 3000, 0.3, 40);
  const code = encode("bf16", reference, tuned)!;
  for (let length = 0; length < code.length; length += 11) {
    assert.throws(
      () => decodeExact("bf16", reference.slice(), null, code.subarray(0, length)),
      CorruptCode,
      `${length} bytes`,
    );
  }
});

test("flipped bits give an error or other floats, and no hang", () => {
  for (const chance of [0.02, 0.9]) {
    const { reference, tuned } = pair("f32", 2000, chance, 1000);
    const code = encode("f32", reference, tuned)!;
    for (let seed = 0; seed < 400; seed++) {
      const damaged = code.slice();
      const bit = Math.floor(uniformAt(seed, 3) * code.length * 8);
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      try {
        decodeExact("f32", reference.slice(), null, damaged);
      } catch (error) {
        assert.ok(error instanceof CorruptCode, `seed ${seed}: ${error}`);
      }
    }
  }
});

test("random bytes are refused", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      try {
        decodeExact("bf16", new Int16Array(100), null, bytes);
      } catch (error) {
        assert.ok(error instanceof CorruptCode, String(error));
      }
    }),
  );
});

test("a symbol and its raw bits say a difference", () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.integer({ min: -70, max: 70 }), fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })),
      (difference) => {
        const symbol = symbolOf(difference);
        const raw = rawBitsOf(difference, symbol);
        assert.ok(raw < 2 ** symbolRawBits[symbol]!);
        assert.equal((symbol & 1 ? symbolBases[symbol]! - raw : symbolBases[symbol]! + raw) | 0, difference);
      },
    ),
  );
});

function encode(
  dtype: FloatDType,
  reference: FloatBits,
  tuned: FloatBits,
  hints: Float32Array | null = null,
): Uint8Array | null {
  return encodeExact({ dtype, reference, tuned, cols: 100, hints });
}

/** Encodes and decodes; the code's length. */
function checkRoundTrip(
  dtype: FloatDType,
  reference: FloatBits,
  tuned: FloatBits,
  hints: Float32Array | null = null,
): number | undefined {
  const code = encode(dtype, reference, tuned, hints);
  const decoded = reference.slice();
  if (code) decodeExact(dtype, decoded, hints, code);
  assert.ok(Buffer.from(decoded.buffer).equals(Buffer.from(tuned.buffer)), `${dtype}, ${tuned.length} elements`);
  return code?.length;
}

function elements(dtype: FloatDType, bits: readonly number[]): FloatBits {
  return dtype === "f32" ? Int32Array.from(bits) : Int16Array.from(bits);
}

/** Weights around zero, and the same with some of them up to `range` steps away. */
function pair(
  dtype: FloatDType,
  count: number,
  chance: number,
  range: number,
): { reference: FloatBits; tuned: FloatBits } {
  const values = Float32Array.from(
    { length: count },
    (_, i) => (uniformAt(1, i) + uniformAt(2, i) - 1) * uniformAt(3, i),
  );
  const whole = new Int32Array(values.buffer);
  const shift = dtype === "f16" ? 13 : dtype === "bf16" ? 16 : 0;
  const reference = elements(
    dtype,
    Array.from(whole, (bits) => (dtype === "f16" ? halfOf(bits) : bits >>> shift)),
  );
  const tuned = reference.slice();
  for (let i = 0; i < count; i++) {
    if (uniformAt(4, i) < chance) tuned[i]! += Math.round((uniformAt(5, i) + uniformAt(6, i) - 1) * range);
  }
  return { reference, tuned };
}

/** Close enough to the f16 of an f32's bits: any halves will do. */
function halfOf(bits: number): number {
  return ((bits >>> 16) & 0x8000) | ((bits >>> 13) & 0x7fff);
}

/** Bits of all differences given the reference's exponent, by their own frequencies. */
function conditionalEntropy(reference: FloatBits, tuned: FloatBits): number {
  const counts = new Map<number, Map<number, number>>();
  for (let i = 0; i < tuned.length; i++) {
    const exponent = (reference[i]! >> 7) & 255;
    const difference = (tuned[i]! ^ ((tuned[i]! >> 31) & 0x7fff)) - (reference[i]! ^ ((reference[i]! >> 31) & 0x7fff));
    const row = counts.get(exponent) ?? new Map<number, number>();
    counts.set(exponent, row.set(difference, (row.get(difference) ?? 0) + 1));
  }
  let bits = 0;
  for (const row of counts.values()) {
    const total = [...row.values()].reduce((sum, count) => sum + count, 0);
    for (const count of row.values()) bits -= count * Math.log2(count / total);
  }
  return bits;
}
