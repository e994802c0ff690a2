import assert from "node:assert/strict";
import { test } from "node:test";
import { packChunks } from "./chunks.js";

const sequence = (tokens: readonly number[], weight = 1) => ({ tokens, weight });

/** The mask as text: what each row sees, `.` for nothing. */
function seen({ mask, tokens }: { mask: Uint16Array; tokens: Int32Array }): string[] {
  const cell = (row: number, col: number) => (mask[row * tokens.length + col] === 0 ? "x" : ".");
  return Array.from(tokens, (_, row) => Array.from(tokens, (_, col) => cell(row, col)).join(""));
}

test("whole sequences share a chunk, and each sees itself alone, up to where it is", () => {
  const [chunk, ...others] = packChunks([sequence([5, 6]), sequence([7, 8, 9])], { tokensMax: 5, slidingWindow: null });
  assert.deepEqual(others, []);
  assert.deepEqual([...chunk!.tokens], [5, 6, 7, 8, 9]);
  assert.deepEqual([...chunk!.positions], [0, 1, 0, 1, 2]);
  assert.deepEqual(seen(chunk!), ["x....", "xx...", "..x..", "..xx.", "..xxx"]);
});

test("a sliding window hides what is further back", () => {
  const [chunk] = packChunks([sequence([1, 2, 3, 4])], { tokensMax: 8, slidingWindow: 2 });
  assert.deepEqual(seen(chunk!), ["x...", "xx..", ".xx.", "..xx"]);
});

test("a chunk ends where the next sequence does not fit; one that is too long has its own", () => {
  const lengths = [3, 2, 9, 1].map((length) => sequence(Array.from({ length }, () => 0)));
  const chunks = packChunks(lengths, { tokensMax: 5, slidingWindow: null });
  assert.deepEqual(
    chunks.map(({ tokens }) => tokens.length),
    [5, 9, 1],
  );
});

test("weights of all tokens sum to one, in the proportion that was asked for", () => {
  const chunks = packChunks([sequence([1, 2], 3), sequence([3, 4], 1)], { tokensMax: 2, slidingWindow: null });
  const weights = chunks.map(({ rootWeights }) => Array.from(rootWeights, (root) => root * root));
  assert.ok(Math.abs(weights.flat().reduce((sum, weight) => sum + weight) - 1) < 1e-6);
  assert.ok(Math.abs(weights[0]![0]! / weights[1]![0]! - 3) < 1e-5);
});
