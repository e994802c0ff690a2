import assert from "node:assert/strict";
import { test } from "node:test";
import { chooseRows } from "./row-sample.js";

const sumOf = (values: Iterable<number>) => [...values].reduce((sum, value) => sum + value, 0);

test("all rows of a small matrix are taken, each for itself", () => {
  const { numbers, shares } = chooseRows([Float64Array.from({ length: 40 }, (_, row) => row)]);
  assert.deepEqual([...numbers].sort((a, b) => a - b), Array.from({ length: 40 }, (_, row) => row)); // biome-ignore format: one thing
  assert.ok(shares.every((share) => share === 1));
});

test("of a large one a sixteenth is taken: no row twice, shares add up to all, and the heaviest stand for themselves", () => {
  const rows = 4000;
  const weights = Float64Array.from({ length: rows }, (_, row) => (row % 1000 === 7 ? 1000 : (row % 13) / 13));
  const { numbers, shares } = chooseRows([weights]);
  assert.equal(numbers.length, rows / 16);
  assert.equal(new Set(numbers).size, numbers.length);
  assert.ok(Math.abs(sumOf(shares) - rows) < 1e-6);
  for (const heavy of [7, 1007, 2007, 3007]) assert.equal(shares[numbers.indexOf(heavy)], 1);
  const estimate = sumOf(numbers.map((row, at) => weights[row]! * shares[at]! * 1e6)) / 1e6;
  assert.ok(Math.abs(estimate / sumOf(weights) - 1) < 0.05, `${estimate} stands for ${sumOf(weights)}`);
});

test("measures count the same, however large their numbers are", () => {
  const rows = 2048;
  const [small, large] = [new Float64Array(rows).fill(1e-9), new Float64Array(rows).fill(1)];
  small[100] = 1;
  large[200] = 1e6;
  const { numbers, shares } = chooseRows([small, large]);
  for (const heavy of [100, 200]) assert.equal(shares[numbers.indexOf(heavy)], 1);
});

test("a matrix that nothing depends on is sampled evenly", () => {
  const { numbers } = chooseRows([new Float64Array(3200)]);
  assert.equal(numbers.length, 200);
  assert.ok(Math.max(...numbers) > 3000);
});
