// The embedded variants against the checkpoints that they restore to: what is lost is rounding.

import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { restoreCheckpoint } from "../delta/index.js";
import { type Checkpoint, openCheckpoint, openDelta } from "../formats/index.js";
import { type EvaluationOptions, evaluate } from "./evaluation.js";
import { drawEvaluation } from "./evaluation-picture.js";
import { printEvaluation } from "./evaluation-table.js";

const folder = await mkdtemp(join(tmpdir(), "kindred-quality-"));
const base = await openCheckpoint("models/tiny/base");
{
  await using delta = await openDelta("models/tiny/variants/roman");
  await restoreCheckpoint({ base, delta, out: join(folder, "roman") });
}
const tuned = await openCheckpoint(join(folder, "roman"));
after(async () => {
  await base[Symbol.asyncDispose]();
  await tuned[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});
const text = join(folder, "text.txt");
await writeFile(text, "Once upon a time there was a little girl who lived in a small house. ".repeat(4));

const options: EvaluationOptions = {
  base,
  tuned,
  deltas: [
    { name: "roman", path: "models/tiny/variants/roman" },
    { name: "a <stranger>", path: "models/tiny/variants/dates" },
  ],
  data: ["models/tiny/tasks/roman.jsonl", text],
  chatsMax: 8,
  textTokensMax: 40,
  engine: { device: "cpu", threads: 1, baseDType: "f32", kvDType: "f32", sequences: 4 },
};
const progress: number[] = [];
const evaluation = await evaluate({
  ...options,
  onProgress: ({ tokensDone, tokensTotal }) => progress.push(tokensDone / tokensTotal),
});
const [nothing, own, stranger] = evaluation.candidates;

test("a delta says what the checkpoint says that it restores to, and the base and another delta do not", () => {
  for (const { set, fidelity, recovered } of own!.results) {
    assert.ok(fidelity.kl.mean < 2e-3, `${set}: ${fidelity.kl.mean}`);
    assert.ok(fidelity.topAgreement > 0.95 && recovered! > 0.99, `${set}: ${fidelity.topAgreement} ${recovered}`);
  }
  for (const { fidelity } of [...nothing!.results, stranger!.results[0]!]) assert.ok(fidelity.kl.mean > 0.5);
  assert.equal(nothing!.results[0]!.recovered, 0);
});

test("answers to the task are the fine-tune's, and nobody else's", () => {
  const [task, plain] = own!.results;
  assert.deepEqual([task!.answers!.items, task!.answers!.identical, task!.answers!.accuracy], [8, 1, 1]);
  assert.equal(plain!.answers, null);
  assert.deepEqual([nothing!.results[0]!.answers!.accuracy, stranger!.results[0]!.answers!.lost], [0, 8]);
});

test("sizes are the artifact's, over all parameters", () => {
  assert.equal(evaluation.tuned.parameters, 4_492_032);
  assert.equal(own!.bitsPerParameter, (8 * own!.diskBytes) / evaluation.tuned.parameters);
  assert.ok(own!.residentBytes >= own!.diskBytes);
  assert.deepEqual(
    own!.layers.map(({ name }) => name),
    ["embedding", "0", "1", "2", "3", "4"],
  );
});

test("progress comes to an end and never goes back", () => {
  assert.equal(progress.at(-1), 1);
  assert.ok(progress.every((share, index) => index === 0 || share >= progress[index - 1]!));
});

test("what is found survives JSON", () => {
  assert.deepEqual(JSON.parse(JSON.stringify(evaluation)), evaluation);
});

test("the table has a line for each candidate under each set", () => {
  const lines = printEvaluation(evaluation).split("\n");
  for (const name of ["base", "roman", "a <stranger>"])
    assert.equal(lines.filter((line) => line.startsWith(`${name} `)).length, 2, name);
  assert.match(lines[0]!, /^roman: 8 samples/);
});

test("the picture names everybody, has a point for each set, and is well-formed", () => {
  const picture = drawEvaluation(evaluation);
  assert.match(picture, /^<svg [^>]*xmlns="http:\/\/www\.w3\.org\/2000\/svg"/);
  assert.match(picture, />roman, 2\.26 bits</);
  assert.match(picture, />a &lt;stranger&gt;, /);
  assert.equal(picture.match(/<circle /g)!.length, 1 + 1 + 2); // legend, base, two deltas on the first set
  assert.doesNotMatch(picture, /NaN|Number.POSITIVE_INFINITY|undefined/);
  const open = picture.match(/<(svg|title|style|text)\b/g)!.length;
  assert.equal(picture.match(/<\/(svg|title|style|text)>/g)!.length, open);
});

test("two of one name, and a delta of another vocabulary, are refused before anything is loaded", async () => {
  const twice = [...options.deltas, options.deltas[0]!];
  await assert.rejects(evaluate({ ...options, deltas: twice }), /Two candidates are named "roman"/);
  const larger = Object.create(tuned, { config: { value: { ...tuned.config, vocabSize: 4100 } } }) as Checkpoint;
  await assert.rejects(evaluate({ ...options, tuned: larger }), /vocabulary of 4096, roman has 4100/);
});

test("it stops when it is told to", async () => {
  const signal = AbortSignal.abort(new Error("enough"));
  await assert.rejects(evaluate({ ...options, signal }), /enough/);
});
