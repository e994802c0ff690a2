import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { InvalidFile, KindredError, UnsupportedModel } from "../core/index.js";
import { uniformAt } from "../util/index.js";
import { type GgufTensorInit, ggufBytes, type TypedValue } from "./gguf.test.kit.js";
import { openCheckpoint } from "./open-checkpoint.js";
import { temporaryFolder, tinyConfig, tinyTensors, writeTinyFolder } from "./tiny-checkpoint.test.kit.js";

const parts: Readonly<Record<string, string>> = {
  input_layernorm: "attn_norm",
  "self_attn.q_proj": "attn_q",
  "self_attn.k_proj": "attn_k",
  "self_attn.v_proj": "attn_v",
  "self_attn.q_norm": "attn_q_norm",
  "self_attn.k_norm": "attn_k_norm",
  "self_attn.o_proj": "attn_output",
  post_attention_layernorm: "ffn_norm",
  "mlp.gate_proj": "ffn_gate",
  "mlp.up_proj": "ffn_up",
  "mlp.down_proj": "ffn_down",
};

/** Hugging Face's name → GGUF's. */
function ggufName(name: string): string {
  const [, layer, part = "", kind] = /^model\.layers\.(\d+)\.(.+)\.(weight|bias)$/.exec(name) ?? [];
  if (parts[part]) return `blk.${layer}.${parts[part]}.${kind}`;
  return { "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight" }[name] ?? "token_embd.weight";
}

/** Rows of each head from (0 … h-1, h …) to (0, h, 1, h+1, …), as the converter to GGUF lays out a "llama". */
function interleave(bytes: Uint8Array, heads: number, headDim: number): Uint8Array {
  const rowBytes = bytes.length / (heads * headDim);
  return Buffer.concat(
    Array.from({ length: heads * headDim }, (_, row) => {
      const [head, place] = [Math.floor(row / headDim), row % headDim];
      const from = head * headDim + (place % 2) * (headDim / 2) + Math.floor(place / 2);
      return bytes.subarray(from * rowBytes, (from + 1) * rowBytes);
    }),
  );
}

function ggufTensors(config: Readonly<Record<string, unknown>>): GgufTensorInit[] {
  return tinyTensors(config).map(({ name, shape, bytes }) => {
    const heads = name.includes("q_proj") ? 4 : 2;
    const swaps = config.model_type === "llama" && /[qk]_proj/.test(name);
    return {
      name: ggufName(name),
      shape,
      bytes: swaps ? interleave(bytes as Uint8Array, heads, 4) : (bytes as Uint8Array),
    };
  });
}

function ggufMetadata(architecture: string): Record<string, TypedValue> {
  const counts = {
    block_count: 2,
    context_length: 64,
    embedding_length: 8,
    feed_forward_length: 12,
    vocab_size: 24,
    "attention.head_count": 4,
    "attention.head_count_kv": 2,
    "attention.key_length": 4,
    "attention.value_length": 4,
  };
  return {
    "general.architecture": { text: architecture },
    ...Object.fromEntries(Object.entries(counts).map(([key, u32]) => [`${architecture}.${key}`, { u32 }])),
    [`${architecture}.attention.layer_norm_rms_epsilon`]: { f32: 2 ** -17 },
  };
}

const metadata = ggufMetadata("llama");
const tensors = ggufTensors(tinyConfig());

async function write(test: TestContext, bytes: Uint8Array): Promise<string> {
  const path = join(await temporaryFolder(test), "tiny.gguf");
  await writeFile(path, bytes);
  return path;
}

for (const fields of [
  { model_type: "llama" },
  { model_type: "llama", attention_bias: true, mlp_bias: true, tie_word_embeddings: false },
  { model_type: "qwen2" },
  { model_type: "qwen3", tie_word_embeddings: false },
]) {
  test(`reads the same model as the folder it was made from: ${JSON.stringify(fields)}`, async (t) => {
    const config = tinyConfig({ ...fields, rms_norm_eps: 2 ** -17 });
    const folder = await temporaryFolder(t);
    await writeTinyFolder(folder, config);
    await using expected = await openCheckpoint(folder);
    await using actual = await openCheckpoint(
      await write(t, ggufBytes(ggufMetadata(fields.model_type), ggufTensors(config))),
    );
    assert.equal(actual.name, "tiny");
    assert.deepEqual(actual.config, expected.config);
    assert.deepEqual([...actual.tensors], [...expected.tensors]);
    assert.equal(await actual.fingerprint(), await expected.fingerprint());
  });
}

test("puts whole quantised rows back in order", async (t) => {
  // 32 columns are one q8_0 block of 34 bytes a row; a row's bytes all hold its place in the right order.
  const rows = (count: number) => Buffer.concat(Array.from({ length: count }, (_, row) => Buffer.alloc(34, row)));
  const wide = { ...metadata, "llama.embedding_length": { u32: 32 } };
  const config = tinyConfig({ hidden_size: 32 });
  const packed = ggufTensors(config).map((tensor): GgufTensorInit => {
    if (tensor.name !== "blk.1.attn_k.weight") return tensor;
    return { ...tensor, dtype: "q8_0", bytes: interleave(rows(8), 2, 4) };
  });
  await using checkpoint = await openCheckpoint(await write(t, ggufBytes(wide, packed)));
  const name = "model.layers.1.self_attn.k_proj.weight";
  const into = new Uint8Array(checkpoint.tensors.get(name)!.byteLength);
  await checkpoint.read(name, into);
  assert.equal(checkpoint.tensors.get(name)?.dtype, "q8_0");
  assert.deepEqual(Buffer.from(into), rows(8));
});

const norm = { name: "output_norm.weight", shape: [8] };
const others = tensors.filter(({ name }) => name !== norm.name);
const refused: ReadonlyArray<
  readonly [
    what: string,
    tensors: readonly GgufTensorInit[],
    says: RegExp,
    as?: typeof InvalidFile | typeof UnsupportedModel,
  ]
> = [
  ["without a norm", others, /tensor "model.norm.weight" is missing/],
  ["with a norm of another size", [...others, { ...norm, shape: [4] }], /"model.norm.weight" has shape \[4\]/],
  ["with a norm of integers", [...others, { ...norm, dtype: "i32" }], /has element type i32/, UnsupportedModel],
  [
    "with fused projections",
    [...tensors, { name: "blk.0.attn_qkv.weight", shape: [8, 8] }],
    /"blk.0.attn_qkv.weight"/,
    UnsupportedModel,
  ],
  [
    "with frequency factors of another size",
    [...tensors, { name: "rope_freqs.weight", shape: [7] }],
    /rope_freqs/,
    UnsupportedModel,
  ],
];

for (const [what, list, says, as = InvalidFile] of refused) {
  test(`refuses a GGUF file ${what}`, async (t) => {
    const path = await write(t, ggufBytes(metadata, list));
    await assert.rejects(openCheckpoint(path), (error) => error instanceof as && says.test(error.message));
  });
}

test("refuses a file that is neither GGUF by name nor a folder", async (t) => {
  const path = join(await temporaryFolder(t), "model.bin");
  await writeFile(path, "");
  await assert.rejects(openCheckpoint(path), { message: /expected a Hugging Face folder or a .gguf file/ });
});

test("answers any flipped bits of a model with a checkpoint or a typed error", async (t) => {
  const whole = ggufBytes(metadata, tensors);
  const path = await write(t, whole);
  const headerBytes = whole.length - tensors.reduce((sum, { shape }) => sum + 4 * (shape[0]! * (shape[1] ?? 1)), 0);
  for (let seed = 0; seed < 300; seed++) {
    const bytes = Buffer.from(whole);
    bytes[Math.floor(uniformAt(seed, 0) * headerBytes)]! ^= 1 << Math.floor(uniformAt(seed, 1) * 8);
    await writeFile(path, bytes);
    try {
      await using checkpoint = await openCheckpoint(path);
      assert.equal(checkpoint.tensors.size, tensors.length);
    } catch (error) {
      assert.ok(error instanceof KindredError, `seed ${seed}: ${error}`);
    }
  }
});
