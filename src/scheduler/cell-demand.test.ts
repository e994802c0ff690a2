import assert from "node:assert/strict";
import { test } from "node:test";
import { Sequence } from "../core/index.js";
import { CellDemand } from "./cell-demand.js";
import { sequence } from "./scheduler.test.kit.js";

const limits = { contextLength: 1000, preemptionsMax: 2 };

/** A sequence of a notation that has generated so many tokens. */
function made(notation: string, generatedTokens = 0): Sequence {
  return new Sequence({ ...sequence(notation), generated: new Array<number>(generatedTokens).fill(7) });
}

/** What is asked for sequences after answers of these lengths. */
function after(...answers: readonly number[]): CellDemand {
  const demand = new CellDemand(limits);
  for (const tokens of answers) demand.learn(made("x:1", tokens));
  return demand;
}

test("a sequence may come to need its prompt and all it may have, in its region, but for the last token", () => {
  const demand = new CellDemand(limits);
  assert.equal(demand.most(made("a:10+5")), 14);
  assert.equal(demand.most(made("a:10+5000")), 999);
});

test("it is let in for an answer of 64 tokens until some answers were seen, and of their median then", () => {
  assert.equal(after(1, 2, 3).first(made("a:10+900")), 74);
  assert.equal(after(30, 20, 90, 40, 800, 30, 20, 40).first(made("a:10+900")), 50);
});

test("what was long ago is forgotten", () => {
  const demand = after(...new Array<number>(128).fill(20), ...new Array<number>(65).fill(300));
  assert.equal(demand.first(made("a:10+900")), 310);
});

test("one that may have up to twice what is expected gets it all at once", () => {
  const demand = new CellDemand(limits);
  assert.equal(demand.first(made("a:10+129")), 138);
  assert.equal(demand.first(made("a:10+130")), 74);
});

test("one that goes on has memory for its tokens and as much of an answer again", () => {
  assert.equal(new CellDemand(limits).first(made("a:10+900", 100)), 174);
});

test("one that has given way often enough gets all it may come to need", () => {
  const sequence = made("a:10+900", 100);
  sequence.preemptions = 2;
  assert.equal(new CellDemand(limits).first(sequence), 909);
});

test("one that has come to the end of its cells gets 16 more, and none that it cannot need", () => {
  const demand = new CellDemand(limits);
  assert.equal(demand.next(made("a:10+900", 64)), 90);
  assert.equal(demand.next(made("a:10+900", 898)), 909);
});

test("what generated nothing says nothing", () => {
  assert.equal(after(...new Array<number>(8).fill(0)).first(made("a:10+900")), 74);
});
