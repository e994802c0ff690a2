import assert from "node:assert/strict";
import { test } from "node:test";
import { InvalidFile, KindredError, UnsupportedModel } from "../core/index.js";
import { uniformAt } from "../util/index.js";
import { readGgufHeader } from "./gguf.js";
import { ggufBytes, type TypedValue } from "./gguf.test.kit.js";
import { bytesAsSource } from "./tiny-checkpoint.test.kit.js";

const metadata: Readonly<Record<string, TypedValue>> = {
  "general.architecture": { text: "llama" },
  count: { u32: 7 },
  eps: { f32: 0.5 },
  flag: { bool: true },
  words: { texts: ["a", "", "é"] },
  types: { i32s: [1, 3] },
  scores: { f32s: [-1, 0.25] },
};
const tensors = [
  { name: "a", shape: [2, 3], bytes: Buffer.alloc(24, 1) },
  { name: "b", shape: [2, 32], dtype: "q8_0" },
  { name: "c", shape: [5] },
] as const;
const whole = ggufBytes(metadata, tensors);
const parse = (bytes: Uint8Array) => readGgufHeader(bytesAsSource(bytes));

/** The file with `bytes` written over it where `after` ends. */
function patched(after: string, bytes: readonly number[], skip = 0): Uint8Array {
  const copy = Buffer.from(whole);
  const at = copy.indexOf(after);
  assert.ok(at >= 0);
  copy.set(bytes, at + after.length + skip);
  return copy;
}

test("reads metadata of every kind and places tensors", async () => {
  const header = await parse(whole);
  assert.deepEqual(Object.fromEntries(header.metadata), {
    "general.architecture": "llama",
    count: 7,
    eps: 0.5,
    flag: true,
    words: ["a", "", "é"],
    types: [1, 3],
    scores: [-1, 0.25],
  });
  const placed = [...header.tensors.values()].map(({ name, shape, dtype, byteLength }) => [
    name,
    shape,
    dtype,
    byteLength,
  ]);
  assert.deepEqual(placed, [
    ["a", [2, 3], "f32", 24],
    ["b", [2, 32], "q8_0", 68],
    ["c", [5], "f32", 20],
  ]);
  const { offset } = header.tensors.get("a")!;
  assert.deepEqual([...whole.subarray(offset, offset + 24)], [...tensors[0].bytes]);
});

test("reads a header that is longer than the first read", async () => {
  const words = Array.from({ length: 80_000 }, (_, index) => `word ${index}`);
  const header = await parse(ggufBytes({ words: { texts: words } }, tensors));
  assert.equal((header.metadata.get("words") as string[]).at(-1), "word 79999");
  assert.equal(header.tensors.size, 3);
});

const refused: ReadonlyArray<readonly [what: string, bytes: Uint8Array, says: RegExp, as?: typeof UnsupportedModel]> = [
  ["that is something else", Buffer.from("PK\u0003\u0004 and more text than a header"), /begins with "PK/],
  ["of version 1", patched("GGUF", [1]), /GGUF version 1; 2 and 3 are read/, UnsupportedModel],
  ["in big-endian order", patched("GGUF", [0, 0, 0, 3]), /little-endian/, UnsupportedModel],
  ["with more tensors than it could hold", patched("GGUF", [255, 255], 4), /announces 65535 tensors/],
  [
    "with a string that does not end",
    patched("general.architecture", [255, 255, 255], 4),
    /is truncated: its header needs/,
  ],
  ["with an unknown value type", patched("eps", [99]), /metadata "eps" has value type 99/],
  ["with an array of arrays", patched("types", [9], 4), /"types" is an array of value type 9/],
  ["with an array longer than it", patched("types", [0, 0, 255], 8), /announces 16711680 items of "types"/],
  ["with an unknown element type", patched("b", [29], 20), /tensor "b" has ggml element type 29/, UnsupportedModel],
  ["with a tensor of five axes", patched("b", [5]), /tensor "b" has 5 axes/],
  ["with rows that fill no blocks", patched("b", [33], 4), /tensor "b" has rows of 33, which do not fill q8_0 blocks/],
  ["with an empty tensor", patched("b", [0], 4), /tensor "b" has shape \[2, 0\]/],
  ["with overlapping tensors", patched("b", [0], 24), /tensor "b" begins at byte \d+, inside the tensor before it/],
  ["with a misaligned tensor", patched("b", [40], 24), /tensor "b" has offset 40, which is not a multiple of 32/],
  ["with a tensor beyond its end", patched("b", [0, 1], 24), /is truncated: tensor "b" ends at byte/],
  ["with one key twice", ggufBytes({ a: { u32: 1 }, b: { u32: 1 } }, []).fill("b", 32, 33), /the key "b" twice/],
  ["with one tensor twice", ggufBytes({}, [tensors[0], tensors[0]]), /two tensors called "a"/],
  ["with an odd alignment", ggufBytes({ "general.alignment": { u32: 33 } }, []), /general.alignment is 33/],
];

for (const [what, bytes, says, as = InvalidFile] of refused) {
  test(`refuses a file ${what}`, async () => {
    await assert.rejects(parse(bytes), (error) => error instanceof as && says.test(error.message));
  });
}

test("answers every truncation with a typed error", async () => {
  const end = whole.length - 12; // the last tensor's padding may go
  for (let length = 0; length < end; length++) {
    await assert.rejects(parse(whole.subarray(0, length)), KindredError, `the first ${length} bytes`);
  }
});

test("answers any flipped bits with a parse or a typed error", async () => {
  for (let seed = 0; seed < 3000; seed++) {
    const bytes = Buffer.from(whole);
    for (let flip = 0; flip <= seed % 4; flip++) {
      bytes[Math.floor(uniformAt(seed, 2 * flip) * bytes.length)]! ^=
        1 << Math.floor(uniformAt(seed, 2 * flip + 1) * 8);
    }
    await parse(bytes).catch((error: unknown) => assert.ok(error instanceof KindredError, `seed ${seed}: ${error}`));
  }
});
