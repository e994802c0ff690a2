import assert from "node:assert/strict";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { InvalidFile, InvalidRequest, KindredError } from "../core/index.js";
import {
  blobsInOrder,
  type Checkpoint,
  FileSource,
  openCheckpoint,
  openDelta,
  readSafetensorsHeader,
  storedBytes,
} from "../formats/index.js";
import { type CheckpointVariation, filesIn, temporaryFolder, writeCheckpoint } from "./checkpoint-pair.test.kit.js";
import { createCodec } from "./codecs.js";
import {
  CannotCompress,
  type CompressOptions,
  compressDelta,
  NotExact,
  type Restored,
  restoreCheckpoint,
} from "./index.js";

const queries = "model.layers.0.self_attn.q_proj.weight";
const norm = "model.norm.weight";
const exact = createCodec("exact");
const distillation = {
  steps: 4,
  samples: [3, 5, 7, 11].map((step) => ({ tokens: Array.from({ length: 8 }, (_, at) => (at * step) % 24), from: 1 })),
};
const layered = [
  exact,
  createCodec("sign", { planes: 2 }),
  createCodec("bitdelta"),
  createCodec("deltazip"),
  createCodec("signlr", { rank: 32 }),
  createCodec("svd"),
];

test("restores the file itself, from the exact layer alone and beside any codec's planes and factors", async (t) => {
  const pair = await checkpointPair(t, { dtype: "BF16" }, { dtype: "BF16", seed: 2 });
  for (const codec of layered) {
    await pair.compress({ codec, exact: true });
    assert.equal(await pair.restore({ exact: true, threads: 3 }), "file", codec.name);
    assert.deepEqual(await weights(pair.restored), await weights(pair.tuned.path), codec.name);
    await pair.clear();
  }
});

test("restores every dtype over every other, whatever its values", async (t) => {
  const odd = [-0, 0, 1e-40, -1e-40, 6e-8, 65504, -3e38, 1e-7, 0.1];
  const change: CheckpointVariation["change"] = (_, values) => {
    for (const [i, value] of odd.entries()) values[values.length - 1 - i] = value;
  };
  for (const [ofBase, ofTuned] of [
    ["BF16", "F32"],
    ["F32", "BF16"],
    ["F16", "BF16"],
    ["BF16", "F16"],
    ["F32", "F32"],
  ] as const) {
    const pair = await checkpointPair(t, { dtype: ofBase }, { dtype: ofTuned, seed: 2, change });
    // Numbers as large as these make any two checkpoints strangers.
    await pair.compress({ codec: exact, force: true });
    assert.equal(await pair.restore({ exact: true }), "file");
    assert.deepEqual(await weights(pair.restored), await weights(pair.tuned.path), `${ofTuned} over ${ofBase}`);
  }
});

test("restores NaN and infinities, which have no planes", async (t) => {
  const change: CheckpointVariation["change"] = ({ name }, values) => {
    if (name === queries || name === norm) values.set([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]);
  };
  const pair = await checkpointPair(t, {}, { seed: 2, vocabSize: 26, change });
  await pair.compress({ codec: exact });
  assert.equal(await pair.restore({ exact: true }), "file");
  assert.deepEqual(await weights(pair.restored), await weights(pair.tuned.path));
  await pair.clear();
  await assert.rejects(pair.compress({ codec: layered[1]!, exact: true }), CannotCompress);
});

test("restores a sign of zero that no difference shows", async (t) => {
  const zeros: CheckpointVariation["change"] = ({ name }, values) => name === queries && values.fill(0);
  const negative: CheckpointVariation["change"] = ({ name }, values) => name === queries && values.fill(-0);
  const pair = await checkpointPair(t, { change: zeros }, { change: negative });
  const report = await pair.compress({ codec: layered[1]!, exact: true });
  assert.equal(report.tensors.find(({ name }) => name === queries)!.form, "unchanged + exact");
  assert.equal(await pair.restore({ exact: true }), "file");
  assert.deepEqual(await weights(pair.restored), await weights(pair.tuned.path));
});

test("restores what was distilled: scales by exact layers over their planes, vectors by layers over their own values", async (t) => {
  const pair = await checkpointPair(t, { dtype: "BF16" }, { dtype: "BF16", seed: 2 });
  await pair.compress({ codec: layered[1]!, exact: true, distillation });
  await using delta = await openDelta(pair.out);
  const vector = delta.tensors.get(norm);
  assert.ok(vector?.kind === "absolute" && vector.exact?.blob);
  assert.equal(await pair.restore({ exact: true }), "file");
  assert.deepEqual(await weights(pair.restored), await weights(pair.tuned.path));
  await rm(pair.restored, { recursive: true });
  assert.equal(await pair.restore({}), "approximation");
  await using served = await openCheckpoint(pair.restored);
  const [own, tuned] = await Promise.all([served, pair.tuned].map((checkpoint) => tensorOf(checkpoint, norm)));
  assert.notDeepEqual(own, tuned);
});

test("refuses text for a codec that makes no planes", async (t) => {
  const pair = await checkpointPair(t, {}, { seed: 2 });
  for (const text of [{ distillation }, { calibration: [{ tokens: [1, 2, 3], weight: 1 }] }]) {
    await assert.rejects(
      pair.compress({ codec: exact, ...text }),
      (error) => error instanceof InvalidRequest && /"exact" makes no planes/.test(error.message),
    );
  }
  assert.deepEqual(await filesIn(pair.folder), ["base", "tuned"]);
});

test("restores vocabulary rows beyond the base's", async (t) => {
  const pair = await checkpointPair(t, { tied: false }, { tied: false, vocabSize: 27, seed: 2 });
  for (const codec of [exact, layered[1]!]) {
    await pair.compress({ codec, exact: true });
    assert.equal(await pair.restore({ exact: true }), "file");
    assert.deepEqual(await weights(pair.restored), await weights(pair.tuned.path));
    await pair.clear();
  }
});

test("restores the tensors where the file had more or was in shards", async (t) => {
  const pair = await checkpointPair(t, {}, { seed: 2 });
  const name = "model-00001-of-00001.safetensors";
  const index = { weight_map: Object.fromEntries([...pair.tuned.tensors.keys()].map((tensor) => [tensor, name])) };
  await writeFile(join(pair.folder, "tuned", name), await weights(pair.tuned.path));
  await writeFile(join(pair.folder, "tuned", "model.safetensors.index.json"), JSON.stringify(index));
  await using tuned = await openCheckpoint(join(pair.folder, "tuned"));
  await pair.compress({ codec: exact, tuned });
  assert.equal(await pair.restore({ exact: true }), "tensors");
  await using restored = await openCheckpoint(pair.restored);
  assert.equal(await restored.fingerprint(), await tuned.fingerprint());
});

test("without being asked for the fine-tune itself, restores what is served of it", async (t) => {
  const pair = await checkpointPair(t, {}, { seed: 2 });
  await pair.compress({ codec: layered[1]!, exact: true });
  assert.equal(await pair.restore({}), "approximation");
  const served = await weights(pair.restored);
  await pair.clear();
  await pair.compress({ codec: layered[1]! });
  assert.equal(await pair.restore({}), "approximation");
  assert.deepEqual(await weights(pair.restored), served);
});

test("an artifact of exact layers alone is restored exactly without being asked", async (t) => {
  const pair = await checkpointPair(t, {}, { seed: 2 });
  await pair.compress({ codec: exact });
  assert.equal(await pair.restore({}), "file");
});

test("refuses to restore bit for bit what was compressed without that", async (t) => {
  const pair = await checkpointPair(t, {}, { seed: 2 });
  await pair.compress({ codec: layered[1]! });
  await assert.rejects(
    pair.restore({ exact: true }),
    (error) => error instanceof NotExact && /--exact/.test(error.message),
  );
  assert.deepEqual(await filesIn(pair.folder), ["base", "delta", "tuned"]);
});

test("exact layers come last in the file, behind everything that serving reads", async (t) => {
  const pair = await checkpointPair(t, {}, { seed: 2 });
  await pair.compress({ codec: layered[1]!, exact: true });
  await using source = await FileSource.open(join(pair.out, "delta.safetensors"));
  const names = [...(await readSafetensorsHeader(source)).entries.keys()];
  const first = names.findIndex((name) => name.endsWith(".exact"));
  assert.ok(first > 0);
  assert.ok(names.slice(first).every((name) => name.endsWith(".exact")));
});

test("reports what lies on disk and what serving holds", async (t) => {
  const pair = await checkpointPair(t, { dtype: "BF16" }, { dtype: "BF16", seed: 2 });
  const { total } = await pair.compress({ codec: layered[1]!, exact: true });
  await using delta = await openDelta(pair.out);
  const blobs = blobsInOrder(delta.tensors.values());
  const served = blobs.filter(({ name }) => !name.endsWith(".exact"));
  assert.equal(total.diskBytes, delta.totals.bytes);
  assert.equal(
    total.diskBytes,
    blobs.reduce((sum, blob) => sum + storedBytes(blob), 0),
  );
  assert.equal(
    total.residentBytes,
    // Vectors are resident in single precision.
    served.reduce((sum, { name, byteLength }) => sum + (name.endsWith(".value") ? 2 : 1) * byteLength, 0),
  );
  // Rows of 160 and 200 columns are padded to 256 in memory alone.
  assert.ok(served.some(({ code }) => code));
});

test("writes the same artifact however many threads compress it", async (t) => {
  const pair = await checkpointPair(t, {}, { seed: 2 });
  for (const threads of [1, 3]) {
    await pair.compress({ codec: layered[1]!, exact: true, threads, out: join(pair.folder, String(threads)) });
  }
  for (const file of ["delta.json", "delta.safetensors"]) {
    assert.deepEqual(await readFile(join(pair.folder, "1", file)), await readFile(join(pair.folder, "3", file)), file);
  }
});

test("a flipped bit anywhere in the blobs is found, and nothing is left behind", async (t) => {
  const pair = await checkpointPair(t, {}, { seed: 2 });
  await pair.compress({ codec: layered[2]!, exact: true });
  const path = join(pair.out, "delta.safetensors");
  const bytes = await readFile(path);
  await using delta = await openDelta(pair.out);
  await using source = await FileSource.open(path);
  const { entries } = await readSafetensorsHeader(source);
  const blobs = blobsInOrder(delta.tensors.values());
  for (const blob of blobs.filter((_, index) => index % 9 === 0 || index === blobs.length - 1)) {
    const at = entries.get(blob.name)!.offset + storedBytes(blob) - 1;
    bytes[at]! ^= 4;
    await writeFile(path, bytes);
    await assert.rejects(
      pair.restore({ exact: true }),
      (error) => error instanceof InvalidFile && error.details.blob === blob.name,
    );
    bytes[at]! ^= 4;
    assert.deepEqual(await filesIn(pair.folder), ["base", "delta", "tuned"]);
  }
});

test("stops when it is told to; compressing goes on from there, restoring leaves nothing behind", async (t) => {
  const pair = await checkpointPair(t, {}, { seed: 2 });
  const stopAfter = (tensors: number) => {
    const controller = new AbortController();
    const onProgress = ({ tensorsDone }: { tensorsDone: number }) =>
      tensorsDone === tensors && controller.abort(reason);
    return { signal: controller.signal, onProgress };
  };
  const reason = new KindredError("interrupted", 499, "Enough");
  await assert.rejects(pair.compress({ codec: exact, ...stopAfter(3) }), reason);
  assert.deepEqual(await filesIn(pair.folder), ["base", "delta.partial", "tuned"]);
  await pair.compress({ codec: exact });
  await assert.rejects(pair.restore({ exact: true, ...stopAfter(3) }), reason);
  assert.deepEqual(await filesIn(pair.folder), ["base", "delta", "tuned"]);
});

/** A base and a fine-tune on disk, open until the test ends, and the places that belong to them. */
async function checkpointPair(t: TestContext, ofBase: CheckpointVariation, ofTuned: CheckpointVariation) {
  const folder = await temporaryFolder(t);
  const base = await openCheckpoint(await writeCheckpoint(join(folder, "base"), ofBase));
  const tuned = await openCheckpoint(await writeCheckpoint(join(folder, "tuned"), ofTuned));
  t.after(async () => {
    await base[Symbol.asyncDispose]();
    await tuned[Symbol.asyncDispose]();
  });
  const out = join(folder, "delta");
  const restored = join(folder, "restored");
  return {
    folder,
    base,
    tuned,
    out,
    restored,
    compress: (options: Partial<CompressOptions>) =>
      compressDelta({ base, tuned, codec: exact, out, threads: 1, ...options }),
    restore: async (options: Partial<Parameters<typeof restoreCheckpoint>[0]>): Promise<Restored> => {
      await using delta = await openDelta(out);
      return await restoreCheckpoint({ base, delta, out: restored, threads: 1, ...options });
    },
    /** Removes what was made. */
    clear: async () => {
      await rm(out, { recursive: true, force: true });
      await rm(restored, { recursive: true, force: true });
    },
  };
}

async function tensorOf(checkpoint: Checkpoint, name: string): Promise<Uint8Array> {
  const bytes = new Uint8Array(checkpoint.tensors.get(name)!.byteLength);
  await checkpoint.read(name, bytes);
  return bytes;
}

function weights(folder: Checkpoint["path"]): Promise<Buffer> {
  return readFile(join(folder, "model.safetensors"));
}
