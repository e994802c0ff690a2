import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { BaseMismatch, InvalidFile, KindredError, ownHeadName, parametersOf } from "../core/index.js";
import { uniformAt } from "../util/index.js";
import { FileSource } from "./byte-source.js";
import { checkBase, type DeltaArtifact, type DeltaContents, openDelta, writeDelta } from "./delta-artifact.js";
import {
  blobOfExact,
  blobOfExtraRows,
  blobOfPlane,
  blobOfValue,
  blobsInOrder,
  blobsOf,
  type DeltaBlob,
  type DeltaTensor,
  storedBytes,
  type UnchangedTensor,
} from "./delta-tensor.js";
import { parseModelConfig } from "./model-config.js";
import { openCheckpoint } from "./open-checkpoint.js";
import { storePlane } from "./plane-code.js";
import { readSafetensorsHeader } from "./safetensors.js";
import { temporaryFolder, tinyConfig, writeTinyFolder } from "./tiny-checkpoint.test.kit.js";

const embedding = "model.embed_tokens.weight";
const queries = "model.layers.0.self_attn.q_proj.weight";
const keys = "model.layers.0.self_attn.k_proj.weight";
const norm = "model.norm.weight";
const fingerprint = "5a".repeat(32);
const files = ["delta.json", "config.json", "tokenizer.json", "chat_template.jinja", "delta.safetensors"];

test("what was written is read again", async (t) => {
  const folder = await writeArtifact(t);
  await using artifact = await openDelta(folder);
  assert.deepEqual(artifact.codec, { name: "sign", options: { planes: 2 } });
  assert.deepEqual(artifact.base, { name: "tiny", fingerprint });
  assert.equal(artifact.config.vocabSize, 26);
  assert.deepEqual(artifact.text, { chatTemplate: "{{ messages }}", tokenizer: { version: "1" } });
  assert.deepEqual([...artifact.tensors.values()], exampleTensors());
  for (const blob of [...artifact.tensors.values()].flatMap(blobsOf)) {
    const bytes = new Uint8Array(blob.byteLength);
    await artifact.readBlob(blob, bytes);
    assert.deepEqual(bytes, exampleBytes(blob));
  }
});

test("blobs lie in slot order: whole values, then plane 1 of every tensor, then plane 2, on 64-byte boundaries", async (t) => {
  const folder = await writeArtifact(t);
  await using source = await FileSource.open(join(folder, "delta.safetensors"));
  const entries = [...(await readSafetensorsHeader(source)).entries.values()];
  assert.ok(entries.every(({ offset, byteLength }) => offset % 64 === 0 && byteLength % 64 === 0));
  const names = entries.map(({ name }) => name);
  assert.deepEqual(
    names,
    names.toSorted((a, b) => rank(a) - rank(b) || 0),
  );
  assert.deepEqual(names.slice(0, 2), [`${embedding}.extra_rows`, "model.layers.0.input_layernorm.weight.value"]);
  assert.equal(names.at(-1), "model.layers.1.mlp.down_proj.weight.plane2");
});

test("coded planes and exact layers are read as what they stand for", async (t) => {
  const stored = new Map<string, Uint8Array>();
  const plain = new Map<string, Uint8Array>();
  const tensors = exampleTensors({ planes: 1 }).map((tensor): DeltaTensor => {
    if (tensor.kind !== "planes" || tensor.name !== queries) return tensor;
    // Every scale the same, and all but 8 of 128 codes padding.
    const bytes = Uint8Array.from({ length: tensor.planes[0]!.byteLength }, (_, i) =>
      i % 18 < 2 ? 0x34 : i % 18 === 2 ? i : 0,
    );
    const plane = storePlane(queries, 0, "q1_0", { rows: 16, cols: 8 }, bytes);
    const code = Uint8Array.of(1, 2, 3, 4);
    const layer = blobOfExact(queries, 4, createHash("sha256").update(code).digest("hex"));
    stored.set(plane.blob.name, plane.stored).set(layer.name, code);
    plain.set(plane.blob.name, bytes).set(layer.name, code);
    return { ...tensor, planes: [plane.blob], exact: { sha256: fingerprint, blob: layer } };
  });
  const original = { sha256: fingerprint, header: '{"a":"ä"}  ' };
  const folder = await temporaryFolder(t);
  await writeDelta(folder, {
    codec: { name: "sign", options: {} },
    base: { name: "tiny", fingerprint },
    tensors: new Map(tensors.map((tensor) => [tensor.name, tensor])),
    configJson: exampleConfig(),
    text: {},
    original,
    readBlob: async (blob) => stored.get(blob.name) ?? exampleBytes(blob),
  });
  await using artifact = await openDelta(folder);
  assert.deepEqual([...artifact.tensors.values()], tensors);
  assert.deepEqual(artifact.original, original);
  const blobs = blobsInOrder(tensors);
  assert.equal(blobs.at(-1)!.name, `${queries}.exact`);
  assert.equal(
    artifact.totals.bytes,
    blobs.reduce((sum, blob) => sum + storedBytes(blob), 0),
  );
  for (const blob of blobs) {
    const bytes = new Uint8Array(blob.byteLength);
    await artifact.readBlob(blob, bytes);
    assert.deepEqual(bytes, plain.get(blob.name) ?? exampleBytes(blob));
  }
  const path = join(folder, "delta.safetensors");
  await using source = await FileSource.open(path);
  const { entries } = await readSafetensorsHeader(source);
  const file = await readFile(path);
  for (const name of stored.keys()) {
    const blob = blobs.find((other) => other.name === name)!;
    const at = entries.get(name)!.offset + storedBytes(blob) - 1;
    file[at]! ^= 1;
    await writeFile(path, file);
    const reading = artifact.readBlob(blob, new Uint8Array(blob.byteLength));
    await assert.rejects(reading, /do not match their checksum/);
    file[at]! ^= 1;
  }
});

test("a file that is cut short is refused", async (t) => {
  const folder = await writeArtifact(t);
  for (const file of files) {
    const path = join(folder, file);
    const bytes = await readFile(path);
    for (const kept of [0, 1, 8, Math.floor(bytes.length / 2), bytes.length - 2]) {
      await writeFile(path, bytes.subarray(0, kept));
      await assert.rejects(openDelta(folder), InvalidFile, `${file} of ${kept} bytes`);
    }
    await writeFile(path, bytes);
  }
});

test("a missing file is refused by name", async (t) => {
  const folder = await writeArtifact(t);
  for (const file of files) {
    await rename(join(folder, file), join(folder, "elsewhere"));
    await assert.rejects(openDelta(folder), (error) => error instanceof InvalidFile && error.message.includes(file));
    await rename(join(folder, "elsewhere"), join(folder, file));
  }
});

test("a flipped bit is found out, or changes nothing that can be seen", async (t) => {
  const folder = await writeArtifact(t);
  const pristine = await contentOf(folder);
  let found = 0;
  for (const file of files) {
    const path = join(folder, file);
    const bytes = await readFile(path);
    for (let seed = 0; seed < 60; seed++) {
      const bit = Math.floor(uniformAt(seed, bytes.length) * bytes.length * 8);
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      await writeFile(path, bytes);
      try {
        assert.deepEqual(await contentOf(folder), pristine, `${file}, seed ${seed}, bit ${bit}`);
      } catch (error) {
        assert.ok(error instanceof KindredError, `${file}, seed ${seed}, bit ${bit}: ${error}`);
        found += 1;
      }
      bytes[bit >> 3]! ^= 1 << (bit & 7);
    }
    await writeFile(path, bytes);
  }
  assert.ok(found > 200, `${found} of 300 flips found`);
});

test("a damaged blob is refused by name when it is read, and only then", async (t) => {
  const folder = await writeArtifact(t);
  const path = join(folder, "delta.safetensors");
  await using source = await FileSource.open(path);
  const { entries } = await readSafetensorsHeader(source);
  for (const blob of blobsInOrder(exampleTensors())) {
    const bytes = await readFile(path);
    bytes[entries.get(blob.name)!.offset + blob.byteLength - 1]! ^= 0x80;
    await writeFile(path, bytes);
    await using artifact = await openDelta(folder);
    await assert.rejects(artifact.readBlob(blob, new Uint8Array(blob.byteLength)), (error) => {
      return error instanceof InvalidFile && error.details.blob === blob.name;
    });
    bytes[entries.get(blob.name)!.offset + blob.byteLength - 1]! ^= 0x80;
    await writeFile(path, bytes);
  }
});

test("another format or version is refused before anything else is believed", async (t) => {
  const folder = await writeArtifact(t);
  const path = join(folder, "delta.json");
  const text = await readFile(path, "utf8");
  await writeFile(path, text.replace('"version": 1', '"version": 2'));
  await assert.rejects(openDelta(folder), /version is 2, expected 1/);
  await writeFile(path, text.replace("kindred-delta", "gindred-delta"));
  await assert.rejects(openDelta(folder), /format is "gindred-delta", expected "kindred-delta"/);
});

test("a manifest that contradicts itself or config.json is refused, however well its checksum fits", async (t) => {
  const tensor = (name: string, fields: object) => ({ tensors: { [name]: fields } });
  const cases: [change: object, sentence: RegExp][] = [
    [{ codec: { name: "" } }, /codec.name is "", expected text/],
    [{ codec: { options: { planes: [2] } } }, /codec.options.planes is \[2\]/],
    [{ base: { fingerprint: "5A" } }, /base.fingerprint is "5A", expected a SHA-256/],
    [{ totals: { parameters: 1 } }, /totals.parameters is 1, expected \d+/],
    [{ totals: { bytes: 1 } }, /totals.bytes is 1, expected \d+/],
    [{ tensors: null }, /tensors is not a JSON object/],
    [{ files: { "../evil.json": fingerprint } }, /lists a file "..\/evil.json"/],
    [{ files: { "generation_config.json": fingerprint } }, /generation_config.json: there is no such file/],
    [tensor(queries, { kind: "sparse" }), /q_proj.weight"\].kind is "sparse", expected one of/],
    [tensor(queries, { dtype: "q8_0" }), /q_proj.weight"\].dtype is "q8_0"/],
    [tensor(queries, { shape: [16, -8] }), /shape is \[16,-8\], expected a list of extents/],
    [tensor(queries, { norm: "large" }), /norm is "large", expected a number/],
    [tensor(queries, { planes: { dtype: "q4_k" } }), /planes.dtype is "q4_k"/],
    [tensor(queries, { planes: { coded: [3] } }), /planes.coded is \[3\], expected a list of byte lengths or null/],
    [
      tensor(queries, { planes: { coded: [null, 288] } }),
      /planes.coded is \[null,288\], expected byte lengths below .* 288/,
    ],
    [tensor(queries, { kind: "exact" }), /exact is not a JSON object/],
    [tensor(queries, { exact: { sha256: fingerprint, blob: { bytes: 0 } } }), /exact.blob.bytes is 0/],
    [{ original: { sha256: fingerprint } }, /original.header is .*expected text/],
    [tensor(queries, { planes: { sha256: [] } }), /planes.sha256 is \[\], expected a list of SHA-256/],
    [
      tensor(embedding, { extraRows: { count: 26 } }),
      /extraRows.count is 26, expected a whole number from 1 to below 26/,
    ],
    [tensor(norm, { extraRows: { count: 1 }, kind: "unchanged" }), /extraRows is .*, expected none for a vector/],
  ];
  const folder = await writeArtifact(t);
  const path = join(folder, "delta.json");
  const text = await readFile(path, "utf8");
  for (const [change, sentence] of cases) {
    await writeFile(
      path,
      edited(text, (manifest) => merge(manifest, change)),
    );
    await assert.rejects(
      openDelta(folder),
      (error) => error instanceof InvalidFile && sentence.test(error.message),
      String(sentence),
    );
  }
});

test("tensors that config.json does not ask for as they are, are refused", async (t) => {
  const change = (name: string, to: Partial<DeltaTensor>) => (tensors: DeltaTensor[]) =>
    tensors.map((tensor) => (tensor.name === name ? ({ ...tensor, ...to } as DeltaTensor) : tensor));
  const sha256 = fingerprint;
  const cases: [edit: (tensors: DeltaTensor[]) => DeltaTensor[], sentence: RegExp][] = [
    [(tensors) => tensors.filter(({ name }) => name !== queries), /q_proj.weight" is missing/],
    [(tensors) => [...tensors.slice(0, -2), ...tensors.slice(-2).reverse()], /is out of order/],
    [(tensors) => [...tensors, { ...tensors.at(-1)!, name: "extra" }], /it has a tensor "extra"/],
    [
      change(keys, { kind: "unchanged", shape: [16, 8], extraRows: null }),
      /k_proj.weight" has shape \[16, 8\], config.json asks for \[8, 8\]/,
    ],
    [
      change(keys, { kind: "absolute", value: blobOfValue(keys, "bf16", [8, 8], sha256) }),
      /has absolute values; only vectors/,
    ],
    [
      change(keys, {
        kind: "unchanged",
        extraRows: { count: 2, blob: blobOfExtraRows(keys, "bf16", { rows: 2, cols: 8 }, sha256) },
      }),
      /k_proj.weight" has extra rows; only a vocabulary/,
    ],
  ];
  for (const [edit, sentence] of cases) {
    const writing = writeArtifact(t, edit(exampleTensors()));
    await assert.rejects(
      openDelta(await writing),
      (error) => error instanceof InvalidFile && sentence.test(error.message),
    );
  }
});

test("an untied head has as many extra rows as the embedding", async (t) => {
  const config = tinyConfig({ vocab_size: 26, tie_word_embeddings: false });
  const lmHead: DeltaTensor = {
    name: "lm_head.weight",
    kind: "unchanged",
    dtype: "bf16",
    shape: [26, 8],
    extraRows: null,
  };
  const folder = await writeArtifact(t, [...exampleTensors(), lmHead], config);
  await assert.rejects(openDelta(folder), /"lm_head.weight" has 0 extra rows, the embedding has 2/);
});

test("a head is listed unless variant and base are both tied", async (t) => {
  const head: DeltaTensor = { ...exampleTensors()[0]!, name: ownHeadName, kind: "unchanged", extraRows: null };
  const tensors = exampleTensors().map((tensor) => {
    return tensor.name === embedding ? { ...unchanged(tensor), shape: [24, 8], extraRows: null } : tensor;
  });
  const problems: string[] = [];
  for (const isListed of [true, false]) {
    for (const tied of [true, false]) {
      const path = await temporaryFolder(t);
      await writeTinyFolder(path, tinyConfig({ tie_word_embeddings: tied }));
      await using base = await openCheckpoint(path);
      const origin = { name: "tiny", fingerprint: await base.fingerprint() };
      const all = isListed ? [...tensors, { ...head, shape: [24, 8] }] : tensors;
      await using delta = await openDelta(await writeArtifact(t, all, tinyConfig(), origin));
      const view = await checkBase(delta, base).catch(({ message }: Error) => {
        problems.push(/ it (.*), and/.exec(message)![1]!);
      });
      if (view) assert.equal(view.tensors.has(ownHeadName), isListed);
    }
  }
  assert.deepEqual(problems, [`has a tensor "${ownHeadName}"`, `lacks a tensor "${ownHeadName}"`]);
});

test("a variant of fewer words changes as many of the base's", async (t) => {
  const path = await temporaryFolder(t);
  await writeTinyFolder(path);
  await using base = await openCheckpoint(path);
  const origin = { name: "tiny", fingerprint: await base.fingerprint() };
  const tensors = exampleTensors().map((tensor) => {
    return tensor.name === embedding ? { ...unchanged(tensor), shape: [20, 8], extraRows: null } : tensor;
  });
  await using delta = await openDelta(await writeArtifact(t, tensors, tinyConfig({ vocab_size: 20 }), origin));
  const view = await checkBase(delta, base);
  assert.deepEqual(view.tensors.get(embedding)!.shape, [20, 8]);
});

test("a blob that is missing, added or of another size is refused by name", async (t) => {
  const without = (name: string) =>
    exampleTensors().map((tensor) => (tensor.name === name ? unchanged(tensor) : tensor));
  const cases: [written: DeltaTensor[], sentence: RegExp][] = [
    [
      without(queries),
      /blob \d+ is "model.layers.0.self_attn.k_proj.weight.plane1", delta.json asks for ".*q_proj.weight.plane1"/,
    ],
    [
      exampleTensors({ planes: 3 }),
      /it has a blob "model.embed_tokens.weight.plane3" that delta.json does not describe/,
    ],
    [exampleTensors({ planes: 1 }), /blob \d+ is missing, delta.json asks for ".*plane2"/],
    [exampleTensors({ dtype: "tq1_0" }), /blob ".*plane1" is \d+ bytes of U8, expected \d+ of U8/],
  ];
  for (const [written, sentence] of cases) {
    const folder = await writeArtifact(t);
    const other = await writeArtifact(t, written);
    await writeFile(join(folder, "delta.safetensors"), await readFile(join(other, "delta.safetensors")));
    await assert.rejects(
      openDelta(folder),
      (error) => error instanceof InvalidFile && sentence.test(error.message),
      String(sentence),
    );
  }
});

test("a text file that the manifest does not list is refused rather than ignored", async (t) => {
  const folder = await writeArtifact(t);
  await writeFile(join(folder, "generation_config.json"), "{}");
  await assert.rejects(openDelta(folder), /generation_config.json: delta.json does not list it/);
});

test("what is no artifact at all is refused", async (t) => {
  const folder = await temporaryFolder(t);
  await assert.rejects(openDelta(folder), /delta.json: there is no such file/);
  await assert.rejects(openDelta(join(folder, "nowhere")), InvalidFile);
  await writeFile(join(folder, "delta.json"), "[".repeat(100_000));
  await assert.rejects(openDelta(folder), InvalidFile);
});

test("applies to the base that it was made against and to no other", async (t) => {
  const path = await temporaryFolder(t);
  await writeTinyFolder(path);
  await using base = await openCheckpoint(path);

  await using stranger = await openDelta(await writeArtifact(t));
  await assert.rejects(checkBase(stranger, base), (error) => {
    return error instanceof BaseMismatch && /made against base "tiny" \(sha256 5a5a5a5a5a5a\)/.test(error.message);
  });

  const right = { name: "tiny", fingerprint: await base.fingerprint() };
  await using kin = await openDelta(await writeArtifact(t, exampleTensors(), exampleConfig(), right));
  await checkBase(kin, base);

  const tooFew = exampleTensors().map((tensor) =>
    tensor.name === embedding ? { ...unchanged(tensor), extraRows: null } : tensor,
  );
  await using impostor = await openDelta(await writeArtifact(t, tooFew, exampleConfig(), right));
  await assert.rejects(
    checkBase(impostor, base),
    /"model.embed_tokens.weight" changes a \[26, 8\], the base's is \[24, 8\]/,
  );
});

/** A variant of the tiny base with two more words in its vocabulary. */
function exampleConfig(): Record<string, unknown> {
  return tinyConfig({ vocab_size: 26 });
}

/** Planes for every matrix, absolute values for every norm but the last, which did not change. */
function exampleTensors({ planes = 2, dtype = "q1_0" as "q1_0" | "tq1_0" } = {}): DeltaTensor[] {
  return parametersOf(parseModelConfig("config.json", exampleConfig())).map(({ name, shape, kind }): DeltaTensor => {
    const any = { name, dtype: "bf16", shape } as const;
    if (name === norm) return { ...any, kind: "unchanged", extraRows: null };
    if (kind === "vector") return { ...any, kind: "absolute", value: hashed(blobOfValue(name, "bf16", shape, "")) };
    const [rows, cols] = shape as [number, number];
    const count = kind === "embedding" ? 2 : 0;
    const blob = hashed(blobOfExtraRows(name, "bf16", { rows: count, cols }, ""));
    const covered = { rows: rows - count, cols };
    return {
      ...any,
      kind: "planes",
      planeDType: dtype,
      planes: Array.from({ length: planes }, (_, plane) => hashed(blobOfPlane(name, plane, dtype, covered, ""))),
      factors: [],
      extraRows: count > 0 ? { count, blob } : null,
      norm: 1.5,
      error: 0.25,
    };
  });
}

function unchanged(tensor: DeltaTensor): UnchangedTensor {
  const { name, dtype, shape } = tensor;
  return { name, dtype, shape, kind: "unchanged", extraRows: tensor.kind === "absolute" ? null : tensor.extraRows };
}

/** Bytes that depend on a blob's name alone. */
function exampleBytes({ name, byteLength }: DeltaBlob): Uint8Array {
  const seed = createHash("sha256").update(name).digest().readUInt32LE();
  return Uint8Array.from({ length: byteLength }, (_, i) => uniformAt(seed, i) * 256);
}

function hashed(blob: DeltaBlob): DeltaBlob {
  return { ...blob, sha256: createHash("sha256").update(exampleBytes(blob)).digest("hex") };
}

async function writeArtifact(
  t: TestContext,
  tensors = exampleTensors(),
  configJson: Readonly<Record<string, unknown>> = exampleConfig(),
  base = { name: "tiny", fingerprint },
): Promise<string> {
  const folder = await temporaryFolder(t);
  const contents: DeltaContents = {
    codec: { name: "sign", options: { planes: 2 } },
    base,
    tensors: new Map(tensors.map((tensor) => [tensor.name, tensor])),
    configJson,
    text: { chatTemplate: "{{ messages }}", tokenizer: { version: "1" } },
    readBlob: async (blob) => exampleBytes(blob),
  };
  await writeDelta(folder, contents);
  return folder;
}

/** Everything that a user of the artifact gets to see. */
async function contentOf(folder: string): Promise<unknown> {
  await using artifact: DeltaArtifact = await openDelta(folder);
  const { codec, base, tensors, config, configJson, text } = artifact;
  const blobs: Uint8Array[] = [];
  for (const blob of [...tensors.values()].flatMap(blobsOf)) {
    const bytes = new Uint8Array(blob.byteLength);
    await artifact.readBlob(blob, bytes);
    blobs.push(bytes);
  }
  return { codec, base, tensors, config, configJson, text, blobs };
}

/** A changed delta.json with the checksum of what it then says, as one who means harm would give it. */
function edited(text: string, edit: (manifest: Record<string, unknown>) => void): string {
  const { checksum: _, ...manifest } = JSON.parse(text) as Record<string, unknown>;
  edit(manifest);
  return JSON.stringify({ ...manifest, checksum: createHash("sha256").update(JSON.stringify(manifest)).digest("hex") });
}

/** Writes `change` over `into`, object by object. */
function merge(into: Record<string, unknown>, change: object): void {
  for (const [key, value] of Object.entries(change)) {
    const old = into[key];
    const isNested = typeof value === "object" && value !== null && !Array.isArray(value);
    if (isNested && typeof old === "object" && old !== null) merge(old as Record<string, unknown>, value);
    else into[key] = value;
  }
}

/** 0 for whole values, else the plane's number. */
function rank(blobName: string): number {
  return Number(/\.plane(\d+)$/.exec(blobName)?.[1] ?? 0);
}
