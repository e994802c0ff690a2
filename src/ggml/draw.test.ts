// Words drawn in a graph by kernels, held against drawing them row by row in JavaScript: they are the same words, not nearly.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { runOnce } from "./compute-once.js";
import { Device } from "./device.js";
import { type Draw, type Drawn, drawRows, packDraws, readDraws } from "./draw.js";
import { noise } from "./evaluate.test.kit.js";
import { GraphMemory } from "./graph-memory.js";
import { type Kernels, loadKernels } from "./kernels.js";
import { drawRow } from "./plain-draw.js";

const [vocabulary, extraWords] = [1500, 70];

/** Rows of logits, some of which no model should have. */
const kinds: Record<string, (row: Float32Array) => Float32Array> = {
  even: (row) => row.map((value) => value * 0.01),
  peaked: (row) => row.map((value) => value * 30),
  tied: (row) => row.map((value) => Math.round(value * 4)),
  equal: (row) => row.fill(3),
  zeros: (row) => row.map((value) => (value > 0 ? 0 : -0)),
  "one huge": (row) => row.map((value, word) => (word === 901 ? 1e30 : value)),
  "mostly forbidden": (row) => row.map((value, word) => (word % 97 === 5 ? value : Number.NEGATIVE_INFINITY)),
  "partly no numbers": (row) => row.map((value, word) => (word % 3 === 0 ? Number.NaN : value * 9)),
  "no numbers": (row) => row.fill(Number.NaN),
  forbidden: (row) => row.fill(Number.NEGATIVE_INFINITY),
  infinite: (row) => row.map((value, word) => (word > 1000 && value > 0.4 ? Number.POSITIVE_INFINITY : value)),
};

interface Case {
  readonly draw: Draw;
  readonly logits: Float32Array;
}

const heard = fc
  .uniqueArray(fc.nat({ max: 14 }), { maxLength: 9 })
  .map((words) => Int32Array.from(words.flatMap((word) => [word, word % 4])));
const draws: fc.Arbitrary<Draw> = fc.record({
  words: fc.constantFrom(15, 16, 17, 511, 512, 513, 1400, vocabulary, vocabulary + 3, vocabulary + extraWords),
  temperature: fc.constantFrom(0, 0.3, 1, 1, 2.5, 100, 1e-320),
  u: fc.integer({ min: 0, max: 2 ** 32 - 1 }).map((u) => u / 2 ** 32),
  topK: fc.constantFrom(0, 0, 0, 1, 7, 40, 100, 600, 5000),
  topP: fc.constantFrom(1, 1, 0, 0.3, 0.9, 0.9, 0.999, 1 - 2 ** -40),
  minP: fc.constantFrom(0, 0, 0, 0.05, 0.5, 1, 1e-12),
  repetitionPenalty: fc.constantFrom(1, 1.3),
  presencePenalty: fc.constantFrom(0, 0.7, -1.1),
  frequencyPenalty: fc.constantFrom(0, 0.3),
  heard: fc.oneof(fc.constant(new Int32Array(0)), heard),
  biases: fc.array(
    fc.tuple(
      fc.nat({ max: 14 }),
      fc.oneof(fc.constantFrom(Number.NEGATIVE_INFINITY, 100, -100), fc.double({ min: -9, max: 9, noNaN: true })),
    ),
    { maxLength: 3 },
  ),
  likeliest: fc.constantFrom(null, null, 0, 1, 5, 64),
});
const cases: fc.Arbitrary<Case> = fc
  .tuple(draws, fc.constantFrom(...Object.keys(kinds)), fc.nat())
  .map(([draw, kind, seed]) => ({ draw, logits: kinds[kind]!(noise(vocabulary + extraWords, seed)) }));

/** What kernels draw in one graph of rows whose last words are beyond the vocabulary; nothing for rows without a case. */
function drawnBy(kernels: Kernels, threads: number, rows: readonly (Case | undefined)[]) {
  using device = Device.open({ kind: "cpu", threads, kernels });
  using memory = new GraphMemory(device);
  const wordsMax = Math.max(...rows.map((row) => row?.logits.length ?? 0));
  const vocabulary = wordsMax - extraWords;
  const filled = (from: number, to: number) => {
    const values = new Float32Array((to - from) * rows.length).fill(7);
    for (const [at, row] of rows.entries()) if (row) values.set(row.logits.subarray(from, to), at * (to - from));
    return values;
  };
  const own = rows.map((row) => row?.draw);
  return runOnce({ device, memory }, (g, input): (() => (Drawn | undefined)[]) => {
    const packed = packDraws(own);
    const drawn = drawRows(g, kernels, {
      logits: input("f32", [vocabulary, rows.length], filled(0, vocabulary)),
      extraLogits: input("f32", [extraWords, 1, rows.length], filled(vocabulary, wordsMax)),
      draws: input("i32", [packed.draws.length], packed.draws),
      adjustments: input("i32", [packed.adjustments.length], packed.adjustments),
      threads,
    });
    g.output(drawn);
    return () => readDraws(drawn, own);
  });
}

for (const name of ["avx512vnni", "avx2", "neon", "scalar"]) {
  test(`${name} draws and reports what plain arithmetic does, whatever the threads`, async (t) => {
    const { kernels, summary } = await loadKernels({ choice: name });
    if (!kernels) return t.skip(summary);
    for (const threads of [1, 3]) {
      fc.assert(
        fc.property(fc.array(cases, { minLength: 1, maxLength: 40 }), (some) => {
          const rows = [...some, undefined, ...some];
          const expected = rows.map((row) => row && drawRow(row.logits, row.draw));
          assert.deepEqual(drawnBy(kernels, threads, rows), expected);
        }),
        { numRuns: 15, seed: 11 },
      );
    }
  });
}

/** A draw that nothing but its temperature has a part in. */
const plain: Omit<Draw, "words" | "u"> = {
  temperature: 1,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  heard: new Int32Array(0),
  biases: [],
  likeliest: null,
};

test("kernels and plain arithmetic draw the same of vocabularies of real size", async (t) => {
  const { kernels, summary } = await loadKernels();
  if (!kernels) return t.skip(summary);
  const words = 50_000;
  const ways: Partial<Draw>[] = [
    {},
    { topP: 0.9 },
    { topK: 40 },
    { topK: 20_000, topP: 0.99 },
    { minP: 0.05 },
    { likeliest: 20 },
  ];
  for (const spread of [0.001, 9, 40]) {
    const logits = noise(words, spread).map((value) => value * spread);
    const rows = ways.flatMap((way) =>
      [0, 0.37, 1 - 2 ** -32].map((u) => ({ logits, draw: { ...plain, ...way, words, u } })),
    );
    assert.deepEqual(
      drawnBy(kernels, 1, rows),
      rows.map((row) => drawRow(row.logits, row.draw)),
    );
  }
});

test("not one of half a million weights is rounded otherwise by kernels", async (t) => {
  const { kernels, summary } = await loadKernels();
  if (!kernels) return t.skip(summary);
  const words = 2 ** 19;
  // Here multiplying and adding at once would show.
  const logits = noise(words, 11).map((value) => value * 0.7);
  const row = { logits, draw: { ...plain, words, u: 0.5, likeliest: 1 } };
  assert.deepEqual(drawnBy(kernels, 1, [row]), [drawRow(row.logits, row.draw)]);
});
