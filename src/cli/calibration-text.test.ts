import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { InvalidFile } from "../core/index.js";
import { openCheckpoint } from "../formats/index.js";
import { type CalibrationText, readCalibration } from "./calibration-text.js";

const folder = await mkdtemp(join(tmpdir(), "kindred-calibration-"));
after(() => rm(folder, { recursive: true, force: true }));
const tuned = await openCheckpoint("models/tiny/base");
after(() => tuned[Symbol.asyncDispose]());

const tokensOf = (texts: readonly CalibrationText[]) => texts.reduce((sum, { tokens }) => sum + tokens.length, 0);
const weightOf = (texts: readonly CalibrationText[]) =>
  texts.reduce((sum, { tokens, weight }) => sum + tokens.length * weight, 0);

test("one's own text counts seven tenths, the shipped text the rest, and every token of one's own the same", async () => {
  const alone = await readCalibration(tuned, []);
  const texts = await readCalibration(tuned, ["models/tiny/calibration/dates.jsonl"]);
  const own = texts.slice(0, texts.length - alone.length);
  assert.ok(own.length > 50);
  assert.ok(Math.abs(weightOf(own) - 0.7) < 1e-9);
  assert.ok(Math.abs(weightOf(texts) - 1) < 1e-9);
  assert.equal(new Set(own.map(({ weight }) => weight)).size, 1);
});

test("of a chat the answer is trained on, from the last token of the question", async () => {
  const [chat] = await readCalibration(tuned, ["models/tiny/calibration/dates.jsonl"]);
  assert.ok(chat!.from > 0 && chat!.from < chat!.tokens.length - 1);
});

test("reads no more than it has time for, however long the files are, and something of each", async () => {
  const long = join(folder, "long.txt");
  await writeFile(long, "The cat sat on the mat and looked at the dog. ".repeat(4000));
  const texts = await readCalibration(tuned, [long, "models/tiny/calibration/roman.jsonl"]);
  assert.ok(tokensOf(texts) <= 4096 + 2048);
  assert.ok(texts.some(({ from }) => from === 0) && texts.some(({ from }) => from > 0));
});

test("names the file and the line that it cannot read", async () => {
  const bad = join(folder, "bad.jsonl");
  await writeFile(bad, '{"text": "a b"}\n{"text": 7}\n');
  await assert.rejects(readCalibration(tuned, [bad]), (error) => {
    return error instanceof InvalidFile && error.message.includes("bad.jsonl") && /line 2/.test(error.message);
  });
});
