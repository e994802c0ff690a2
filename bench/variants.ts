import { existsSync } from "node:fs";
import path from "node:path";
import { dtypes } from "../src/core/index.js";
import { compressDelta, createCodec } from "../src/delta/index.js";
import { openCheckpoint } from "../src/formats/index.js";
import { KindredContender } from "./kindred-contender.js";
import type { Limits } from "./limits.js";
import { depthPrompts } from "./measures.js";
import { median, type Outcome, race } from "./race.js";
import type { SharedThreads } from "./shared-threads.js";

/** Requests of as many variants as of the base. */
const variantCount = 8;
const steps = 6;
const contextLength = 1024;
const { blockBytes: signBlockBytes, blockSize: signBlockWeights } = dtypes.q1_0;

export interface VariantOptions {
  /** The base and a fine-tune of it: a Hugging Face folder or a GGUF file each. */
  readonly base: string;
  readonly tuned: string;
  /** Where the fine-tune's artifact is kept. */
  readonly folder: string;
  readonly threads: SharedThreads;
  readonly rounds: number;
}

/** A race of requests for different variants, `ours`, against as many for the base, `theirs`. */
export interface VariantOutcome extends Outcome {
  /** What the variants' products were computed with. */
  readonly kernels: string;
  readonly variants: number;
  readonly artifactBytes: number;
  /** Device memory. */
  readonly bytesPerVariant: number;
  /** From a file in the page cache into its slots, every blob verified; the median. */
  readonly loadMs: number;
  /** What a step of variants takes longer than one of the base. */
  readonly addedMs: number;
  /** At what rate the variants' planes are read in that time, and multiplied: if all of it were products. */
  readonly added: Limits;
}

/**
 * Decodes a batch of eight, each of its own variant, against the same batch of the base. The variants are one fine-tune under eight
 * names, each in slots of its own: what they cost does not depend on their values.
 *
 * @param kernels as `loadKernels` takes it
 */
export async function compareVariants(options: VariantOptions, kernels: string): Promise<VariantOutcome> {
  const { base, threads, rounds } = options;
  const artifact = await compressed(options);
  const names = Array.from({ length: variantCount }, (_, index) => `variant-${index}`);
  const shared = { base, dtype: "q8_0" as const, threads, contextLength, sequences: variantCount, kernels };
  using many = await KindredContender.open({ ...shared, variants: names.map((name) => ({ name, path: artifact })) });
  using one = await KindredContender.open(shared);
  const prompts = depthPrompts(variantCount, one.vocabSize);
  many.begin(prompts, names);
  one.begin(prompts);
  const runner = (contender: KindredContender) => ({
    tokens: variantCount * steps,
    timeMs: () => contender.decodeMs(steps),
  });
  const outcome = race(runner(many), runner(one), rounds);
  const addedMs = variantCount * 1000 * (1 / outcome.ours - 1 / outcome.theirs);
  const planeBytes = variantCount * many.bytesPerVariant;
  return {
    ...outcome,
    kernels: many.kernels,
    variants: variantCount,
    artifactBytes: many.loads[0]!.bytes,
    bytesPerVariant: many.bytesPerVariant,
    loadMs: median(many.loads.map(({ tookMs }) => tookMs)),
    addedMs,
    added: {
      gigabytesPerSecond: planeBytes / addedMs / 1e6,
      gigaproductsPerSecond: ((planeBytes / signBlockBytes) * signBlockWeights) / addedMs / 1e6,
    },
  };
}

/** The fine-tune in one sign plane, compressed if that was not done before. */
async function compressed({ base, tuned, folder, threads }: VariantOptions): Promise<string> {
  const out = path.join(folder, `${path.basename(path.resolve(tuned))}.sign-1`);
  if (existsSync(out)) return out;
  await using baseCheckpoint = await openCheckpoint(base);
  await using tunedCheckpoint = await openCheckpoint(tuned);
  const codec = createCodec("sign", { planes: "1" });
  await compressDelta({ base: baseCheckpoint, tuned: tunedCheckpoint, codec, out, threads: threads.count });
  return out;
}
