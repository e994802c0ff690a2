import assert from "node:assert/strict";
import { cp, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { compressDelta, createCodec, type DeltaCodec, reportOf, restoreCheckpoint } from "../delta/index.js";
import { openCheckpoint, openDelta } from "../formats/index.js";
import { autoCodecs, compressToFloor, QualityTooLow } from "./quality-floor.js";

const folder = await mkdtemp(join(tmpdir(), "kindred-floor-"));
after(() => rm(folder, { recursive: true, force: true }));
const base = await openCheckpoint("models/tiny/base");
{
  await using delta = await openDelta("models/tiny/variants/clinc");
  await restoreCheckpoint({ base, delta, out: join(folder, "tuned") });
}
const tuned = await openCheckpoint(join(folder, "tuned"));
const planes = [1, 2].map((count) => createCodec("sign", { planes: count }));
for (const codec of planes) {
  await compressDelta({ base, tuned, codec, out: join(folder, `made-${codec.options.planes}`), threads: 1 });
}
after(async () => {
  await base[Symbol.asyncDispose]();
  await tuned[Symbol.asyncDispose]();
});
const check = join(folder, "check.jsonl");
const question = { messages: [{ role: "user", content: "how much money do i have in savings" }], answer: "balance" };
await writeFile(
  check,
  `${JSON.stringify(question)}\n${JSON.stringify({ text: "One day the dog went to the park." })}\n`,
);

let runs = 0;
/** Tries one and two planes against a floor; → how many planes were written. */
async function planesFor(maxKl: number, force = false): Promise<unknown> {
  const out = join(folder, `out-${runs++}`);
  const make = async (codec: DeltaCodec, path: string) => {
    await cp(join(folder, `made-${codec.options.planes}`), path, { recursive: true });
    await using delta = await openDelta(path);
    return reportOf(delta);
  };
  const signal = new AbortController().signal;
  await compressToFloor({ base, tuned, out, codecs: planes, floor: { maxKl, check: [check], force }, signal }, make);
  await using written = await openDelta(out);
  return written.codec.options.planes;
}

test("takes the leanest delta that keeps enough", async () => {
  assert.equal(await planesFor(50), 1);
});

test("writes nothing when none does, unless it is forced to: then the richest", async () => {
  await assert.rejects(planesFor(1e-9), (error) => {
    return error instanceof QualityTooLow && /planes 2 it diverges .* nats a token on check/.test(error.message);
  });
  assert.deepEqual(
    (await readdir(folder)).filter((name) => name.startsWith(`out-${runs - 1}`)),
    [],
  );
  assert.equal(await planesFor(1e-9, true), 2);
});

test("auto takes as many planes as bits allow, and tries all of them where there is a floor", () => {
  const floor = { maxKl: 1, check: [check], force: false };
  const planesOf = (targetBits: number | undefined, own?: typeof floor) =>
    autoCodecs(tuned.config, { targetBits, floor: own }).map(({ options }) => options.planes);
  assert.deepEqual(planesOf(2.5), [2]);
  assert.deepEqual(planesOf(3.5, floor), [1, 2, 3]);
  assert.deepEqual(planesOf(undefined, floor), [1, 2, 3, 4]);
  assert.throws(() => planesOf(1), /One plane takes 1\.13 bits a weight, --target-bits allows 1$/);
  assert.throws(() => planesOf(undefined), /needs an aim/);
});
