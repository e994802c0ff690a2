// Low-rank parts in a delta artifact.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { InvalidFile, parametersOf } from "../core/index.js";
import { openDelta, writeDelta } from "./delta-artifact.js";
import {
  blobOfExact,
  blobOfFactor,
  blobOfPlane,
  blobsInOrder,
  type DeltaBlob,
  type DeltaTensor,
  type FactorBlobs,
  type FactorDType,
} from "./delta-tensor.js";
import { parseModelConfig } from "./model-config.js";
import { residentBytes } from "./resident-bytes.js";
import { temporaryFolder, tinyConfig } from "./tiny-checkpoint.test.kit.js";

const embedding = "model.embed_tokens.weight";
const queries = "model.layers.0.self_attn.q_proj.weight";
const keys = "model.layers.0.self_attn.k_proj.weight";
const config = parseModelConfig("config.json", tinyConfig());

const bytesOf = ({ name, byteLength }: DeltaBlob) => new Uint8Array(byteLength).fill(name.length);
const hashed = (blob: DeltaBlob): DeltaBlob => {
  return { ...blob, sha256: createHash("sha256").update(bytesOf(blob)).digest("hex") };
};

function factorsOf(name: string, forms: readonly (readonly [FactorDType, number])[]): readonly FactorBlobs[] {
  const [rows, cols] = parametersOf(config).find((parameter) => parameter.name === name)!.shape as [number, number];
  return forms.map(([dtype, rank], index) => {
    const blob = (side: "down" | "up") =>
      hashed(blobOfFactor(name, index, side, { dtype, rank }, { rows, cols }, null));
    return { dtype, rank, down: blob("down"), up: blob("up") };
  });
}

/** Queries have a plane and factors, keys and the embedding factors alone. */
function exampleTensors(): Map<string, DeltaTensor> {
  const tensors = parametersOf(config).map(({ name, shape }): DeltaTensor => {
    const any = { name, dtype: "bf16", shape, extraRows: null } as const;
    const sizes = { kind: "planes", norm: 2, error: 1 } as const;
    const [rows, cols] = shape as [number, number];
    if (name === queries) {
      const planes = [hashed(blobOfPlane(name, 0, "q1_0", { rows, cols }, ""))];
      return { ...any, ...sizes, planeDType: "q1_0", planes, factors: factorsOf(name, [["q8_0", 5]]) };
    }
    if (name !== keys && name !== embedding) return { ...any, kind: "unchanged" };
    const forms = [["q4_0", 32] as const, ["f16", 3] as const];
    return { ...any, ...sizes, planeDType: null, planes: [], factors: factorsOf(name, forms) };
  });
  return new Map(tensors.map((tensor) => [tensor.name, tensor]));
}

async function writeExample(t: TestContext): Promise<string> {
  const folder = await temporaryFolder(t);
  await writeDelta(folder, {
    codec: { name: "signlr", options: { rank: 32 } },
    base: { name: "tiny", fingerprint: "5a".repeat(32) },
    tensors: exampleTensors(),
    configJson: tinyConfig(),
    text: {},
    readBlob: async (blob) => bytesOf(blob),
  });
  return folder;
}

test("factors that were written are read again", async (t) => {
  await using artifact = await openDelta(await writeExample(t));
  assert.deepEqual([...artifact.tensors.values()], [...exampleTensors().values()]);
  for (const blob of blobsInOrder(artifact.tensors.values())) {
    const bytes = new Uint8Array(blob.byteLength);
    await artifact.readBlob(blob, bytes);
    assert.deepEqual(bytes, bytesOf(blob));
  }
});

test("factors come after planes and before exact layers, tensor by tensor, `down` before `up`, each row whole blocks", () => {
  const blobs = blobsInOrder(exampleTensors().values()).map(({ name, byteLength }) => `${name} ${byteLength}`);
  assert.deepEqual(blobs, [
    `${queries}.plane1 ${16 * 18}`,
    `${embedding}.factors1.down ${32 * 18}`,
    `${embedding}.factors1.up ${24 * 18}`,
    `${embedding}.factors2.down ${3 * 8 * 2}`,
    `${embedding}.factors2.up ${24 * 3 * 2}`,
    `${queries}.factors1.down ${5 * 34}`,
    `${queries}.factors1.up ${16 * 34}`,
    `${keys}.factors1.down ${32 * 18}`,
    `${keys}.factors1.up ${8 * 18}`,
    `${keys}.factors2.down ${3 * 8 * 2}`,
    `${keys}.factors2.up ${8 * 3 * 2}`,
  ]);
  const gate = "model.layers.0.mlp.gate_proj.weight";
  const exact = { sha256: "5a".repeat(32), blob: blobOfExact(gate, 12, "5a".repeat(32)) };
  const unchanged = exampleTensors().get(gate);
  assert.ok(unchanged?.kind === "unchanged");
  const tensors = exampleTensors().set(gate, { ...unchanged, exact });
  assert.deepEqual(
    blobsInOrder(tensors.values()).map(({ name }) => name),
    [...blobsInOrder(exampleTensors().values()).map(({ name }) => name), `${gate}.exact`],
  );
});

test("a field of factors that is not as documented is refused by name", async (t) => {
  const sha256 = "5a".repeat(32);
  const pair = { rank: 4, dtype: "f16", down: sha256, up: sha256 };
  const cases: readonly [Record<string, unknown>, RegExp][] = [
    [{ factors: [] }, /q_proj.weight"\].factors is \[\], expected a list of objects/],
    [{ factors: "many" }, /factors is "many", expected a list/],
    [{ factors: [3] }, /factors\[0\] is not a JSON object/],
    [{ factors: [{ ...pair, dtype: "q1_0" }] }, /factors\[0\].dtype is "q1_0", expected one of f16, q8_0, q4_0/],
    [{ factors: [{ ...pair, rank: 0 }] }, /factors\[0\].rank is 0, expected a whole number/],
    [{ factors: [pair, pair] }, /factors\[1\].rank is 4, expected another one than before/],
    [{ factors: [{ ...pair, up: "5A" }] }, /factors\[0\].up is "5A", expected a SHA-256/],
    [{ planes: null }, /planes is not a JSON object/],
  ];
  const folder = await writeExample(t);
  const path = join(folder, "delta.json");
  const text = await readFile(path, "utf8");
  for (const [change, sentence] of cases) {
    const { checksum: _, ...manifest } = JSON.parse(text) as { tensors: Record<string, object>; checksum: string };
    manifest.tensors[queries] = { ...manifest.tensors[queries], ...change };
    const content = JSON.stringify(manifest);
    const checksum = createHash("sha256").update(content).digest("hex");
    await writeFile(path, JSON.stringify({ ...manifest, checksum }));
    await assert.rejects(openDelta(folder), (error) => {
      return error instanceof InvalidFile && sentence.test(error.message);
    });
  }
});

test("resident bytes are the sum over a variant's parts, and vectors in single precision", () => {
  const vectors = parametersOf(config)
    .filter(({ kind }) => kind === "vector")
    .reduce((sum, { shape }) => sum + 4 * shape[0]!, 0);
  const ofQueries = 16 * 18 + 5 * 34 + 16 * 34;
  const ofKeys = 32 * 18 + 8 * 18 + 3 * 8 * 2 + 8 * 3 * 2;
  // A tied embedding has `down` as it is for the output head, and transposed in half precision for its rows.
  const ofEmbedding = 32 * 18 + 24 * 18 + 8 * 32 * 2 + (3 * 8 * 2 + 24 * 3 * 2 + 8 * 3 * 2);
  assert.equal(config.tiedEmbeddings, true);
  assert.equal(residentBytes({ config, tensors: exampleTensors() }), vectors + ofQueries + ofKeys + ofEmbedding);
});

test("a ternary plane takes two planes of signs", () => {
  const tensor = (planeDType: "q1_0" | "tq1_0", planes: number): DeltaTensor => {
    const shape = { rows: 16, cols: 300 };
    const blobs = Array.from({ length: planes }, (_, index) => blobOfPlane("w", index, planeDType, shape, ""));
    const form = { dtype: "f16", shape: [16, 300], factors: [], extraRows: null, norm: 1, error: 0 } as const;
    return { name: queries, kind: "planes", planeDType, planes: blobs, ...form };
  };
  const bytesOfOne = (own: DeltaTensor) => residentBytes({ config, tensors: new Map() }, [own]);
  assert.equal(bytesOfOne(tensor("tq1_0", 1)), 2 * 16 * 3 * 18);
  assert.equal(bytesOfOne(tensor("tq1_0", 2)), bytesOfOne(tensor("q1_0", 4)));
});
