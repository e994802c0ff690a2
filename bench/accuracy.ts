import { existsSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { judgeAnswers, readItems, type ScoredItem } from "../src/cli/score.js";
import { openService } from "../src/cli/wire.js";
import { compressDelta, createCodec, reportOf } from "../src/delta/index.js";
import { defaultEngineOptions } from "../src/engine/index.js";
import { openCheckpoint, openDelta } from "../src/formats/index.js";
import { type AccuracyRow, accuracyTable } from "./accuracy-table.js";

// npm run bench:accuracy: how well the embedded fine-tunes answer their tasks, as a table in Markdown.
//
// Given --tuned FOLDER with the uncompressed fine-tunes as FOLDER/TASK, each is compressed with every codec and scored
// beside the fine-tune itself. Without it, only what the repository holds is scored.

const { values: flags } = parseArgs({
  options: {
    tuned: { type: "string" },
    base: { type: "string", default: "models/tiny/base" },
    variants: { type: "string", default: "models/tiny/variants" },
    tasks: { type: "string", default: "models/tiny/tasks" },
    only: { type: "string", multiple: true },
    threads: { type: "string", default: String(availableParallelism()) },
  },
});

const candidates = [
  { title: "bitdelta", codec: createCodec("bitdelta") },
  { title: "sign, 1 plane", codec: createCodec("sign", { planes: 1 }) },
  { title: "ternary", codec: createCodec("ternary") },
  { title: "sign, 2 planes", codec: createCodec("sign", { planes: 2 }) },
] as const;
const engine = { ...defaultEngineOptions, threads: Number(flags.threads), contextLength: 512 };

const tasks = (await readdir(flags.tasks))
  .map((file) => path.basename(file, ".jsonl"))
  .filter((task) => !flags.only || flags.only.includes(task))
  .sort();
const rows = new Map<string, AccuracyRow>();
for (const task of tasks) {
  const items = await readItems(path.join(flags.tasks, `${task}.jsonl`));
  await (flags.tuned ? scoreCodecs(task, path.join(flags.tuned, task), items) : scoreVariant(task, items));
}
console.log(accuracyTable(tasks, [...rows.values()]));

/** Base, fine-tune, and the fine-tune in every codec. */
async function scoreCodecs(task: string, tunedPath: string, items: readonly ScoredItem[]): Promise<void> {
  await scoreBase(task, items);
  await record("fine-tune", task, await checkpointBytes(tunedPath), { base: tunedPath }, items);
  const work = await mkdtemp(path.join(tmpdir(), "kindred-accuracy-"));
  try {
    for (const { title, codec } of candidates) {
      await using base = await openCheckpoint(flags.base);
      await using tuned = await openCheckpoint(tunedPath);
      const out = path.join(work, title);
      const { total } = await compressDelta({ base, tuned, codec, out });
      await record(title, task, total.residentBytes, { base: flags.base, variants: out }, items);
    }
  } finally {
    await rm(work, { recursive: true });
  }
}

/** Base, and the task's variant as the repository has it. */
async function scoreVariant(task: string, items: readonly ScoredItem[]): Promise<void> {
  const variant = path.join(flags.variants, task);
  if (!existsSync(variant)) throw new Error(`${flags.tasks} has the task "${task}", but there is no ${variant}`);
  await scoreBase(task, items);
  await using artifact = await openDelta(variant);
  await record("variant", task, reportOf(artifact).total.residentBytes, { base: flags.base, variants: variant }, items);
}

async function scoreBase(task: string, items: readonly ScoredItem[]): Promise<void> {
  await record("base", task, await checkpointBytes(flags.base), { base: flags.base }, items);
}

/** Scores the one variant of a service, or its base where it has none, and adds that to a row. */
async function record(
  title: string,
  task: string,
  bytes: number,
  paths: { base: string; variants?: string },
  items: readonly ScoredItem[],
): Promise<void> {
  await using service = await openService({ ...paths, engine, inline: true });
  const model = service.completer.models().at(-1)!.id;
  const verdicts = await judgeAnswers(service.completer, { model, items, concurrency: engine.sequences });
  const row = rows.get(title) ?? { title, results: new Map() };
  row.results.set(task, { bytes, verdicts });
  rows.set(title, row);
  console.error(`${task}, ${title}: ${verdicts.filter((right) => right).length} of ${verdicts.length}`);
}

async function checkpointBytes(checkpoint: string): Promise<number> {
  await using opened = await openCheckpoint(checkpoint);
  return [...opened.tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
}
