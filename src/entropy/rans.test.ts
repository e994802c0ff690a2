import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { BitReader, BitWriter, CorruptCode, SYMBOLS_MAX, SymbolDecoder, SymbolEncoder, SymbolModel } from "./index.js";

/** Symbols with a context each. */
interface Stream {
  readonly contexts: number;
  readonly symbols: Uint8Array;
  readonly contextOf: Uint8Array;
}

/** Streams of any length in a few contexts, from flat to a single symbol. */
const streams = fc
  .record({ contexts: fc.integer({ min: 1, max: 5 }), alphabet: fc.integer({ min: 1, max: SYMBOLS_MAX }) })
  .chain(({ contexts, alphabet }) =>
    fc
      .array(fc.tuple(fc.nat(contexts - 1), fc.nat(alphabet - 1), fc.nat(alphabet - 1)), { maxLength: 400 })
      .map((items): Stream => {
        const contextOf = Uint8Array.from(items, ([context]) => context);
        // The smaller of two, so that small symbols are more frequent.
        return { contexts, contextOf, symbols: Uint8Array.from(items, ([, a, b]) => Math.min(a, b)) };
      }),
  );

test("symbols come back as they were, whatever their distribution", () => {
  fc.assert(
    fc.property(streams, (stream) => {
      const { model, code } = encode(stream);
      assert.deepEqual(decode(model, code, stream), stream.symbols);
    }),
  );
});

test("a model comes back from its bits", () => {
  fc.assert(
    fc.property(streams, (stream) => {
      const { model } = encode(stream);
      const writer = new BitWriter();
      model.write(writer);
      const read = SymbolModel.read(new BitReader(writer.finish()), stream.contexts);
      assert.deepEqual(read.frequencies, model.frequencies);
    }),
  );
});

test("takes as many bits as the distributions say, and 16 bytes", () => {
  const stream = skewed(20_000);
  const { model, code, counts } = encode(stream);
  const bits = (code.length - 16) * 8;
  assert.ok(
    Math.abs(bits / model.bitsFor(counts) - 1) < 0.002,
    `${bits} bits, the model says ${model.bitsFor(counts)}`,
  );
});

test("a symbol that is the only one of its context costs nothing", () => {
  const symbols = new Uint8Array(50_000).fill(7);
  const { code } = encode({ contexts: 1, symbols, contextOf: new Uint8Array(symbols.length) });
  assert.equal(code.length, 16);
});

test("rare symbols keep a place beside frequent ones", () => {
  const symbols = new Uint8Array(1 << 16);
  for (let symbol = 0; symbol < SYMBOLS_MAX; symbol++) symbols[symbol * 3] = symbol;
  const stream = { contexts: 1, symbols, contextOf: new Uint8Array(symbols.length) };
  const { model, code } = encode(stream);
  assert.deepEqual(decode(model, code, stream), symbols);
});

test("one encoder and one decoder serve streams of any length", () => {
  const stream = skewed(1000);
  const { model } = encode(stream);
  const encoder = new SymbolEncoder(model);
  const decoder = new SymbolDecoder(model);
  for (const count of [0, 1, 2, 3, 4, 5, 999, 1000]) {
    const symbols = new Uint8Array(count);
    decoder.decode(encoder.encode(stream.symbols, stream.contextOf, count), stream.contextOf, symbols, count);
    assert.deepEqual(symbols, stream.symbols.subarray(0, count));
  }
});

test("truncated and lengthened code is refused", () => {
  const stream = skewed(3000);
  const { model, code } = encode(stream);
  for (let length = 0; length < code.length; length += 7) {
    assert.throws(() => decode(model, code.subarray(0, length), stream), CorruptCode, `${length} of ${code.length}`);
  }
  assert.throws(() => decode(model, Uint8Array.from([...code, 0, 0, 0, 0]), stream), CorruptCode);
});

test("a flipped bit gives an error or other symbols, and no hang", () => {
  const stream = skewed(500);
  const { model, code } = encode(stream);
  let found = 0;
  for (let bit = 0; bit < code.length * 8; bit++) {
    const damaged = code.slice();
    damaged[bit >> 3]! ^= 1 << (bit & 7);
    try {
      decode(model, damaged, stream);
    } catch (error) {
      assert.ok(error instanceof CorruptCode, String(error));
      found += 1;
    }
  }
  assert.ok(found > code.length * 7, `${found} of ${code.length * 8} flips found`);
});

test("random bytes are no model, or one whose frequencies sum up to 4096", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
      try {
        const { frequencies } = SymbolModel.read(new BitReader(bytes), 2);
        for (const context of [0, 1]) {
          const row = frequencies.subarray(context * SYMBOLS_MAX, (context + 1) * SYMBOLS_MAX);
          assert.ok([0, 4096].includes(row.reduce((sum, frequency) => sum + frequency, 0)));
        }
      } catch (error) {
        assert.ok(error instanceof CorruptCode, String(error));
      }
    }),
  );
});

function encode({ contexts, symbols, contextOf }: Stream) {
  const counts = new Uint32Array(contexts * SYMBOLS_MAX);
  for (const [i, symbol] of symbols.entries()) counts[contextOf[i]! * SYMBOLS_MAX + symbol]! += 1;
  const model = SymbolModel.fit(counts);
  return { model, counts, code: new SymbolEncoder(model).encode(symbols, contextOf, symbols.length) };
}

function decode(model: SymbolModel, code: Uint8Array, { symbols, contextOf }: Stream): Uint8Array {
  const decoded = new Uint8Array(symbols.length);
  new SymbolDecoder(model).decode(code, contextOf, decoded, decoded.length);
  return decoded;
}

/** About three bits a symbol, in two contexts. */
function skewed(count: number): Stream {
  const contextOf = Uint8Array.from({ length: count }, (_, i) => (i * 7) % 2);
  const symbols = Uint8Array.from({ length: count }, (_, i) =>
    Math.min(30, Math.clz32(Math.imul(i + 1, 0x9e3779b1)) * 3 + (i % 3)),
  );
  return { contexts: 2, symbols, contextOf };
}
