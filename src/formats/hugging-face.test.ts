import assert from "node:assert/strict";
import { readFile, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { InvalidFile, UnsupportedModel } from "../core/index.js";
import { openCheckpoint } from "./open-checkpoint.js";
import type { TensorToWrite } from "./safetensors-writer.js";
import { temporaryFolder, tinyConfig, tinyTensors, writeTinyFolder } from "./tiny-checkpoint.test.kit.js";

const embedding = "model.embed_tokens.weight";
const config = tinyConfig();
const rename = (from: string, to: string) =>
  tinyTensors(config).map((tensor) => (tensor.name === from ? { ...tensor, name: to } : tensor));

test("opens the model in this repository", async () => {
  await using checkpoint = await openCheckpoint("models/tiny/base");
  assert.equal(checkpoint.name, "base");
  assert.equal(checkpoint.tensors.size, 47);
  const norm = checkpoint.tensors.get("model.norm.weight");
  assert.deepEqual(norm, { name: "model.norm.weight", shape: [256], dtype: "bf16", byteLength: 512 });
  assert.match(checkpoint.text.chatTemplate ?? "", /im_start/);
  assert.equal(checkpoint.text.generationConfig.eos_token_id, 2);
});

test("reads a tensor's bytes", async (t) => {
  const folder = await temporaryFolder(t);
  await writeTinyFolder(folder);
  await using checkpoint = await openCheckpoint(folder);
  const { name, bytes } = tinyTensors(config)[3]!;
  const into = new Uint8Array(checkpoint.tensors.get(name)!.byteLength);
  await checkpoint.read(name, into);
  assert.deepEqual(into, bytes);
});

test("has one fingerprint whether in one file or in shards, and another once a bit differs", async (t) => {
  const fingerprint = async (tensors: readonly TensorToWrite[], shards: number) => {
    const folder = await temporaryFolder(t);
    await writeTinyFolder(folder, config, tensors, shards);
    await using checkpoint = await openCheckpoint(folder);
    return await checkpoint.fingerprint();
  };
  const whole = await fingerprint(tinyTensors(config), 1);
  assert.match(whole, /^[0-9a-f]{64}$/);
  assert.equal(await fingerprint(tinyTensors(config), 3), whole);
  const changed = tinyTensors(config);
  (changed.at(-1)!.bytes as Uint8Array)[0]! ^= 1;
  assert.notEqual(await fingerprint(changed, 1), whole);
});

test("finds a tied table that is stored as the head alone", async (t) => {
  const folder = await temporaryFolder(t);
  await writeTinyFolder(folder, config, rename(embedding, "lm_head.weight"));
  await using checkpoint = await openCheckpoint(folder);
  assert.deepEqual(checkpoint.tensors.get(embedding)?.shape, [24, 8]);
  assert.equal(checkpoint.tensors.has("lm_head.weight"), false);
  await checkpoint.read(embedding, new Uint8Array(24 * 8 * 4));
});

test("passes over a tied model's second copy and over derived buffers", async (t) => {
  const folder = await temporaryFolder(t);
  const extra: TensorToWrite[] = [
    { name: "lm_head.weight", dtype: "F32", shape: [24, 8], bytes: new Uint8Array(24 * 8 * 4) },
    { name: "model.layers.0.self_attn.rotary_emb.inv_freq", dtype: "F32", shape: [2], bytes: new Uint8Array(8) },
  ];
  await writeTinyFolder(folder, config, [...tinyTensors(config), ...extra]);
  await using checkpoint = await openCheckpoint(folder);
  assert.deepEqual(
    [...checkpoint.tensors.keys()],
    tinyTensors(config).map(({ name }) => name),
  );
});

const norm = "model.norm.weight";
const without = (name: string) => tinyTensors(config).filter((tensor) => tensor.name !== name);
const stranger: TensorToWrite = { name: "score.weight", dtype: "F32", shape: [1], bytes: new Uint8Array(4) };
const packed: TensorToWrite = { name: norm, dtype: "U8", shape: [8], bytes: new Uint8Array(8) };

const refused: ReadonlyArray<{
  what: string;
  says: RegExp;
  as?: typeof InvalidFile | typeof UnsupportedModel;
  config?: Record<string, unknown>;
  tensors?: readonly TensorToWrite[];
}> = [
  { what: "without a norm", tensors: without(norm), says: /tensor "model\.norm\.weight" is missing; .* shape \[8\]/ },
  {
    what: "whose untied head is missing",
    config: { tie_word_embeddings: false },
    tensors: tinyTensors(config),
    says: /"lm_head.weight" is missing/,
  },
  {
    what: "with a norm of another size",
    tensors: [...without(norm), { ...packed, dtype: "F32", shape: [2] }],
    says: /"model.norm.weight" has shape \[2\], the configuration asks for \[8\]/,
  },
  {
    what: "with fewer rows than vocab_size",
    config: { vocab_size: 32 },
    tensors: tinyTensors(config),
    says: /vocab_size is 32, but tensor "model.embed_tokens.weight" has 24 rows/,
  },
  {
    what: "with a tensor of another architecture",
    tensors: [...tinyTensors(config), stranger],
    as: UnsupportedModel,
    says: /"score.weight"/,
  },
  {
    what: "with a packed norm",
    tensors: [...without(norm), packed],
    as: UnsupportedModel,
    says: /"model.norm.weight" has dtype U8/,
  },
];

for (const { what, says, as = InvalidFile, config: fields, tensors } of refused) {
  test(`refuses a folder ${what}`, async (t) => {
    const folder = await temporaryFolder(t);
    await writeTinyFolder(folder, tinyConfig(fields), tensors);
    await assert.rejects(openCheckpoint(folder), (error) => error instanceof as && says.test(error.message));
  });
}

test("refuses a folder that is truncated, empty, or lacks its config", async (t) => {
  const folder = await temporaryFolder(t);
  await assert.rejects(openCheckpoint(folder), { message: /config.json: there is no such file/ });
  await writeTinyFolder(folder);
  await truncate(join(folder, "model.safetensors"), 5000);
  await assert.rejects(openCheckpoint(folder), { code: "invalid_file", message: /truncated: tensor "model/ });
  await rm(join(folder, "model.safetensors"));
  await writeFile(join(folder, "pytorch_model.bin"), "");
  await assert.rejects(openCheckpoint(folder), {
    message: /neither model.safetensors nor .*; pytorch_model.bin is in a format/,
  });
  await assert.rejects(openCheckpoint(join(folder, "absent")), { message: /absent: there is no such file or folder/ });
});

test("refuses a sharded folder that lost a shard, a tensor, or points elsewhere", async (t) => {
  const folder = await temporaryFolder(t);
  const indexPath = join(folder, "model.safetensors.index.json");
  await writeTinyFolder(folder, config, tinyTensors(config), 2);
  const index = await readFile(indexPath, "utf8");

  await writeFile(indexPath, index.replace('"model.norm.weight":"model-00002', '"model.norm.weight":"model-00001'));
  await assert.rejects(openCheckpoint(folder), {
    message: /00001-of-00002.*tensor "model.norm.weight" is in it, but it is not/,
  });
  await writeFile(indexPath, index.replace('"model.norm.weight":"', '"model.norm.weight":"../'));
  await assert.rejects(openCheckpoint(folder), { message: /expected a file name/ });
  await writeFile(indexPath, "{}");
  await assert.rejects(openCheckpoint(folder), { message: /weight_map is missing/ });
  await writeFile(indexPath, index.slice(0, -9));
  await assert.rejects(openCheckpoint(folder), { message: /index.json: it is not valid JSON/ });
  await writeFile(indexPath, index);
  await rm(join(folder, "model-00002-of-00002.safetensors"));
  await assert.rejects(openCheckpoint(folder), { message: /model-00002-of-00002.safetensors: there is no such file/ });
});

test("takes the template from tokenizer_config.json, alone or by name, unless there is a file for it", async (t) => {
  const folder = await temporaryFolder(t);
  await writeTinyFolder(folder);
  const template = async (tokenizerConfig: unknown) => {
    await writeFile(join(folder, "tokenizer_config.json"), JSON.stringify(tokenizerConfig));
    await using checkpoint = await openCheckpoint(folder);
    return checkpoint.text.chatTemplate;
  };
  assert.equal(await template({}), undefined);
  assert.equal(await template({ chat_template: "one" }), "one");
  const named = [
    { name: "tool_use", template: "two" },
    { name: "default", template: "three" },
  ];
  assert.equal(await template({ chat_template: named }), "three");
  await assert.rejects(template({ chat_template: 5 }), InvalidFile);
  await writeFile(join(folder, "chat_template.jinja"), "four");
  assert.equal(await template({ chat_template: "one" }), "four");
});
