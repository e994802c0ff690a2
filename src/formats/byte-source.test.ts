import assert from "node:assert/strict";
import { truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { InvalidFile } from "../core/index.js";
import { FileSource } from "./byte-source.js";
import { temporaryFolder } from "./tiny-checkpoint.test.kit.js";

test("reads any part of a file", async (t) => {
  const path = join(await temporaryFolder(t), "digits");
  await writeFile(path, "0123456789");
  await using source = await FileSource.open(path);
  const into = Buffer.alloc(4);
  await source.read(3, into);
  assert.equal(source.size, 10);
  assert.equal(into.toString(), "3456");
});

test("refuses to read past the end, even of a file that shrank after it was opened", async (t) => {
  const path = join(await temporaryFolder(t), "digits");
  await writeFile(path, "0123456789");
  await using source = await FileSource.open(path);
  await assert.rejects(source.read(8, Buffer.alloc(4)), /truncated: bytes 8 to 12 are needed, it has 10/);
  await truncate(path, 5);
  await assert.rejects(source.read(2, Buffer.alloc(6)), InvalidFile);
});

test("names a file that is not there and a folder that is no file", async (t) => {
  const folder = await temporaryFolder(t);
  await assert.rejects(FileSource.open(join(folder, "absent")), {
    code: "invalid_file",
    message: /absent: there is no such file/,
  });
  await assert.rejects(FileSource.open(folder), InvalidFile);
});
