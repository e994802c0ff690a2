import assert from "node:assert/strict";
import { after, test } from "node:test";
import { memoryCheckpoint, smallConfig } from "./random-model.test.kit.js";
import { Reading } from "./reading.js";
import { largestDifference, spec, Workbench } from "./workbench.test.kit.js";

const config = smallConfig();
const bench = await Workbench.open(memoryCheckpoint(config), { contextLength: 64, regions: 3 });
after(() => bench[Symbol.dispose]());

const tokens = Array.from({ length: 21 }, (_, at) => (at * 37 + 5) % config.vocabSize);
const read = (region = 0) => new Reading(bench.stepper, { variant: null, tokens, region, resident: () => undefined });
const copied = (rows: readonly Float32Array[]) => rows.map((row) => row.slice());

test("a reading gives, of every row, the logits that a prompt ending there gives", () => {
  const rows = copied(read().advance(tokens.length, tokens.length));
  assert.equal(rows.length, tokens.length);
  for (const length of [1, 2, 9, tokens.length]) {
    const { logits } = bench.run([spec("a", tokens.slice(0, length))]).get("a")!;
    assert.ok(largestDifference(rows[length - 1]!, logits[0]!) < 1e-4, `row ${length - 1}`);
  }
});

test("in whatever steps a text is read, and whichever rows are asked for, the rows are the same", () => {
  const whole = copied(read().advance(tokens.length, tokens.length));
  for (const steps of [[21], [1, 20], [7, 7, 7], [16, 1, 4]]) {
    for (const wanted of [1, 3, 21]) {
      const reading = read(2);
      let end = 0;
      for (const count of steps) {
        end += count;
        const scored = Math.min(wanted, count);
        const rows = reading.advance(count, scored);
        assert.equal(rows.length, scored);
        for (const [row, logits] of rows.entries())
          assert.ok(largestDifference(logits, whole[end - scored + row]!) < 1e-4, `${steps} ${wanted}`);
      }
    }
  }
});

test("a step of which no row is wanted gives none and reads on", () => {
  const reading = read();
  assert.deepEqual(reading.advance(5, 0), []);
  const [row] = copied(reading.advance(16, 1));
  const { logits } = bench.run([spec("a", tokens)]).get("a")!;
  assert.ok(largestDifference(row!, logits[0]!) < 1e-4);
});

test("readings take turns without hearing each other", () => {
  const whole = copied(read().advance(tokens.length, 3));
  const [one, other] = [read(0), read(1)];
  for (let at = 0; at < 18; at += 6) for (const reading of [one, other]) reading.advance(6, 0);
  for (const reading of [one, other])
    for (const [row, logits] of reading.advance(3, 3).entries())
      assert.ok(largestDifference(logits, whole[row]!) < 1e-4);
});
