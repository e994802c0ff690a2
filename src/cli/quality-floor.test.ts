import assert from "node:assert/strict";
import { cp, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import {
  type Allocation,
  compressDelta,
  createCodec,
  type DeltaCodec,
  reportOf,
  restoreCheckpoint,
  type Survey,
} from "../delta/index.js";
import { openCheckpoint, openDelta } from "../formats/index.js";
import { type Attempts, attemptOf, attemptsAt, compressToFloor, QualityTooLow } from "./quality-floor.js";

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
function* oneThenTwo(): Attempts {
  yield* planes;
}

/** Tries one and two planes against a floor; → how many planes were written. */
async function planesFor(maxKl: number, force = false, attempts: Attempts = oneThenTwo()): Promise<unknown> {
  const out = join(folder, `out-${runs++}`);
  const make = async (codec: DeltaCodec | Allocation, path: string) => {
    await cp(join(folder, `made-${codec.options.planes}`), path, { recursive: true });
    await using delta = await openDelta(path);
    return reportOf(delta);
  };
  const signal = new AbortController().signal;
  await compressToFloor({ base, tuned, out, attempts, floor: { maxKl, check: [check], force }, signal }, make);
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

test("a codec that was asked for is tried alone", async () => {
  assert.equal(await planesFor(50, false, attemptOf(planes[1]!)), 2);
  await assert.rejects(planesFor(1e-9, false, attemptOf(planes[0]!)), QualityTooLow);
});

const bytes = [0, 100, 200, 300, 400];
const survey: Survey = {
  candidates: new Map([
    [
      "a",
      bytes.map((own, planes) => ({
        codec: planes === 0 ? null : createCodec("sign", { planes }),
        bytes: own,
        losses: [4 ** -planes],
      })),
    ],
  ]),
  fixedBytes: 0,
  parameters: 1000,
};
const planesTried = (attempts: Attempts, klOf: (planes: number) => number) => {
  const tried: number[] = [];
  for (let next = attempts.next(); !next.done; next = attempts.next(klOf(tried.at(-1)!))) {
    assert.ok("codecs" in next.value);
    tried.push(Number(next.value.codecs.get("a")?.options.planes ?? 0));
  }
  return tried;
};

test("auto spends more after an attempt that lost too much, until nothing is left to spend", () => {
  const klOf = (planes: number) => 3 * 4 ** -planes;
  assert.deepEqual(planesTried(attemptsAt(survey, {}, { maxKl: 0.03 }), klOf), [3, 4]);
  assert.deepEqual(planesTried(attemptsAt(survey, {}, { maxKl: 0.03, bitsMax: 1.7 }), klOf), [2]);
  assert.deepEqual(planesTried(attemptsAt(survey, {}, { maxKl: 1e-9 }), klOf), [4]);
});
