import { existsSync } from "node:fs";
import path from "node:path";
import { compressDelta, createCodec } from "../src/delta/index.js";
import { openCheckpoint } from "../src/formats/index.js";
import { promptTokens } from "./contender.js";
import { KindredContender } from "./kindred-contender.js";
import type { Limits } from "./limits.js";
import { LlamaModel } from "./llama-context.js";
import type { LlamaLibrary } from "./llama-library.js";
import { LlamaPeer, quantizedFile } from "./llama-peer.js";
import { depthPrompts } from "./measures.js";
import { baseMatrices, baseRates, planeRates } from "./product-rates.js";
import { median, type Outcome, type Runner, race } from "./race.js";
import type { SharedThreads } from "./shared-threads.js";

/** Requests of as many variants as of the base. */
const variantCount = 8;
const steps = 6;
const prefillTokens = 512;
const contextLength = 1024;
const dtype = "q8_0";

export interface VariantOptions {
  /** The base and a fine-tune of it: a Hugging Face folder or a GGUF file each. */
  readonly base: string;
  readonly tuned: string;
  /** Where the fine-tune's artifact is kept. */
  readonly folder: string;
  readonly threads: SharedThreads;
  readonly rounds: number;
  /** As `loadKernels` takes it. */
  readonly kernels: "auto" | "none";
  /** llama.cpp, and the model in 16 bits to meet it on; without it that comparison is left out. */
  readonly peer?: { readonly library: LlamaLibrary; readonly source: string };
  onOutcome(comparison: Comparison, outcome: Outcome): void;
}

/** Two sides, and the ratio that is wanted. */
export interface Comparison {
  readonly name: string;
  readonly goal: number;
}

/** Rates that a step has if all of the time that counts were one kind of products. */
export interface ProductRates extends Limits {
  readonly name: string;
}

/** What was found beside the races. */
export interface VariantSummary {
  /** What the variants' products were computed with. */
  readonly kernels: string;
  /** Where the fine-tune's artifact is. */
  readonly artifact: string;
  readonly artifactBytes: number;
  /** Device memory. */
  readonly bytesPerVariant: number;
  /** What a step of variants takes longer than one of the base. */
  readonly addedMs: number;
  readonly products: readonly ProductRates[];
}

/**
 * Batches of eight sequences, each of its own variant, against others: eight of the base, and llama.cpp's eight of one model. And what
 * it costs the base to have variants, and a variant's prompt to be one. The variants are one fine-tune under eight names, each in slots
 * of its own: what they cost does not depend on their values.
 */
export async function compareVariants(options: VariantOptions): Promise<VariantSummary> {
  const { base, threads, rounds, kernels, onOutcome } = options;
  const artifact = await compressed(options);
  const names = Array.from({ length: variantCount }, (_, index) => `variant-${index}`);
  const shared = { base, dtype, threads, contextLength, sequences: variantCount, kernels } as const;
  using many = await KindredContender.open({ ...shared, variants: names.map((name) => ({ name, path: artifact })) });
  using one = await KindredContender.open(shared);
  const { vocabSize } = one;
  const batch = (contender: KindredContender, variants?: readonly string[]): Runner => {
    contender.begin(depthPrompts(variantCount, vocabSize), variants);
    return { tokens: variantCount * steps, timeMs: () => contender.decodeMs(steps) };
  };
  const prompt = promptTokens(prefillTokens, vocabSize);
  const prefill = (contender: KindredContender, variant?: string): Runner => ({
    tokens: prefillTokens,
    timeMs: () => contender.prefillMs(prompt, variant),
  });

  const ofVariants = race(batch(many, names), batch(one), rounds);
  onOutcome({ name: "8 variants, 8 of the base", goal: 0.55 }, ofVariants);
  if (options.peer) {
    const outcome = againstPeer(options.peer, options, batch(many, names));
    onOutcome({ name: "8 variants, llama.cpp's 8 of one model", goal: 1.5 }, outcome);
  }
  onOutcome({ name: "8 of the base beside variants, without", goal: 0.98 }, race(batch(many), batch(one), rounds));
  const ofPrompts = race(prefill(many, names[0]), prefill(one), rounds);
  onOutcome({ name: "prefill of 512 of a variant, of the base", goal: 0.9 }, ofPrompts);

  const addedMs = variantCount * 1000 * (1 / ofVariants.ours - 1 / ofVariants.theirs);
  const matrices = baseMatrices(one.config, dtype);
  const ofBase = (name: string, rows: number, outputs: number, ms: number) => ({
    name: `base, ${name}`,
    ...baseRates(matrices, { rows, outputs, ms }),
  });
  return {
    kernels: many.kernels,
    artifact,
    artifactBytes: many.artifactBytes,
    bytesPerVariant: many.bytesPerVariant,
    addedMs,
    products: [
      ofBase("decode", 1, 1, decodeStepMs(one, rounds)),
      ofBase("batch of 8", variantCount, variantCount, (1000 * variantCount) / ofVariants.theirs),
      ofBase("prefill of 512", prefillTokens, 1, (1000 * prefillTokens) / ofPrompts.theirs),
      { name: "8 deltas", ...planeRates(variantCount * many.bytesPerVariant, addedMs) },
    ],
  };
}

/** Eight sequences of one model in llama.cpp's Q8_0, with the cache that is faster here. */
function againstPeer(
  { library, source }: NonNullable<VariantOptions["peer"]>,
  { folder, threads, rounds }: VariantOptions,
  ours: Runner,
): Outcome {
  const file = quantizedFile(library, source, dtype, { folder, threads: threads.count });
  using model = new LlamaModel(library, file, threads);
  const peer = (unified: boolean) => new LlamaPeer(model, { sequences: variantCount, contextLength, unified });
  using separate = peer(false);
  using together = peer(true);
  const runner = (contender: LlamaPeer): Runner => {
    contender.begin(depthPrompts(variantCount, model.vocabSize));
    return { tokens: variantCount * steps, timeMs: () => contender.decodeMs(steps) };
  };
  const [a, b] = [runner(together), runner(separate)];
  return race(ours, race(a, b, 5).ratio > 1 ? a : b, rounds);
}

/** A step of one sequence of the base. */
function decodeStepMs(contender: KindredContender, rounds: number): number {
  contender.begin(depthPrompts(1, contender.vocabSize));
  const stepsEach = 16;
  return median(Array.from({ length: rounds }, () => contender.decodeMs(stepsEach) / stepsEach));
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
