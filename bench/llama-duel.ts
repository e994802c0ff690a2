import type { BaseDType } from "../src/model/index.js";
import { type Contender, promptTokens } from "./contender.js";
import { KindredContender } from "./kindred-contender.js";
import type { LlamaLibrary } from "./llama-library.js";
import { LlamaModel, LlamaPeer, type PeerForm, quantizedFile } from "./llama-peer.js";
import { decoding, type Measure, prefilling } from "./measures.js";
import { type Outcome, race } from "./race.js";
import type { SharedThreads } from "./shared-threads.js";

const contextLength = 1024;
const sequences = 8;
const batch = decoding("batch of 8", { sequences, steps: 6, goal: 1 });

/** What is compared, with the ratio to llama.cpp that Kindred is held to. */
export const measures: readonly Measure[] = [
  decoding("decode", { sequences: 1, steps: 32, goal: 0.95 }),
  prefilling("prefill of 512", { tokens: 512, goal: 0.95 }),
  batch,
];

export interface DuelOptions {
  /** The GGUF file to quantise, and a folder for what comes of it. */
  readonly source: string;
  readonly folder: string;
  readonly threads: SharedThreads;
  readonly rounds: number;
  onOutcome(measure: Measure, outcome: Outcome): void;
}

export interface DuelSummary {
  /** Largest difference between the sides' log-probabilities of likely tokens after a prompt: small when the weights are the same. */
  readonly logprobDifference: number;
  /** llama.cpp's cache was one buffer for the whole batch, which was faster here than one a sequence. */
  readonly unified: boolean;
}

/** Kindred against llama.cpp on one file, in one process, on the same threads. */
export async function duel(library: LlamaLibrary, form: PeerForm, options: DuelOptions): Promise<DuelSummary> {
  const { threads, rounds } = options;
  const file = quantizedFile(library, options.source, form, { folder: options.folder, threads: threads.count });
  using model = new LlamaModel(library, file, threads);
  using alone = new LlamaPeer(model, { sequences: 1, contextLength, unified: true });
  using separate = new LlamaPeer(model, { sequences, contextLength, unified: false });
  using unified = new LlamaPeer(model, { sequences, contextLength, unified: true });
  const dtype: BaseDType = "auto"; // as the file has it
  using ours = await KindredContender.open({ base: file, dtype, threads, contextLength, sequences });

  const { vocabSize } = model;
  const runner = (measure: Measure, contender: Contender) => {
    measure.prepare(contender, vocabSize);
    return { tokens: measure.tokens, timeMs: () => measure.timeMs(contender, vocabSize) };
  };
  const isUnified = race(runner(batch, unified), runner(batch, separate), 5).ratio > 1;
  for (const measure of measures) {
    const peer = measure.sequences === 1 ? alone : isUnified ? unified : separate;
    options.onOutcome(measure, race(runner(measure, ours), runner(measure, peer), rounds));
  }
  return { logprobDifference: logprobDifference(ours, alone, vocabSize), unified: isUnified };
}

function logprobDifference(ours: Contender, peer: Contender, vocabSize: number): number {
  const prompt = promptTokens(64, vocabSize);
  const [own, theirs] = [ours.likeliest(prompt, 50), peer.likeliest(prompt, 5)];
  return Math.max(
    ...[...theirs].map(([token, logprob]) => Math.abs((own.get(token) ?? Number.NEGATIVE_INFINITY) - logprob)),
  );
}
