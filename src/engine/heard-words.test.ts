import assert from "node:assert/strict";
import { test } from "node:test";
import { Sequence } from "../core/index.js";
import { uniformAt } from "../util/index.js";
import { HeardWords } from "./heard-words.js";
import { spec } from "./workbench.test.kit.js";

const pairs = (list: Int32Array) =>
  new Map(Array.from({ length: list.length / 2 }, (_, at) => [list[2 * at]!, list[2 * at + 1]!]));

test("words of the prompt are heard no time, others as often as they were generated", () => {
  const sequence = new Sequence(spec("a", [5, 5, 7], { generated: [7, 9, 9] }));
  assert.deepEqual(
    [...new HeardWords(sequence, { withPrompt: true, wordsMax: 10 }).hear(sequence)],
    [5, 0, 7, 1, 9, 2],
  );
  assert.deepEqual([...new HeardWords(sequence, { withPrompt: false, wordsMax: 10 }).hear(sequence)], [7, 1, 9, 2]);
});

test("words that the vocabulary has not are not heard", () => {
  const sequence = new Sequence(spec("a", [5, 12], { generated: [10, 9] }));
  assert.deepEqual([...new HeardWords(sequence, { withPrompt: true, wordsMax: 10 }).hear(sequence)], [5, 0, 9, 1]);
});

test("heard as they come, words are those that are heard at once", () => {
  const sequence = new Sequence(spec("a", [1, 2, 3]));
  const asTheyCome = new HeardWords(sequence, { withPrompt: true, wordsMax: 300 });
  for (let position = 0; position < 1000; position++) {
    sequence.tokens.push(Math.floor(uniformAt(3, position) * 200));
    const atOnce = new HeardWords(sequence, { withPrompt: true, wordsMax: 300 }).hear(sequence);
    if (position % 3 !== 0) assert.deepEqual(pairs(asTheyCome.hear(sequence)), pairs(atOnce));
  }
});
