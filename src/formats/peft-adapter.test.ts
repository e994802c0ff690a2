import assert from "node:assert/strict";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { InvalidFile } from "../core/index.js";
import { f16ToNumber, uniformAt } from "../util/index.js";
import { openCheckpoint } from "./open-checkpoint.js";
import { isVariantFolder, openVariant } from "./open-variant.js";
import { PeftAdapter } from "./peft-adapter.js";
import { type AdapterTensor, pairOf, writeAdapter } from "./peft-adapter.test.kit.js";
import { UnsupportedAdapter } from "./peft-config.js";
import { temporaryFolder, tinyConfig, writeTinyFolder } from "./tiny-checkpoint.test.kit.js";

const q = "model.layers.0.self_attn.q_proj";
const down = "model.layers.1.mlp.down_proj";
const norm = "model.norm.weight";

async function tinyBase(t: TestContext) {
  const folder = await temporaryFolder(t);
  await writeTinyFolder(folder);
  const base = await openCheckpoint(folder);
  t.after(() => base[Symbol.asyncDispose]());
  return { folder, base, shapeOf: (module: string) => base.tensors.get(`${module}.weight`)!.shape as [number, number] };
}

type Tiny = Awaited<ReturnType<typeof tinyBase>>;

const noise = (shape: readonly number[], seed: number): AdapterTensor => ({
  shape,
  values: Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, at) => uniformAt(seed, at) - 0.5),
});

function pair({ shapeOf }: Tiny, module: string, rank: number, seed = 1) {
  const [out, input] = shapeOf(module);
  return pairOf(module, noise([rank, input], seed), noise([out, rank], seed + 1));
}

async function halves(adapter: PeftAdapter, parameter: string, side: "down" | "up"): Promise<number[]> {
  const tensor = adapter.tensors.get(parameter);
  assert.ok(tensor?.kind === "planes");
  const blob = tensor.factors[0]![side];
  const bytes = new Uint8Array(blob.byteLength);
  await adapter.readBlob(blob, bytes);
  return Array.from(new Uint16Array(bytes.buffer), f16ToNumber);
}

test("a module is factors in half precision, the scale in `up`, filled up to one rank", async (t) => {
  const tiny = await tinyBase(t);
  const config = { rank_pattern: { down_proj: 9 }, alpha_pattern: { [`^${down}`]: 18 } };
  const path = await writeAdapter(join(tiny.folder, "a"), { ...pair(tiny, q, 4), ...pair(tiny, down, 9, 5) }, config);
  await using adapter = await PeftAdapter.open(path, tiny.base);
  const [out, input] = tiny.shapeOf(q);
  const [a, b] = [noise([4, input], 1).values, noise([out, 4], 2).values];
  const [left, right] = [await halves(adapter, `${q}.weight`, "up"), await halves(adapter, `${q}.weight`, "down")];
  assert.equal(left.length, out * 16);
  assert.equal(right.length, 16 * input);
  left.forEach((value, at) => {
    const [row, k] = [Math.floor(at / 16), at % 16];
    assert.ok(Math.abs(value - (k < 4 ? 2 * b[row * 4 + k]! : 0)) < 1e-3);
  });
  right.forEach((value, at) => {
    assert.ok(Math.abs(value - (a[at] ?? 0)) < 1e-3);
  });
  const largest = Math.max(...(await halves(adapter, `${down}.weight`, "up")).map(Math.abs));
  assert.ok(largest > 0.95 && largest < 1, `18 / 9 times what is below 0.5, not ${largest}`);
  assert.equal(adapter.tensors.get(norm)?.kind, "unchanged");
  assert.equal(adapter.config, tiny.base.config);
});

test("half floats, rank-stabilised scales, names of older files and norms of its own", async (t) => {
  const tiny = await tinyBase(t);
  const [out, input] = tiny.shapeOf(q);
  const own = { shape: [tiny.base.config.hiddenSize], values: noise([tiny.base.config.hiddenSize], 9).values };
  const tensors = {
    [`base_model.model.${q}.lora_A.default.weight`]: { ...noise([4, input], 1), dtype: "BF16" },
    [`base_model.model.${q}.lora_B.default.weight`]: { ...noise([out, 4], 2), dtype: "F16" },
    [`base_model.model.${norm}`]: own,
  } as const;
  const path = await writeAdapter(join(tiny.folder, "a"), tensors, { use_rslora: true, modules_to_save: ["norm"] });
  await using adapter = await PeftAdapter.open(path, tiny.base);
  const b = noise([out, 4], 2).values;
  const left = await halves(adapter, `${q}.weight`, "up");
  assert.ok(Math.abs(left[0]! - (8 / Math.sqrt(4)) * b[0]!) < 2e-3);
  const tensor = adapter.tensors.get(norm);
  assert.ok(tensor?.kind === "absolute");
  const bytes = new Uint8Array(tensor.value.byteLength);
  await adapter.readBlob(tensor.value, bytes);
  assert.deepEqual(new Float32Array(bytes.buffer), own.values);
});

test("what changes the product in another way is refused by the field's name", async (t) => {
  const tiny = await tinyBase(t);
  const cases: readonly [Record<string, unknown>, string][] = [
    [{ peft_type: "IA3" }, "peft_type"],
    [{ use_dora: true }, "use_dora"],
    [{ fan_in_fan_out: true }, "fan_in_fan_out"],
    [{ bias: "lora_only" }, "bias"],
    [{ init_lora_weights: "pissa_niter_16" }, "init_lora_weights"],
    [{ trainable_token_indices: [1, 2] }, "trainable_token_indices"],
    [{ layer_replication: [[0, 1]] }, "layer_replication"],
    [{ rank_pattern: { "layers.*.q_proj": 8 } }, 'rank_pattern["layers.*.q_proj"]'],
    [{ alpha_pattern: { q_proj: "8" } }, 'alpha_pattern["q_proj"]'],
  ];
  for (const [config, field] of cases) {
    const path = await writeAdapter(join(tiny.folder, "a"), pair(tiny, q, 4), config);
    await assert.rejects(PeftAdapter.open(path, tiny.base), (error) => {
      return error instanceof UnsupportedAdapter && error.details.field === field && error.message.includes(field);
    });
  }
  for (const config of [{ r: 0 }, { r: "4" }, { lora_alpha: -1 }, { use_rslora: 1 }]) {
    const path = await writeAdapter(join(tiny.folder, "a"), pair(tiny, q, 4), config);
    await assert.rejects(PeftAdapter.open(path, tiny.base), InvalidFile, JSON.stringify(config));
  }
});

test("tensors that are not factors of a linear layer, or do not fit it, are refused by name", async (t) => {
  const tiny = await tinyBase(t);
  const [out, input] = tiny.shapeOf(q);
  const [vocabulary, hidden] = tiny.shapeOf("model.embed_tokens");
  const embedding = "base_model.model.model.embed_tokens";
  const cases: readonly [Record<string, AdapterTensor>, RegExp][] = [
    [pairOf(q, noise([3, input], 1), noise([out, 3], 2)), /q_proj.lora_A.weight" has shape \[3, .*expected \[4, /],
    [pairOf(q, noise([4, input + 1], 1), noise([out, 4], 2)), /expected \[4, /],
    [pairOf(q, noise([4, input], 1), noise([4, out], 2)), /q_proj.lora_B.weight" has shape/],
    [
      pairOf("model.layers.99.self_attn.q_proj", noise([4, input], 1), noise([out, 4], 2)),
      /layers.99.+not a linear layer/,
    ],
    [
      pairOf("model.embed_tokens", noise([4, hidden], 1), noise([vocabulary, 4], 2)),
      /embed_tokens.+not a linear layer/,
    ],
    [{ [`base_model.model.${q}.lora_A.weight`]: noise([4, input], 1) }, /has lora_A and no lora_B/],
    [{ [`${embedding}.lora_embedding_A`]: noise([4, vocabulary], 1) }, /lora_embedding_A" is not a factor/],
    [{ [`base_model.model.${q}.lora_magnitude_vector`]: noise([out], 1) }, /lora_magnitude_vector" is not a factor/],
    [{ [`${embedding}.weight`]: noise([vocabulary, hidden], 1) }, /embed_tokens.weight" is not a factor/],
    [{ [`base_model.model.${norm}`]: noise([hidden + 1], 1) }, /norm.weight" has shape/],
  ];
  for (const [tensors, sentence] of cases) {
    const path = await writeAdapter(join(tiny.folder, "a"), tensors);
    await assert.rejects(PeftAdapter.open(path, tiny.base), sentence);
  }
});

test("values that half precision cannot hold are refused when they are read", async (t) => {
  const tiny = await tinyBase(t);
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY, 50_000]) {
    const tensors = pair(tiny, q, 4);
    tensors[`base_model.model.${q}.lora_B.weight`]!.values[3] = value;
    const path = await writeAdapter(join(tiny.folder, "a"), tensors);
    await using adapter = await PeftAdapter.open(path, tiny.base);
    await assert.rejects(halves(adapter, `${q}.weight`, "up"), /lora_B.weight" holds/);
  }
});

test("a folder is known by what is in it", async (t) => {
  const tiny = await tinyBase(t);
  assert.equal(isVariantFolder(tiny.folder), false);
  const path = await writeAdapter(join(tiny.folder, "a"), pair(tiny, q, 4));
  assert.equal(isVariantFolder(path), true);
  await writeFile(join(path, "chat_template.jinja"), "{{ messages }}");
  await using variant = await openVariant(path, tiny.base);
  assert.deepEqual(variant.text, { chatTemplate: "{{ messages }}" });
  assert.equal(variant.name, "a");
  await rm(join(path, "adapter_model.safetensors"));
  await assert.rejects(openVariant(path, tiny.base), InvalidFile);
});

test("tied models have no output head to adapt", async (t) => {
  const folder = await temporaryFolder(t);
  await writeTinyFolder(folder, tinyConfig({ tie_word_embeddings: true }));
  await using base = await openCheckpoint(folder);
  const { vocabSize, hiddenSize } = base.config;
  const head = pairOf("lm_head", noise([4, hiddenSize], 1), noise([vocabSize, 4], 2));
  const path = await writeAdapter(join(folder, "a"), head);
  await assert.rejects(PeftAdapter.open(path, base), /lm_head.+not a linear layer/);
});
