import assert from "node:assert/strict";
import { test } from "node:test";
import { uniformAt } from "../util/index.js";
import { Pace } from "./pace.js";

const guess = { fixedMs: 5, unitMs: 1, units: 100 };
const isNear = (actual: number, expected: number, part: number) =>
  assert.ok(Math.abs(actual - expected) <= part * expected, `${actual} for ${expected}`);

test("before anything was seen the guess stands", () => {
  const pace = new Pace(guess);
  isNear(pace.estimateMs(0), 5, 1e-9);
  isNear(pace.estimateMs(200), 205, 1e-9);
  assert.equal(pace.error, 0);
});

test("fixed time and time a unit are told apart in noise, and the error is that of the noise", () => {
  const pace = new Pace(guess);
  for (let i = 0; i < 200; i++) {
    const units = 1000 * uniformAt(1, i);
    pace.observe(units, (40 + 0.1 * units) * (0.9 + 0.2 * uniformAt(2, i)));
  }
  isNear(pace.estimateMs(0), 40, 0.15);
  isNear(pace.estimateMs(1000), 140, 0.05);
  isNear(pace.error, 0.05, 0.5);
});

test("what changes is followed within some tens of observations", () => {
  const pace = new Pace(guess);
  for (let i = 0; i < 100; i++) pace.observe(50 + (i % 7), 20);
  for (let i = 0; i < 60; i++) pace.observe(50 + (i % 7), 60);
  isNear(pace.estimateMs(53), 60, 0.2);
});

test("where all were of one size others are taken to differ as the guess says", () => {
  const pace = new Pace(guess);
  for (let i = 0; i < 50; i++) pace.observe(100, 300);
  isNear(pace.estimateMs(100), 300, 0.02);
  assert.ok(pace.estimateMs(200) > 300);
});

test("nothing is expected to take less than no time, or less for being larger", () => {
  const pace = new Pace(guess);
  for (let i = 0; i < 100; i++) pace.observe(i, 100 - i);
  assert.ok(pace.estimateMs(1000) >= pace.estimateMs(10));
  const steep = new Pace(guess);
  for (let i = 10; i < 100; i++) steep.observe(i, i ** 2);
  assert.ok(steep.estimateMs(0) >= 0);
});
