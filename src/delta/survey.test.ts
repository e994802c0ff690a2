import assert from "node:assert/strict";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { embeddingName, parametersOf } from "../core/index.js";
import { openCheckpoint, openDelta } from "../formats/index.js";
import { allocate } from "./allocation.js";
import { type CheckpointVariation, temporaryFolder, writeCheckpoint } from "./checkpoint-pair.test.kit.js";
import { CannotCompress } from "./compatibility.js";
import { compressDelta } from "./compress.js";
import { restoreCheckpoint } from "./restore.js";
import { type Survey, surveyForms } from "./survey.js";

const signal = new AbortController().signal;
const texts = [0, 1].map((kind) =>
  Array.from({ length: 8 }, (_, index) => ({
    tokens: Array.from({ length: 16 }, (_, at) => (at * 7 + index * 5 + kind) % 24),
    from: kind * 4,
    weight: 1,
  })),
);

async function pairOf(t: TestContext, variation: CheckpointVariation = {}, baseVariation: CheckpointVariation = {}) {
  const folder = await temporaryFolder(t);
  const base = await openCheckpoint(await writeCheckpoint(join(folder, "base"), baseVariation));
  const tuned = await openCheckpoint(await writeCheckpoint(join(folder, "tuned"), { seed: 3, ...variation }));
  t.after(async () => {
    await base[Symbol.asyncDispose]();
    await tuned[Symbol.asyncDispose]();
  });
  return { folder, base, tuned };
}

const surveyOf = (
  pair: Pick<Awaited<ReturnType<typeof pairOf>>, "base" | "tuned">,
  onProgress?: (part: number) => void,
) => surveyForms({ ...pair, texts, threads: 1, signal, ...(onProgress && { onProgress }) });

const formsOf = (survey: Survey, name: string) =>
  survey.candidates
    .get(name)!
    .map(({ codec }) => (codec ? [codec.name, ...Object.values(codec.options)].join(" ") : null));

test("every matrix, in the model's order, has all forms; each more bytes and less loss on every kind of text", async (t) => {
  const pair = await pairOf(t);
  const parts: number[] = [];
  const survey = await surveyOf(pair, (part) => parts.push(part));
  const matrices = parametersOf(pair.tuned.config).filter(({ kind }) => kind !== "vector");
  assert.deepEqual(
    [...survey.candidates.keys()],
    matrices.map(({ name }) => name),
  );
  for (const [name, candidates] of survey.candidates) {
    assert.deepEqual(formsOf(survey, name), [null, "sign 1", "sign 2", "sign 3", "sign 4"]);
    for (const [index, { bytes, losses }] of candidates.entries()) {
      if (index === 0) continue;
      assert.ok(bytes > candidates[index - 1]!.bytes, `${name}: bytes of form ${index}`);
      for (const kind of [0, 1])
        assert.ok(losses[kind]! < candidates[index - 1]!.losses[kind]!, `${name}: form ${index}`);
    }
  }
  assert.ok(parts.every((part, index) => index === 0 || part >= parts[index - 1]!));
  assert.equal(parts.at(-1), 1);
});

test("a matrix that was not changed costs and loses nothing, and added vocabulary has no other form", async (t) => {
  const unchanged = "model.layers.0.mlp.up_proj.weight";
  const plain = await pairOf(t);
  const values = new Map<string, Float32Array>();
  const keep: CheckpointVariation = { change: ({ name }, own) => void values.set(name, own.slice()) };
  await writeCheckpoint(join(plain.folder, "again"), keep);
  const pair = await pairOf(t, {
    vocabSize: 30,
    change: ({ name }, own) => void (name === unchanged && own.set(values.get(name)!)),
  });
  const survey = await surveyOf(pair);
  assert.deepEqual(survey.candidates.get(unchanged), [{ codec: null, bytes: 0, losses: [0, 0] }]);
  const { fixedBytes } = await surveyOf(plain);
  assert.equal(survey.fixedBytes - fixedBytes, 6 * 160 * 4);
});

test("an artifact is made of what was allocated, within its bits, and what was left out is the base's", async (t) => {
  const pair = await pairOf(t);
  const survey = await surveyOf(pair);
  const codec = allocate(survey, { bits: 1.6 }, { bitsMax: 1.6 });
  const calibration = texts.flat();
  const { total } = await compressDelta({ ...pair, codec, calibration, out: join(pair.folder, "delta"), threads: 1 });
  assert.ok(total.bitsPerWeight <= 1.6 && total.bitsPerWeight > 1.3, `${total.bitsPerWeight} bits a weight`);
  await using delta = await openDelta(join(pair.folder, "delta"));
  assert.deepEqual(delta.codec, { name: "auto", options: { bits: 1.6, calibrated: true } });
  for (const [name, own] of codec.codecs) {
    const tensor = delta.tensors.get(name)!;
    assert.ok(tensor.kind === "planes");
    assert.equal(tensor.planes.length, own ? Number(own.options.planes ?? 1) : 0);
  }
  const nothing = { ...codec, codecs: new Map([...codec.codecs.keys()].map((name) => [name, null])) };
  await compressDelta({ ...pair, codec: nothing, out: join(pair.folder, "nothing"), threads: 1 });
  await using empty = await openDelta(join(pair.folder, "nothing"));
  await restoreCheckpoint({ base: pair.base, delta: empty, out: join(pair.folder, "restored") });
  await using restored = await openCheckpoint(join(pair.folder, "restored"));
  const read = async (checkpoint: typeof restored) => {
    const bytes = new Uint8Array(checkpoint.tensors.get(embeddingName)!.byteLength);
    await checkpoint.read(embeddingName, bytes);
    return bytes;
  };
  assert.deepEqual(await read(restored), await read(pair.base));
});

test("a value that is no number is refused with the tensor's name", async (t) => {
  const pair = await pairOf(t, {
    change: ({ name }, own) => void (name.includes("down_proj") && own.fill(Number.NaN)),
  });
  await assert.rejects(surveyOf(pair), (error) => error instanceof CannotCompress && /down_proj/.test(error.message));
});

test("an output head of its own is looked at, and so is an embedding that is none", async (t) => {
  const pair = await pairOf(t, { tied: false }, { tied: false });
  const survey = await surveyOf(pair);
  for (const name of [embeddingName, "lm_head.weight"]) {
    const [nothing, one] = survey.candidates.get(name)!;
    assert.ok(nothing!.losses[0]! > one!.losses[0]!);
  }
});
