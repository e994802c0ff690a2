// Fine-tunes that are unlike their base in more than values: compressed, restored, and served in one batch. Their differences are such
// that two planes of signs say them exactly, so what is served must be what the fine-tune computes by itself.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { elementCount, ownHeadName, type Parameter } from "../core/index.js";
import { type CheckpointVariation, writeCheckpoint } from "../delta/checkpoint-pair.test.kit.js";
import { gaussian } from "../delta/codec-conformance.test.kit.js";
import { compressDelta, createCodec, restoreCheckpoint } from "../delta/index.js";
import { defaultEngineOptions, Engine, Probe } from "../engine/index.js";
import { referenceLogits } from "../engine/reference-decoder.test.kit.js";
import { type Checkpoint, openCheckpoint, openDelta, readTensor } from "../formats/index.js";
import { Device, fromFloat32, toFloat32 } from "../ggml/index.js";
import { uniformAt } from "../util/index.js";
import { evaluate } from "./evaluation.js";

const folder = await mkdtemp(join(tmpdir(), "kindred-heavy-"));
const opened: AsyncDisposable[] = [];
after(async () => {
  for (const one of opened) await one[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

const words = 24;
const hidden = 160;
/** Matrices of this size keep what they multiply at its size. */
const weightSize = 1 / 16;

/** By how much every weight of a fine-tune moves: a third of its size, and a number that half precision has. */
const moved = 21 / 1024;

function baseValues({ kind }: Parameter, values: Float32Array): void {
  const sized = values.map((value) => (kind === "vector" ? 1 : value * weightSize));
  values.set(toFloat32("bf16", fromFloat32("bf16", sized, sized.length), sized.length));
}

/** Moves every value by so much, up or down. */
function move(values: Float32Array, by: number, seed: number): void {
  for (let i = 0; i < values.length; i++) values[i]! += uniformAt(seed, i) < 0.5 ? by : -by;
}

/** An output head that began as the embedding, of the same model or of its base. */
function headValues(parameter: Parameter, values: Float32Array): void {
  values.set(gaussian({ rows: values.length / hidden, cols: hidden }, 1000));
  baseValues(parameter, values);
}

function untiedBaseValues(parameter: Parameter, values: Float32Array): void {
  if (parameter.name === ownHeadName) {
    headValues(parameter, values);
    move(values, 2 * moved, 1);
  } else {
    baseValues(parameter, values);
  }
}

function tunedOver(base: "tied" | "untied", seed: number): NonNullable<CheckpointVariation["change"]> {
  return (parameter, values) => {
    if (base === "untied") untiedBaseValues(parameter, values);
    else if (parameter.name === ownHeadName) headValues(parameter, values);
    else baseValues(parameter, values);
    const nameSum = [...parameter.name].reduce((sum, letter) => sum + letter.charCodeAt(0), 0);
    if (parameter.kind !== "vector") move(values, moved, 10 * nameSum + seed);
  };
}

interface HeavyCase extends Pick<CheckpointVariation, "tied" | "vocabSize" | "dtype"> {
  readonly base: "tied" | "untied";
}

const cases: Readonly<Record<string, HeavyCase>> = {
  ordinary: { base: "tied" },
  "untied, of fewer words": { base: "tied", tied: false, vocabSize: words - 5 },
  "untied, of more words": { base: "tied", tied: false, vocabSize: words + 3 },
  "of fewer words": { base: "tied", vocabSize: words - 9 },
  "tied over an untied base": { base: "untied", tied: true },
  "tied over an untied base, of fewer words": { base: "untied", tied: true, vocabSize: words - 2 },
};

/** A word a letter, from a on. */
const tokenizer = JSON.stringify({
  added_tokens: [],
  decoder: { type: "ByteLevel" },
  model: { type: "BPE", vocab: Object.fromEntries([..."abcdefghijklmno"].map((word, id) => [word, id])), merges: [] },
});
const files = { "tokenizer.json": tokenizer };
const nameOf = (title: string) => title.replace(/\W+/g, "-");
const bases = {
  tied: await open("base-tied", { dtype: "BF16", change: baseValues, files }),
  untied: await open("base-untied", { tied: false, change: untiedBaseValues, files }),
};
const codec = createCodec("sign", { planes: 2 });
const tuned = new Map<string, Checkpoint>();
const deltas = new Map<string, { readonly name: string; readonly path: string }>();
for (const [index, [title, { base, ...variation }]] of Object.entries(cases).entries()) {
  const own = await open(nameOf(title), { ...variation, change: tunedOver(base, index), files });
  const out = join(folder, `${nameOf(title)}-delta`);
  const report = await compressDelta({ base: bases[base], tuned: own, codec, exact: true, out, threads: 1 });
  assert.ok(report.total.relativeError < 1e-3, `${title}: ${report.total.relativeError}`);
  assert.equal(report.layers.at(-1)!.name, base === "tied" && own.config.tiedEmbeddings ? "0" : "head");
  tuned.set(title, own);
  deltas.set(title, { name: title, path: out });
}

for (const [title, { base }] of Object.entries(cases)) {
  const own = tuned.get(title)!;
  test(`${title}: restored bit for bit, and by its planes alone`, async () => {
    await using delta = await openDelta(deltas.get(title)!.path);
    for (const [name, { kind, exact }] of delta.tensors)
      assert.equal(kind === "absolute" || exact !== undefined, own.tensors.has(name), name);
    const restore = async (name: string, exact: boolean) => {
      const to = join(folder, `${nameOf(title)}-${name}`);
      return { to, outcome: await restoreCheckpoint({ base: bases[base], delta, out: to, exact, threads: 1 }) };
    };
    const exact = await restore("exact", true);
    assert.equal(exact.outcome, "file");
    const weights = (path: string) => readFile(join(path, "model.safetensors"));
    assert.deepEqual(await weights(exact.to), await weights(own.path));

    const near = await restore("near", false);
    await using restored = await openCheckpoint(near.to);
    assert.deepEqual(restored.config, own.config);
    for (const name of own.tensors.keys()) {
      const [expected, values] = [await readValues(own, name), await readValues(restored, name)];
      const miss = expected.reduce((most, value, i) => Math.max(most, Math.abs(value - values[i]!)), 0);
      assert.ok(miss < 1e-6, `${name}: ${miss}`);
    }
  });
}

/** Serves deltas in one batch, and holds all that they say of some tokens against their fine-tunes in double precision. */
async function checkServed(base: Checkpoint, variants: readonly { name: string; path: string }[], errorMax: number) {
  using device = Device.open({ kind: "cpu", threads: 1 });
  const { signal } = new AbortController();
  const held = { baseDType: "f32", kvDType: "f32", contextLength: 32, sequences: 4, signal } as const;
  const probe = await Probe.open(device, { base, variants, ...held });
  for (const { name } of variants) {
    const { config } = tuned.get(name)!;
    const tokens = [...randomTokens(12, 99), config.vocabSize - 1];
    const expected = referenceLogits(config, await weightsOf(tuned.get(name)!), tokens);
    for (const [row, logits] of probe.read(name, tokens).advance(tokens.length, tokens.length).entries()) {
      assert.equal(logits.length, config.vocabSize);
      const error = relativeError(logits, expected[row]!);
      assert.ok(error < errorMax, `${name}, row ${row}: ${error}`);
    }
    const [answer] = await probe.answer(name, [{ prompt: tokens, tokensMax: 12 }], { endTokens: [], signal });
    assert.ok(answer!.every((token) => token < config.vocabSize));
  }
}

for (const base of ["tied", "untied"] as const) {
  test(`over a base with ${base} embeddings, each is served as it is by itself`, async () => {
    const own = Object.keys(cases).filter((title) => cases[title]!.base === base);
    // ggml rounds activations to eight bits where weights are blocks.
    await checkServed(
      bases[base],
      own.map((title) => deltas.get(title)!),
      0.02,
    );
  });
}

test("variants of another base are refused with the base that they are of, and the others served", async () => {
  using engine = await Engine.open(
    { ...defaultEngineOptions, base: bases.tied.path, variants: [...deltas.values()], threads: 1, contextLength: 32 },
    () => {},
  );
  const { refused } = engine.info;
  assert.deepEqual(
    refused.map(({ name }) => name),
    Object.keys(cases).filter((title) => cases[title]!.base === "untied"),
  );
  for (const { error } of refused) {
    assert.equal(error.code, "base_mismatch");
    assert.match(error.message, /made against base "base-untied" \(sha256 \w+\), the loaded base is "base-tied"/);
  }
  assert.equal(engine.info.memory.variantsMax, deltas.size - refused.length);
});

test("calibrated and distilled, they are served likewise", async () => {
  const text = Array.from({ length: 8 }, (_, seed) => ({ tokens: randomTokens(10, seed), weight: 1, from: 1 }));
  for (const name of ["untied, of fewer words", "tied over an untied base, of fewer words"]) {
    const base = bases[cases[name]!.base];
    const path = join(folder, `${nameOf(name)}-calibrated`);
    const distillation = { steps: 1, samples: text };
    await compressDelta({
      base,
      tuned: tuned.get(name)!,
      codec,
      out: path,
      threads: 1,
      calibration: text,
      distillation,
    });
    await checkServed(base, [{ name, path }], 0.05);
  }
});

test("they are evaluated against a base of other words", async () => {
  const data = join(folder, "letters.txt");
  await writeFile(
    data,
    randomTokens(40, 5)
      .map((token) => "abcdefghijklmno"[token]!)
      .join(""),
  );
  for (const [title, { base }] of Object.entries(cases)) {
    const engine = { device: "cpu", threads: 1, baseDType: "f32", kvDType: "f32", sequences: 1 } as const;
    const options = { base: bases[base], tuned: tuned.get(title)!, deltas: [deltas.get(title)!], data: [data], engine };
    const { candidates } = await evaluate(options);
    const [nothing, own] = candidates.map(({ results }) => results[0]!.fidelity.kl.mean);
    assert.ok(own! < 1e-3 && nothing! > 0.01, `${title}: ${own}, the base ${nothing}`);
  }
});

async function open(name: string, variation: CheckpointVariation): Promise<Checkpoint> {
  const checkpoint = await openCheckpoint(await writeCheckpoint(join(folder, name), variation));
  opened.push(checkpoint);
  return checkpoint;
}

/** Tokens that all of them have. */
function randomTokens(count: number, seed: number): number[] {
  return Array.from({ length: count }, (_, at) => Math.floor((words - 9) * uniformAt(seed, at)));
}

async function readValues(checkpoint: Checkpoint, name: string): Promise<Float32Array> {
  const { dtype, shape } = checkpoint.tensors.get(name)!;
  return toFloat32(dtype, await readTensor(checkpoint, name), elementCount(shape));
}

async function weightsOf(checkpoint: Checkpoint): Promise<Map<string, Float32Array>> {
  const weights = new Map<string, Float32Array>();
  for (const name of checkpoint.tensors.keys()) weights.set(name, await readValues(checkpoint, name));
  return weights;
}

function relativeError(values: Float32Array, expected: readonly number[]): number {
  const length = (list: readonly number[]) => Math.sqrt(list.reduce((sum, value) => sum + value * value, 0));
  return length(expected.map((value, i) => value - values[i]!)) / length(expected);
}
