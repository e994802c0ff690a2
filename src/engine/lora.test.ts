// Adapters from their folders to logits, beside the base and full fine-tunes.

import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { parametersOf } from "../core/index.js";
import { writeSafetensors } from "../formats/index.js";
import { uniformAt } from "../util/index.js";
import type { ResidentVariant } from "./batch.js";
import { poolLayout } from "./pool-layout.js";
import { memoryCheckpoint, randomWeights, smallConfig, type WeightTable } from "./random-model.test.kit.js";
import { referenceLogits } from "./reference-decoder.test.kit.js";
import { loadVariant } from "./variant-load.js";
import { openVariants } from "./variants.js";
import { spec, Workbench } from "./workbench.test.kit.js";

const config = smallConfig({ hiddenSize: 36, headDim: 10, feedForward: 52, tiedEmbeddings: false });

interface Adapter {
  readonly rank: number;
  readonly alpha: number;
  readonly targets: RegExp;
  readonly config?: Readonly<Record<string, unknown>>;
  /** Scale that the configuration means for a module. */
  readonly scaleOf: (module: string) => number;
  readonly rankOf?: (module: string) => number;
}

const adapters: Readonly<Record<string, Adapter>> = {
  small: { rank: 4, alpha: 8, targets: /[qv]_proj$/, scaleOf: () => 2 },
  stable: {
    rank: 9,
    alpha: 3,
    targets: /mlp|lm_head/,
    config: { use_rslora: true },
    scaleOf: () => 1,
  },
  patterned: {
    rank: 6,
    alpha: 6,
    targets: /_proj$/,
    config: { rank_pattern: { o_proj: 2 }, alpha_pattern: { "mlp.up_proj": 12 } },
    rankOf: (module) => (module.endsWith("o_proj") ? 2 : 6),
    scaleOf: (module) => (module.endsWith("o_proj") ? 3 : module.endsWith("up_proj") ? 2 : 1),
  },
};

type Tensors = Record<string, { readonly shape: readonly number[]; readonly values: Float32Array }>;

const noise = (shape: readonly [number, number], seed: number) => ({
  shape,
  values: Float32Array.from(
    { length: shape[0] * shape[1] },
    (_, at) => (uniformAt(seed, at) - 0.5) / Math.sqrt(shape[1]),
  ),
});

async function writeAdapter(folder: string, own: Adapter, tensors: Tensors): Promise<void> {
  await mkdir(folder);
  const json = { peft_type: "LORA", r: own.rank, lora_alpha: own.alpha, target_modules: ["x"], ...own.config };
  await writeFile(join(folder, "adapter_config.json"), JSON.stringify(json));
  const stored = Object.entries(tensors).map(([name, { shape, values }]) => {
    return { name, shape, dtype: "F32" as const, bytes: new Uint8Array(values.buffer) };
  });
  await writeSafetensors(join(folder, "adapter_model.safetensors"), stored);
}

/** The adapter's tensors, and the weights that W + scale · B · A are. */
function build(own: Adapter, seed: number, base: WeightTable) {
  const tensors: Tensors = {};
  const weights = new Map(base);
  for (const [index, { name, shape, kind }] of parametersOf(config).entries()) {
    const module = name.replace(/\.weight$/, "");
    if (kind === "vector" || kind === "embedding" || !own.targets.test(module)) continue;
    const [out, input] = shape as [number, number];
    const rank = own.rankOf?.(module) ?? own.rank;
    const [a, b] = [noise([rank, input], seed + index), noise([out, rank], seed + 500 + index)];
    tensors[`base_model.model.${module}.lora_A.weight`] = a;
    tensors[`base_model.model.${module}.lora_B.weight`] = b;
    const sum = base.get(name)!.slice();
    for (let row = 0; row < out; row++) {
      for (let col = 0; col < input; col++) {
        for (let k = 0; k < rank; k++)
          sum[row * input + col]! += own.scaleOf(module) * b.values[row * rank + k]! * a.values[k * input + col]!;
      }
    }
    weights.set(name, sum);
  }
  return { tensors, weights };
}

test("adapters of several ranks and scales in one batch with the base are W + (alpha / r) · B · A", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "kindred-engine-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const base = randomWeights(config);
  const models = new Map<string | null, WeightTable>([[null, base]]);
  for (const [index, [name, own]] of Object.entries(adapters).entries()) {
    const { tensors, weights } = build(own, 10_000 * (index + 1), base);
    models.set(name, weights);
    await writeAdapter(join(folder, name), own, tensors);
  }
  const checkpoint = memoryCheckpoint(config, base);
  const sources = Object.keys(adapters).map((name) => ({ name, path: join(folder, name) }));
  const { variants, refused } = await openVariants(sources, checkpoint);
  assert.deepEqual(refused, []);
  const layout = poolLayout(config, [...variants.values()], Number.POSITIVE_INFINITY)!;
  assert.deepEqual([...layout.classes.keys()].sort(), ["f16x16", "f16x8"]);
  using bench = await Workbench.open(checkpoint, { pools: layout });
  const residents = new Map<string, ResidentVariant>();
  const used = new Map<string, number>();
  for (const [name, variant] of variants) {
    const slots = new Map<string, number>();
    for (const id of variant.needs) {
      slots.set(id, used.get(id) ?? 0);
      used.set(id, slots.get(id)! + 1);
    }
    const place = { index: residents.size, slots, vocabSize: variant.vocabSize };
    await loadVariant(variant, place, bench);
    residents.set(name, place);
  }

  const specs = ([...models.keys(), "small", null] as const).map((variant, index) => {
    const prompt = Array.from({ length: 3 + 2 * index }, (_, at) =>
      Math.floor(uniformAt(index, at) * config.vocabSize),
    );
    return spec(`${index}`, prompt, { variant, maxTokens: 3 });
  });
  const outcomes = bench.run(specs, { resident: (name) => residents.get(name) });
  for (const { id, variant, prompt } of specs) {
    const { tokens, logits } = outcomes.get(id)!;
    const expected = referenceLogits(config, models.get(variant)!, [...prompt, ...tokens]).slice(prompt.length - 1, -1);
    const plain = referenceLogits(config, base, [...prompt, ...tokens]).slice(prompt.length - 1, -1);
    for (const [step, row] of logits.entries()) {
      const error = distance(row, expected[step]!);
      assert.ok(error < 2e-3, `${variant}: ${error}`);
      if (variant !== null) assert.ok(distance(plain[step]!, expected[step]!) > 0.05, `${variant} does nothing`);
    }
  }
});

/** Relative to the length of `expected`. */
function distance(actual: ArrayLike<number>, expected: readonly number[]): number {
  const length = (values: readonly number[]) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
  return length(expected.map((value, at) => value - actual[at]!)) / length(expected);
}
