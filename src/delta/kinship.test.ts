import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { Parameter } from "../core/index.js";
import { openCheckpoint } from "../formats/index.js";
import { type CheckpointVariation, filesIn, temporaryFolder, writeCheckpoint } from "./checkpoint-pair.test.kit.js";
import { gaussian } from "./codec-conformance.test.kit.js";
import { createCodec } from "./codecs.js";
import { CannotCompress, compressDelta, WrongBase } from "./index.js";
import { weightDistance } from "./kinship.js";

const codec = createCodec("sign");

/** Weights of a model that was trained from another beginning, of another size if need be. */
const stranger =
  (size = 1) =>
  (_: Parameter, values: Float32Array): void =>
    values.set(gaussian({ rows: 1, cols: values.length }, 77).map((value) => size * value));

/** A folder of models, one a variation. */
async function models(t: TestContext, variations: Readonly<Record<string, CheckpointVariation>>): Promise<string> {
  const folder = await temporaryFolder(t);
  for (const [name, variation] of Object.entries(variations)) await writeCheckpoint(join(folder, name), variation);
  return folder;
}

async function compress(base: string, tuned: string, out: string, force = false) {
  await using before = await openCheckpoint(base);
  await using after = await openCheckpoint(tuned);
  return await compressDelta({ base: before, tuned: after, codec, out, threads: 1, force });
}

test("unrelated weights are √2 apart whatever their sizes, a fine-tune as much as it moved", async (t) => {
  const folder = await models(t, {
    base: {},
    tuned: { seed: 2 },
    stranger: { change: stranger() },
    large: { change: stranger(3) },
    zero: { change: (_, values) => values.fill(0) },
  });
  const distance = async (a: string, b: string) => {
    await using before = await openCheckpoint(join(folder, a));
    await using after = await openCheckpoint(join(folder, b));
    return await weightDistance(before, after);
  };
  assert.equal(await distance("base", "base"), 0);
  assert.equal(await distance("zero", "zero"), 0);
  assert.ok(Math.abs((await distance("base", "tuned")) - 0.1) < 0.01);
  for (const other of ["stranger", "large"]) assert.ok(Math.abs((await distance("base", other)) - Math.SQRT2) < 0.05);
});

test("a fine-tune of another base is refused with its distance and the base that it is of", async (t) => {
  const folder = await models(t, {
    right: {},
    "right-chat": { seed: 4 },
    tuned: { seed: 2 },
    wrong: { change: stranger() },
    small: { hiddenSize: 168 },
  });
  await mkdir(join(folder, "empty"));
  await writeFile(join(folder, "broken.gguf"), "GGUF");
  const before = await filesIn(folder);
  await assert.rejects(compress(join(folder, "wrong"), join(folder, "tuned"), join(folder, "out")), (error) => {
    assert.ok(error instanceof WrongBase);
    assert.match(error.message, /Their weights are 1\.4\d apart; √2 is what unrelated weights are/);
    assert.match(error.message, /Beside that base lies right, from which it is 0\.1\d apart/);
    assert.equal(error.details.nearest, join(folder, "right"));
    return true;
  });
  assert.deepEqual(await filesIn(folder), before);
});

test("where no near one lies beside it, none is named", async (t) => {
  const folder = await models(t, { wrong: { change: stranger() }, tuned: {}, other: { change: stranger(2) } });
  await assert.rejects(compress(join(folder, "wrong"), join(folder, "tuned"), join(folder, "out")), (error) => {
    return error instanceof WrongBase && error.details.nearest === null && !error.message.includes("Beside");
  });
});

test("a fine-tune of a base of another shape is refused with the base that it is of", async (t) => {
  const folder = await models(t, { large: { hiddenSize: 168 }, small: {}, tuned: { seed: 2, vocabSize: 20 } });
  await assert.rejects(compress(join(folder, "large"), join(folder, "tuned"), join(folder, "out")), (error) => {
    assert.ok(error instanceof CannotCompress);
    assert.match(error.message, /its hiddenSize is 160, the base's is 168; .*Beside that base lies small/);
    return true;
  });
});

test("a fine-tune that moved a third of its norm is one, and anything is if it is forced to be", async (t) => {
  const moved = (_: Parameter, values: Float32Array) => {
    for (const [i, value] of gaussian({ rows: 1, cols: values.length }, 5).entries()) values[i]! += value / 3;
  };
  const folder = await models(t, { base: {}, moved: { change: moved }, stranger: { change: stranger() } });
  const base = join(folder, "base");
  const { total } = await compress(base, join(folder, "moved"), join(folder, "near"));
  assert.ok(total.relativeError < 1);
  const forced = await compress(base, join(folder, "stranger"), join(folder, "far"), true);
  assert.ok(forced.total.relativeError < 1);
});
