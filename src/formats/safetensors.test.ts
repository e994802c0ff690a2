import assert from "node:assert/strict";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { InvalidFile, KindredError } from "../core/index.js";
import { uniformAt } from "../util/index.js";
import { FileSource } from "./byte-source.js";
import { readSafetensorsHeader } from "./safetensors.js";
import { writeSafetensors } from "./safetensors-writer.js";
import { bytesAsSource, temporaryFolder } from "./tiny-checkpoint.test.kit.js";

/** A file with this header and this many bytes of data. */
function file(header: unknown, dataBytes: number): Uint8Array {
  const json = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  return bytes;
}

const tensor = (shape: number[], begin: number, end: number, dtype = "F32") => ({
  dtype,
  shape,
  data_offsets: [begin, end],
});
const parse = (bytes: Uint8Array) => readSafetensorsHeader(bytesAsSource(bytes));

test("reads back what it wrote, with the data on the asked alignment", async (t) => {
  const path = join(await temporaryFolder(t), "w.safetensors");
  const a = Uint8Array.from({ length: 24 }, (_, index) => index);
  await writeSafetensors(
    path,
    [
      { name: "a", dtype: "F32", shape: [2, 3], bytes: a },
      { name: "empty", dtype: "F16", shape: [0, 4], bytes: new Uint8Array() },
      { name: "b", dtype: "BF16", shape: [1], bytes: async () => Uint8Array.of(7, 8) },
      { name: "blob", dtype: "U8", shape: [3], bytes: Uint8Array.of(1, 2, 3) },
    ],
    { metadata: { format: "pt" }, alignment: 4096 },
  );
  await using source = await FileSource.open(path);
  const { entries, metadata } = await readSafetensorsHeader(source);
  assert.deepEqual(metadata, { format: "pt" });
  assert.deepEqual([...entries.keys()], ["a", "empty", "b", "blob"]);
  assert.deepEqual(entries.get("a"), { name: "a", dtype: "F32", shape: [2, 3], offset: 4096, byteLength: 24 });
  assert.deepEqual((await readFile(path)).subarray(4096), Buffer.from([...a, 7, 8, 1, 2, 3]));
});

test("leaves neither half a file nor its temporary when a tensor cannot be made", async (t) => {
  const folder = await temporaryFolder(t);
  const path = join(folder, "w.safetensors");
  await writeFile(path, "old");
  const failing = () => Promise.reject(new Error("no such weights"));
  await assert.rejects(
    writeSafetensors(path, [{ name: "a", dtype: "U8", shape: [1], bytes: failing }]),
    /no such weights/,
  );
  assert.deepEqual(await readdir(folder), ["w.safetensors"]);
  assert.equal(await readFile(path, "utf8"), "old");
});

const malformed: Readonly<Record<string, { bytes: Uint8Array; says: RegExp }>> = {
  "shorter than its length prefix": { bytes: new Uint8Array(5), says: /has 5 bytes/ },
  "with a header that ends after the file": {
    bytes: file("{}", 0).subarray(0, 9),
    says: /truncated: the header ends at byte 10/,
  },
  "with an absurd header length": { bytes: new Uint8Array(64).fill(0xff), says: /announce a header of/ },
  "with a header that is not JSON": { bytes: file("{oops}", 0), says: /not valid JSON/ },
  "with a header that is not UTF-8": {
    bytes: Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe),
    says: /not valid JSON/,
  },
  "with a header that is an array": { bytes: file([], 0), says: /not a JSON object/ },
  "with an unknown dtype": {
    bytes: file({ a: tensor([1], 0, 8, "F64") }, 8),
    says: /"a" has dtype "F64"; known are F32/,
  },
  "with a dtype named like a method": { bytes: file({ a: tensor([1], 0, 4, "toString") }, 4), says: /has dtype/ },
  "with a negative extent": { bytes: file({ a: tensor([-1], 0, 4) }, 4), says: /has shape \[-1\]/ },
  "with offsets the wrong way round": { bytes: file({ a: tensor([1], 4, 0) }, 4), says: /has data_offsets \[4,0\]/ },
  "with too few bytes for a shape": {
    bytes: file({ a: tensor([3], 0, 8) }, 8),
    says: /"a" has 8 bytes, but F32 of shape \[3\] takes 12/,
  },
  "with a shape whose product overflows": {
    bytes: file({ a: tensor([2 ** 40, 2 ** 40], 0, 4) }, 4),
    says: /has 4 bytes/,
  },
  "that ends inside a tensor": { bytes: file({ a: tensor([4], 0, 16) }, 12), says: /truncated: tensor "a"/ },
  "with overlapping tensors": {
    bytes: file({ a: tensor([2], 0, 8), b: tensor([2], 4, 12) }, 12),
    says: /"b" overlaps/,
  },
  "with a gap between tensors": {
    bytes: file({ a: tensor([1], 0, 4), b: tensor([1], 8, 12) }, 12),
    says: /"b" leaves a gap/,
  },
  "with bytes after the last tensor": { bytes: file({ a: tensor([1], 0, 4) }, 9), says: /tensors end at byte/ },
  "with metadata that is not text": { bytes: file({ __metadata__: { n: 1 } }, 0), says: /__metadata__/ },
};

for (const [kind, { bytes, says }] of Object.entries(malformed)) {
  test(`refuses a file ${kind}`, async () => {
    await assert.rejects(parse(bytes), (error) => error instanceof InvalidFile && says.test(error.message));
  });
}

test("answers every truncation and any flipped bits with a parse or a typed error", async () => {
  const whole = file({ a: tensor([2, 3], 0, 24), b: tensor([4], 24, 28, "U8"), __metadata__: { x: "y" } }, 28);
  for (let length = 0; length < whole.length; length++) {
    await assert.rejects(parse(whole.subarray(0, length)), InvalidFile, `the first ${length} bytes`);
  }
  for (let seed = 0; seed < 2000; seed++) {
    const bytes = whole.slice();
    for (let flip = 0; flip <= seed % 4; flip++) {
      bytes[Math.floor(uniformAt(seed, 2 * flip) * bytes.length)]! ^=
        1 << Math.floor(uniformAt(seed, 2 * flip + 1) * 8);
    }
    await parse(bytes).catch((error: unknown) => assert.ok(error instanceof KindredError, `seed ${seed}: ${error}`));
  }
});
