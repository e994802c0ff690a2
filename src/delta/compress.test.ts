import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { Lockstep } from "../calibration/index.js";
import { BaseMismatch, KindredError } from "../core/index.js";
import { AlreadyExists, type Checkpoint, openCheckpoint, openDelta } from "../formats/index.js";
import { Device, toFloat32 } from "../ggml/index.js";
import { uniformAt } from "../util/index.js";
import { type CheckpointVariation, filesIn, temporaryFolder, writeCheckpoint } from "./checkpoint-pair.test.kit.js";
import { createCodec } from "./codecs.js";
import { CannotCompress, type CompressOptions, compressDelta, type DeltaReport, restoreCheckpoint } from "./index.js";

const codec = createCodec("sign", { planes: 2 });
const head = "lm_head.weight";
const embedding = "model.embed_tokens.weight";
const queries = "model.layers.0.self_attn.q_proj.weight";
const norm = "model.norm.weight";

test("compresses every parameter, and restores the fine-tune but for the error that it reports", async (t) => {
  for (const name of ["sign", "ternary", "signlr", "svd", "bitdelta"]) {
    const pair = await checkpointPair(t, {}, { seed: 2 });
    const report = await pair.compress({ codec: createCodec(name) });
    assert.deepEqual(
      report.tensors.map((line) => line.name),
      [...pair.base.tensors.keys()],
    );
    await using restored = await pair.restore();
    for (const line of report.tensors) {
      const [before, after, ours] = await Promise.all(
        [pair.base, pair.tuned, restored].map((from) => read(from, line.name)),
      );
      const error = distance(after!, ours!) / distance(after!, before!);
      assert.ok(
        Math.abs(error - line.relativeError) < 1e-3,
        `${name}, ${line.name}: ${error}, reported ${line.relativeError}`,
      );
    }
  }
});

test("keeps norms as they are", async (t) => {
  const pair = await checkpointPair(t, {}, { seed: 2 });
  await pair.compress();
  await using restored = await pair.restore();
  assert.deepEqual(await read(restored, norm), await read(pair.tuned, norm));
});

test("spends no byte on what the fine-tune left alone", async (t) => {
  const change: CheckpointVariation["change"] = ({ name }, values) => {
    if (name === queries || name === norm) for (let i = 0; i < values.length; i++) values[i]! += 0.1;
  };
  const pair = await checkpointPair(t, {}, { change });
  const report = await pair.compress();
  const changed = report.tensors.filter(({ form }) => form !== "unchanged");
  assert.deepEqual(
    changed.map(({ name }) => name),
    [queries, norm],
  );
  assert.ok(report.tensors.every(({ form, diskBytes }) => (form === "unchanged") === (diskBytes === 0)));
  await using restored = await pair.restore();
  assert.deepEqual(await read(restored, embedding), await read(pair.base, embedding));
});

test("a fine-tune that changed nothing is an empty delta", async (t) => {
  const pair = await checkpointPair(t, {}, {});
  const report = await pair.compress();
  assert.equal(report.total.diskBytes, 0);
  assert.equal(report.total.relativeError, 0);
  await using restored = await pair.restore();
  assert.deepEqual(await read(restored, queries), await read(pair.tuned, queries));
});

test("keeps vocabulary rows beyond the base's whole, in embedding and head", async (t) => {
  const pair = await checkpointPair(t, { tied: false }, { tied: false, vocabSize: 27, seed: 2 });
  await pair.compress();
  await using restored = await pair.restore();
  assert.equal(restored.config.vocabSize, 27);
  for (const name of [embedding, head]) {
    const [ours, theirs] = [await read(restored, name), await read(pair.tuned, name)];
    assert.deepEqual(ours.subarray(24 * 160), theirs.subarray(24 * 160), name);
  }
});

test("restores in the dtype of the fine-tune, whatever the base's", async (t) => {
  const pair = await checkpointPair(t, { dtype: "BF16" }, { dtype: "F16", seed: 2 });
  await pair.compress();
  await using restored = await pair.restore();
  for (const name of [embedding, queries, norm]) assert.equal(restored.tensors.get(name)?.dtype, "f16");
});

test("writes the same artifact however many threads encode it", async (t) => {
  const pair = await checkpointPair(t, {}, { seed: 2 });
  await pair.compress({ threads: 1, out: join(pair.folder, "one") });
  await pair.compress({ threads: 3, out: join(pair.folder, "three") });
  for (const file of ["delta.json", "delta.safetensors"]) {
    assert.deepEqual(
      await readFile(join(pair.folder, "one", file)),
      await readFile(join(pair.folder, "three", file)),
      file,
    );
  }
});

test("stores the text files in which the fine-tune differs, and restores all of them", async (t) => {
  const baseFiles = {
    "tokenizer.json": '{ "model": { "vocab": ["a"] } }',
    "tokenizer_config.json": '{ "bos_token": "<s>", "chat_template": "old" }',
    "generation_config.json": '{ "eos_token_id": 2 }',
  };
  const tunedFiles = { ...baseFiles, "tokenizer.json": '{"model":{"vocab":["a"]}}', "chat_template.jinja": "new" };
  const pair = await checkpointPair(t, { files: baseFiles }, { files: tunedFiles, seed: 2 });
  await pair.compress();
  assert.deepEqual(await filesIn(pair.out), ["chat_template.jinja", "config.json", "delta.json", "delta.safetensors"]);
  await using restored = await pair.restore();
  assert.equal(restored.text.chatTemplate, "new");
  assert.deepEqual(restored.text.tokenizer, { model: { vocab: ["a"] } });
  assert.deepEqual(restored.text.tokenizerConfig, { bos_token: "<s>" });
  assert.deepEqual(restored.text.generationConfig, { eos_token_id: 2 });
});

test("refuses checkpoints that do not fit each other, in a sentence", async (t) => {
  const pair = await checkpointPair(t, {}, { hiddenSize: 168 });
  await assert.rejects(pair.compress(), (error) => {
    return error instanceof CannotCompress && /its hiddenSize is 168, the base's is 160/.test(error.message);
  });
  assert.deepEqual(await filesIn(pair.folder), ["base", "tuned"]);
});

test("refuses values that are not finite, names the tensor, and leaves nothing behind", async (t) => {
  // In a matrix, in a norm, and in a vocabulary row that the base does not have.
  const cases = [
    [queries, Number.NaN],
    [norm, Number.POSITIVE_INFINITY],
    [embedding, Number.NEGATIVE_INFINITY],
  ] as const;
  for (const [poisoned, value] of cases) {
    const change: CheckpointVariation["change"] = ({ name }, values) => {
      if (name === poisoned) values[values.length - 1] = value;
    };
    const pair = await checkpointPair(t, {}, { seed: 2, vocabSize: 25, change });
    await assert.rejects(pair.compress({ threads: 2 }), (error) => {
      return error instanceof CannotCompress && error.message.includes(poisoned) && error.details.tensor === poisoned;
    });
    assert.deepEqual(await filesIn(pair.folder), ["base", "tuned"]);
  }
});

test("stops when it is told to, and leaves what the next run goes on from", async (t) => {
  const pair = await checkpointPair(t, {}, { seed: 2 });
  for (const after of [1, 5]) {
    const controller = new AbortController();
    const reason = new KindredError("interrupted", 499, "Enough");
    const compressing = pair.compress({
      signal: controller.signal,
      onProgress: ({ tensorsDone }) => tensorsDone === after && controller.abort(reason),
    });
    await assert.rejects(compressing, reason);
    assert.deepEqual(await filesIn(pair.folder), ["base", "delta.partial", "tuned"]);
  }
});

const text = Array.from({ length: 12 }, (_, seed) => ({
  tokens: Array.from({ length: 8 }, (_, at) => Math.floor(24 * uniformAt(seed, at))),
  weight: 1,
}));

test("calibrated, it loses less of what the layers do, with and without an output head of its own", async (t) => {
  for (const tied of [true, false]) {
    const pair = await checkpointPair(t, { tied }, { tied, seed: 2 });
    const before = await pair.compress({ out: join(pair.folder, "free") });
    const after = await pair.compress({ calibration: text });
    assert.equal(after.total.residentBytes, before.total.residentBytes);
    assert.deepEqual(after.codec.options, { planes: 2, calibrated: true });
    const [free, calibrated] = await Promise.all(
      ["free", "delta"].map(async (name) => {
        await using delta = await openDelta(join(pair.folder, name));
        const out = join(pair.folder, `restored-${name}`);
        await restoreCheckpoint({ base: pair.base, delta, out });
        await using restored = await openCheckpoint(out);
        return await headInputMiss(pair.tuned, restored);
      }),
    );
    assert.ok(calibrated! < 0.8 * free!, `${calibrated} calibrated, ${free} without, tied ${tied}`);
  }
});

test("refuses text for a codec that has no use for it", async (t) => {
  const pair = await checkpointPair(t, {}, { seed: 2 });
  const compressing = pair.compress({ codec: createCodec("bitdelta"), calibration: text });
  await assert.rejects(compressing, /"bitdelta" does not calibrate/);
});

test("a run that was stopped is gone on with, to the same bytes", async (t) => {
  const pair = await checkpointPair(t, {}, { seed: 2 });
  await pair.compress({ calibration: text, out: join(pair.folder, "whole") });
  const reason = new KindredError("interrupted", 499, "Enough");
  for (const after of [5, 9]) {
    const controller = new AbortController();
    const compressing = pair.compress({
      calibration: text,
      signal: controller.signal,
      onProgress: ({ tensorsDone }) => tensorsDone === after && controller.abort(reason),
    });
    await assert.rejects(compressing, reason);
  }
  await pair.compress({ calibration: text });
  for (const file of ["delta.json", "delta.safetensors"]) {
    assert.deepEqual(await readFile(join(pair.out, file)), await readFile(join(pair.folder, "whole", file)));
  }
  assert.deepEqual(await filesIn(pair.folder), ["base", "delta", "tuned", "whole"]);
});

test("reports progress up to the last tensor", async (t) => {
  const pair = await checkpointPair(t, {}, { seed: 2 });
  const seen: string[] = [];
  await pair.compress({
    onProgress: (p) => seen.push(`${p.tensorsDone}/${p.tensorsTotal} ${p.bytesDone === p.bytesTotal}`),
  });
  assert.equal(seen.length, pair.tuned.tensors.size);
  assert.equal(seen.at(-1), `${seen.length}/${seen.length} true`);
});

test("writes over nothing", async (t) => {
  const pair = await checkpointPair(t, {}, { seed: 2 });
  await writeFile(pair.out, "mine");
  await assert.rejects(pair.compress(), AlreadyExists);
  assert.equal(await readFile(pair.out, "utf8"), "mine");
});

test("restores against no other base than the one it was made against", async (t) => {
  const pair = await checkpointPair(t, {}, { seed: 2 });
  await pair.compress();
  await using other = await openCheckpoint(await writeCheckpoint(join(pair.folder, "other"), { seed: 3 }));
  await using delta = await openDelta(pair.out);
  const out = join(pair.folder, "restored");
  await assert.rejects(restoreCheckpoint({ base: other, delta, out }), BaseMismatch);
  assert.deepEqual(await filesIn(pair.folder), ["base", "delta", "other", "tuned"]);
});

test("restores nothing from a damaged blob", async (t) => {
  const pair = await checkpointPair(t, {}, { seed: 2 });
  await pair.compress();
  const path = join(pair.out, "delta.safetensors");
  const bytes = await readFile(path);
  bytes[bytes.length - 100]! ^= 1;
  await writeFile(path, bytes);
  await assert.rejects(pair.restore(), /do not match their checksum/);
  assert.deepEqual(await filesIn(pair.folder), ["base", "delta", "tuned"]);
});

/** A base and a fine-tune on disk, open until the test ends, and the places that belong to them. */
interface Pair {
  readonly folder: string;
  readonly out: string;
  readonly base: Checkpoint;
  readonly tuned: Checkpoint;
  compress(options?: Partial<CompressOptions>): Promise<DeltaReport>;
  restore(): Promise<Checkpoint>;
}

/** By how much the second moments of what two models' output heads take differ, relative to the first's. */
async function headInputMiss(tuned: Checkpoint, other: Checkpoint): Promise<number> {
  using device = Device.open({ kind: "cpu", threads: 1 });
  const moments: Float32Array[] = [];
  for (const checkpoint of [tuned, other]) {
    using lockstep = new Lockstep(device, checkpoint, text);
    moments.push(await lockstep.survey(new AbortController().signal, () => {}));
  }
  const [own, its] = moments as [Float32Array, Float32Array];
  const squares = (values: Float32Array) => values.reduce((sum, value) => sum + value ** 2, 0);
  return Math.sqrt(squares(own.map((value, i) => value - its[i]!)) / squares(own));
}

async function checkpointPair(
  t: TestContext,
  ofBase: CheckpointVariation,
  ofTuned: CheckpointVariation,
): Promise<Pair> {
  const folder = await temporaryFolder(t);
  const base = await openCheckpoint(await writeCheckpoint(join(folder, "base"), ofBase));
  const tuned = await openCheckpoint(await writeCheckpoint(join(folder, "tuned"), ofTuned));
  t.after(async () => {
    await base[Symbol.asyncDispose]();
    await tuned[Symbol.asyncDispose]();
  });
  const out = join(folder, "delta");
  return {
    folder,
    out,
    base,
    tuned,
    compress: (options) => compressDelta({ base, tuned, codec, out, threads: 1, ...options }),
    restore: async () => {
      await using delta = await openDelta(out);
      await restoreCheckpoint({ base, delta, out: join(folder, "restored") });
      return openCheckpoint(join(folder, "restored"));
    },
  };
}

async function read(checkpoint: Checkpoint, name: string): Promise<Float32Array> {
  const { byteLength, dtype, shape } = checkpoint.tensors.get(name)!;
  const bytes = new Uint8Array(byteLength);
  await checkpoint.read(name, bytes);
  return toFloat32(
    dtype,
    bytes,
    shape.reduce((product, extent) => product * extent, 1),
  );
}

function distance(a: Float32Array, b: Float32Array): number {
  return Math.sqrt(a.reduce((sum, value, i) => sum + (value - b[i]!) ** 2, 0));
}
