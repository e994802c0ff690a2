import assert from "node:assert/strict";
import { appendFile, open, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { blobOfValue, type DeltaTensor } from "../formats/index.js";
import { sha256 } from "../util/index.js";
import { filesIn, temporaryFolder } from "./checkpoint-pair.test.kit.js";
import { Workspace } from "./workspace.js";

const bytesOf = (seed: number) => new Uint8Array(8).fill(seed);

async function finish(workspace: Workspace, name: string, seed: number): Promise<DeltaTensor> {
  const value = blobOfValue(name, "f32", [2], sha256(bytesOf(seed)));
  await workspace.put(value.name, bytesOf(seed));
  const tensor: DeltaTensor = { name, kind: "absolute", dtype: "f32", shape: [2], value };
  await workspace.finish(tensor);
  return tensor;
}

test("a later run finds what an earlier one finished, and goes on", async (t) => {
  const path = join(await temporaryFolder(t), "work");
  let first: DeltaTensor;
  {
    await using workspace = await Workspace.open(path, "this");
    first = await finish(workspace, "a", 1);
    await workspace.put("b.value", bytesOf(9)); // whose line is never written
  }
  for (const names of [["a"], ["a", "c"]]) {
    await using workspace = await Workspace.open(path, "this");
    assert.deepEqual([...workspace.finished.keys()], names);
    assert.deepEqual(workspace.finished.get("a"), first);
    assert.deepEqual(await workspace.get("a.value"), bytesOf(1));
    if (names.length === 1) await finish(workspace, "c", 3);
    else assert.deepEqual(await workspace.get("c.value"), bytesOf(3));
  }
});

test("other work begins afresh", async (t) => {
  const path = join(await temporaryFolder(t), "work");
  {
    await using workspace = await Workspace.open(path, "this");
    await finish(workspace, "a", 1);
  }
  await using workspace = await Workspace.open(path, "that");
  assert.equal(workspace.finished.size, 0);
});

test("a torn line and a blob that was not written whole are done again", async (t) => {
  const spoil = [
    async (path: string) => appendFile(join(path, "journal.jsonl"), '{"tensor":{"na'),
    async (path: string) => {
      const journal = join(path, "journal.jsonl");
      await writeFile(journal, `${await readFile(journal, "utf8")}${await readFile(journal, "utf8")}`.slice(0, -5));
    },
  ];
  for (const [index, harm] of spoil.entries()) {
    const path = join(await temporaryFolder(t), `work${index}`);
    {
      await using workspace = await Workspace.open(path, "this");
      await finish(workspace, "a", 1);
    }
    await harm(path);
    await using workspace = await Workspace.open(path, "this");
    assert.deepEqual([...workspace.finished.keys()], ["a"]);
  }
  const path = join(await temporaryFolder(t), "work");
  {
    await using workspace = await Workspace.open(path, "this");
    await finish(workspace, "a", 1);
    await finish(workspace, "b", 2);
  }
  const spool = await open(join(path, "blobs.spool"), "r+");
  await spool.truncate(12);
  await spool.close();
  await using workspace = await Workspace.open(path, "this");
  assert.deepEqual([...workspace.finished.keys()], ["a"]);
});

test("removed, nothing of it is left", async (t) => {
  const folder = await temporaryFolder(t);
  await using workspace = await Workspace.open(join(folder, "work"), "this");
  await finish(workspace, "a", 1);
  await workspace.remove();
  assert.deepEqual(await filesIn(folder), []);
});
