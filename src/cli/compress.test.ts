import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { promisify } from "node:util";
import { type DeltaReport, restoreCheckpoint } from "../delta/index.js";
import { openCheckpoint, openDelta } from "../formats/index.js";

const run = promisify(execFile);
const folder = await mkdtemp(join(tmpdir(), "kindred-compress-"));
after(() => rm(folder, { recursive: true, force: true }));
{
  await using base = await openCheckpoint("models/tiny/base");
  await using delta = await openDelta("models/tiny/variants/clinc");
  await restoreCheckpoint({ base, delta, out: join(folder, "tuned") });
}
const check = join(folder, "check.jsonl");
const question = { messages: [{ role: "user", content: "how much money do i have in savings" }], answer: "balance" };
await writeFile(check, `${JSON.stringify(question)}\n`);

/** Runs `kindred compress` on the embedded clinc fine-tune. */
async function compress(out: string, ...flags: string[]): Promise<DeltaReport & { worst?: { kl: number } }> {
  const pair = ["--base", "models/tiny/base", "--tuned", join(folder, "tuned"), "--out", join(folder, out)];
  const { stdout } = await run(process.execPath, ["dist/cli/main.js", "compress", ...pair, ...flags, "--json"]);
  return JSON.parse(stdout);
}

test("writes what keeps enough on the text that it is checked on, and says how much", async () => {
  const { total, worst } = await compress("kept", "--planes", "1", "--max-kld", "5", "--check", check);
  assert.ok(total.bitsPerWeight > 1 && total.bitsPerWeight < 1.2);
  assert.ok(worst && worst.kl > 0 && worst.kl < 5);
  await using delta = await openDelta(join(folder, "kept"));
  assert.deepEqual(delta.codec, { name: "sign", options: { planes: 1 } });
});

test("chooses a form for every matrix within the bits that it is given", async () => {
  const { total } = await compress("auto", "--codec", "auto", "--target-bits", "1.3", "--calibrate", check);
  assert.ok(total.bitsPerWeight > 1.15 && total.bitsPerWeight <= 1.3, `${total.bitsPerWeight} bits a weight`);
  await using delta = await openDelta(join(folder, "auto"));
  assert.deepEqual(delta.codec, { name: "auto", options: { bits: 1.3, calibrated: true } });
});

for (const [what, flags, sentence] of [
  ["bits for a codec that was named", ["--codec", "sign", "--target-bits", "2"], /--target-bits is for --codec auto/],
  ["auto without an aim", ["--codec", "auto"], /--codec auto needs an aim/],
  [
    "auto with a choice that it makes itself",
    ["--codec", "auto", "--target-bits", "2", "--planes", "1"],
    /leave --planes out/,
  ],
  ["a floor without text to measure on", ["--max-kld", "1"], /needs text to measure on: --check/],
] as const) {
  test(`refuses ${what} before it begins`, async () => {
    await assert.rejects(compress("refused", ...flags), ({ stderr }) => sentence.test(stderr));
    assert.deepEqual((await readdir(folder)).filter((name) => name.startsWith("refused")), []); // biome-ignore format: one thing
  });
}
