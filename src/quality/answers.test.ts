import assert from "node:assert/strict";
import { test } from "node:test";
import { type Answer, compareAnswers } from "./answers.js";

/** `"5 6 +"`: tokens, and whether the answer is right. */
function answer(notation: string): Answer {
  const parts = notation.split(" ");
  return { tokens: parts.slice(0, -1).map(Number), isRight: parts.at(-1) === "+" };
}
const compare = (tuned: string[], candidate: string[]) => compareAnswers(tuned.map(answer), candidate.map(answer));

test("counts what was lost and won, and how many answers are the same", () => {
  const found = compare(["5 6 +", "5 7 +", "8 -", "9 -"], ["5 6 +", "5 8 -", "7 +", "9 -"]);
  assert.deepEqual([found.items, found.identical, found.lost, found.won], [4, 0.5, 1, 1]);
  assert.deepEqual([found.accuracy, found.tunedAccuracy, found.difference.value], [0.5, 0.5, 0]);
});

test("an answer diverges at its first other token, or where one of two goes on", () => {
  const places = (tuned: string, candidate: string) => compare([tuned], [candidate]).medianDivergence;
  assert.equal(places("1 2 3 +", "1 2 4 -"), 2);
  assert.equal(places("1 2 +", "1 2 3 -"), 2);
  assert.equal(places("1 2 3 +", "1 +"), 1);
  assert.equal(places("1 2 3 +", "1 2 3 +"), null);
});

test("the median is over those that diverge", () => {
  const tuned = ["1 2 3 4 +", "1 2 3 4 +", "1 2 3 4 +", "1 2 3 4 +"];
  assert.equal(compare(tuned, ["1 2 3 4 +", "9 2 3 4 -", "1 2 9 4 -", "1 2 3 9 -"]).medianDivergence, 2);
});
