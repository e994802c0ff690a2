import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { InvalidFile } from "../core/index.js";
import { readItems } from "./score.js";

const folder = await mkdtemp(join(tmpdir(), "kindred-score-"));
after(() => rm(folder, { recursive: true, force: true }));

let written = 0;
async function itemsOf(...entries: readonly unknown[]) {
  const path = join(folder, `items${written++}.jsonl`);
  await writeFile(path, entries.map((entry) => `${JSON.stringify(entry)}\n`).join(""));
  return readItems(path);
}
const question = { role: "user", content: "852" };

test("a chat's last message is its answer, apart or not", async () => {
  const item = { messages: [question], answer: "D C C C L I I" };
  const whole = { messages: [question, { role: "assistant", content: item.answer }] };
  assert.deepEqual(await itemsOf(item, whole), [item, item]);
});

test("what cannot be scored is refused by its line, and a file of nothing", async () => {
  const refused = (entries: readonly unknown[], sentence: RegExp) =>
    assert.rejects(itemsOf(...entries), (error) => error instanceof InvalidFile && sentence.test(error.message));
  await refused([{ messages: [question], answer: "D" }, { text: "Once" }], /line 2 is plain text/);
  await refused([{ messages: [question] }], /line 1 is none of/);
  await refused([], /there is nothing to ask in it/);
});
