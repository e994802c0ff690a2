// A program: logits of the embedded base and of random variants on the kind of device that the first argument names, as JSON on
// stdout. The second argument is how many tokens a step may have.

import { readFile } from "node:fs/promises";
import { NativeError } from "../core/index.js";
import { openCheckpoint } from "../formats/index.js";
import { Device } from "../ggml/index.js";
import { smallConfig } from "./random-model.test.kit.js";
import type { RandomVariant } from "./random-variant.test.kit.js";
import { openFamily } from "./variant-family.test.kit.js";
import { spec, Workbench } from "./workbench.test.kit.js";

/** What the program prints: logits by what computed them, or why this machine has no such device. */
export type LogitsReport =
  | { readonly device: string; readonly isHost: boolean; readonly logits: Readonly<Record<string, readonly number[]>> }
  | { readonly unavailable: string };

async function report(kind: "cpu" | "vulkan", stepTokens: number): Promise<LogitsReport> {
  let device: Device;
  try {
    device = Device.open({ kind, threads: 1 });
  } catch (error) {
    if (error instanceof NativeError) return { unavailable: error.message };
    throw error;
  }
  const logits = { ...(await ofTheBase(device, stepTokens)), ...(await ofVariants(device, stepTokens)) };
  return { device: device.description, isHost: device.kind === "cpu", logits };
}

/** The embedded base as it is served: 8-bit weights, half-float keys and values. */
async function ofTheBase(device: Device, stepTokens: number): Promise<Record<string, readonly number[]>> {
  await using checkpoint = await openCheckpoint("models/tiny/base");
  const bench = await Workbench.open(checkpoint, {
    device,
    dtype: "q8_0",
    kvDType: "f16",
    regions: 2,
    contextLength: 512,
  });
  // "The quick brown fox" and a chat, as test/golden has them.
  const golden = JSON.parse(await readFile("test/golden/tiny-base.json", "utf8")) as { tokens: number[] }[];
  const prompts = [golden[1]!.tokens, golden[5]!.tokens];
  return Object.fromEntries(
    prompts.map((prompt, index) => {
      const { logits } = bench.run([spec("a", prompt)], { stepTokens }).get("a")!;
      return [`the tiny base, prompt ${index}`, Array.from(logits[0]!)];
    }),
  );
}

/** A random base with a variant of each kind of parts, two of them with words of their own. */
async function ofVariants(device: Device, stepTokens: number): Promise<Record<string, readonly number[]>> {
  const config = smallConfig({ qkvBias: true, tiedEmbeddings: false });
  const variants: Readonly<Record<string, RandomVariant>> = {
    q1_0: { seed: 0, dtype: "q1_0", planes: 2, extraRows: 0 },
    tq1_0: { seed: 1, dtype: "tq1_0", planes: 1, extraRows: 1 },
    q8_0: { seed: 2, dtype: "q8_0", planes: 1, extraRows: 2 },
    factors: { seed: 3, dtype: "q1_0", planes: 1, extraRows: 0, factors: [{ dtype: "q8_0", rank: 32 }] },
    lora: { seed: 4, dtype: "q1_0", planes: 0, extraRows: 0, factors: [{ dtype: "f16", rank: 8 }] },
  };
  const { bench, resident } = await openFamily(config, variants, { device, dtype: "f16", kvDType: "f16", regions: 4 });
  const specs = [null, ...Object.keys(variants)].map((variant) => {
    const lastWord = config.vocabSize - 1 + (variant === null ? 0 : variants[variant]!.extraRows);
    return spec(variant ?? "base", [3, 50, lastWord], { variant });
  });
  const results: Record<string, readonly number[]> = {};
  for (const one of specs) {
    // Alone, for the products of several rows take a software driver long to compile.
    const outcome = bench.run([one], { stepTokens, resident }).get(one.id)!;
    results[`a random model, ${one.id}`] = Array.from(outcome.logits[0]!);
  }
  return results;
}

const [kind, stepTokens] = process.argv.slice(2);
process.stdout.write(JSON.stringify(await report(kind as "cpu" | "vulkan", Number(stepTokens))));
