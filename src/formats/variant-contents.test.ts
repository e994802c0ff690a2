import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { servedBlobs } from "./delta-tensor.js";
import { openCheckpoint } from "./open-checkpoint.js";
import { openVariant } from "./open-variant.js";
import { pairOf, writeAdapter } from "./peft-adapter.test.kit.js";
import { temporaryFolder } from "./tiny-checkpoint.test.kit.js";
import { contentsForm, packContents } from "./variant-contents.js";
import type { VariantSource } from "./variant-source.js";

const family = "models/tiny/variants";
const base = await openCheckpoint("models/tiny/base");
after(() => base[Symbol.asyncDispose]());

type Source = Pick<VariantSource, "tensors" | "file" | "locate">;

/** Every blob of a variant is where the open variant says, also by the form of another. */
async function checkLocations(source: Source, form = contentsForm(source)): Promise<void> {
  const contents = packContents(source, form);
  const blobs = servedBlobs([...source.tensors.values()]);
  assert.ok(blobs.length > 0);
  for (const blob of blobs) assert.deepEqual(contents.locate(blob.name), located(source, blob));
  await using file = await contents.reopen();
  assert.equal(file.path, source.file.path);
}

/** Without what blobs have that is not stored. */
function located(source: Source, blob: Parameters<VariantSource["locate"]>[0]) {
  const { name, byteLength, sha256, offset, storedBytes, form } = source.locate(blob);
  return { name, byteLength, sha256, offset, storedBytes, form };
}

test("packed contents say of every blob what the artifact said", async () => {
  for (const name of readdirSync(family)) {
    await using source = await openVariant(join(family, name), base, { isChecked: true });
    await checkLocations(source);
  }
});

test("variants of one recipe have one form, whichever of their planes are coded", async () => {
  await using plain = await openVariant(join(family, "clinc"), base, { isChecked: true });
  const { tensors, file } = plain;
  const planes = [...tensors.values()].filter((tensor) => tensor.kind === "planes");
  const codedAt = (turn: number): Parameters<typeof checkLocations>[0] => ({
    tensors,
    file,
    locate: (blob) => {
      const at = planes.findIndex((tensor) => tensor.planes.includes(blob));
      if (at < 0 || at % 2 !== turn) return plain.locate(blob);
      const { planeDType, shape } = planes[at]!;
      const form = { kind: "coded", dtype: planeDType!, shape: { rows: shape[0]!, cols: shape[1]! } } as const;
      return { ...plain.locate(blob), storedBytes: blob.byteLength - 100, form };
    },
  });
  const form = contentsForm(plain);
  for (const turn of [0, 1]) {
    assert.deepEqual(contentsForm(codedAt(turn)), form);
    await checkLocations(codedAt(turn), form);
  }
});

test("an adapter has no checksums, and keeps what makes halves of its floats", async (t) => {
  const folder = join(await temporaryFolder(t), "adapter");
  const noise = (rows: number, cols: number) => ({
    shape: [rows, cols],
    values: new Float32Array(rows * cols).fill(0.5),
  });
  await writeAdapter(folder, pairOf("model.layers.0.self_attn.v_proj", noise(4, 256), noise(128, 4)));
  await using source = await openVariant(folder, base);
  await checkLocations(source);
  const kinds = servedBlobs([...source.tensors.values()]).map((blob) => source.locate(blob));
  assert.ok(kinds.every(({ sha256, form }) => sha256 === null && form.kind === "scaled"));
});
