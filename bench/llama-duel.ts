import type { BaseDType } from "../src/model/index.js";
import { type Contender, promptTokens } from "./contender.js";
import { KindredContender } from "./kindred-contender.js";
import { LlamaModel } from "./llama-context.js";
import type { LlamaLibrary } from "./llama-library.js";
import { LlamaPeer, type PeerForm, quantizedFile } from "./llama-peer.js";
import { type Goals, type Measure, measuresOf } from "./measures.js";
import { type Outcome, race } from "./race.js";
import type { SharedThreads } from "./shared-threads.js";

const contextLength = 1024;
const sequencesMax = 8;

/** Who meets whom: the form of the weights on each side, our kernels, and what is wanted. */
export interface Pairing {
  readonly name: string;
  readonly ours: PeerForm;
  readonly theirs: PeerForm;
  /** As `loadKernels` takes it. */
  readonly kernels: "auto" | "none";
  readonly goals: Goals;
}

const alike = (goal: number): Goals => ({ decode: goal, batchOf4: goal, batchOf8: goal, prefill: goal });

/** Ours is 8 bits against llama.cpp's 8 bits and against its fastest form; without kernels of our own it is llama.cpp's type. */
export const pairings: readonly Pairing[] = [
  {
    name: "Q8_0, llama.cpp Q8_0",
    ours: "q8_0",
    theirs: "q8_0",
    kernels: "auto",
    goals: { decode: 1.5, batchOf4: 3, batchOf8: 2.5, prefill: 1.5 },
  },
  { name: "Q8_0, llama.cpp Q4_0", ours: "q8_0", theirs: "q4_0", kernels: "auto", goals: alike(0.9) },
  { name: "Q8_0 without native/, llama.cpp Q8_0", ours: "q8_0", theirs: "q8_0", kernels: "none", goals: alike(1) },
  { name: "Q4_0 without native/, llama.cpp Q4_0", ours: "q4_0", theirs: "q4_0", kernels: "none", goals: alike(1) },
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
  readonly kernels: string;
  /** Largest difference between the sides' log-probabilities of likely tokens after a prompt: small when the weights are the same. */
  readonly logprobDifference: number;
  /** Batches for which llama.cpp's cache was one buffer, which was faster here than one a sequence. */
  readonly unified: readonly string[];
}

/** Kindred against llama.cpp on one model, in one process, on the same threads. */
export async function duel(library: LlamaLibrary, pairing: Pairing, options: DuelOptions): Promise<DuelSummary> {
  const { threads, rounds } = options;
  const file = (form: PeerForm) =>
    quantizedFile(library, options.source, form, { folder: options.folder, threads: threads.count });
  using model = new LlamaModel(library, file(pairing.theirs), threads);
  using alone = new LlamaPeer(model, { sequences: 1, contextLength, unified: true });
  using separate = new LlamaPeer(model, { sequences: sequencesMax, contextLength, unified: false });
  using together = new LlamaPeer(model, { sequences: sequencesMax, contextLength, unified: true });
  const dtype: BaseDType = "auto"; // as the file has it
  using ours = await KindredContender.open({
    base: file(pairing.ours),
    dtype,
    threads,
    contextLength,
    sequences: sequencesMax,
    kernels: pairing.kernels,
  });

  const { vocabSize } = model;
  const runner = (measure: Measure, contender: Contender) => {
    measure.prepare(contender, vocabSize);
    return { tokens: measure.tokens, timeMs: () => measure.timeMs(contender, vocabSize) };
  };
  const unified: string[] = [];
  const peerFor = (measure: Measure) => {
    if (measure.sequences === 1) return alone;
    if (race(runner(measure, together), runner(measure, separate), 5).ratio <= 1) return separate;
    unified.push(measure.name);
    return together;
  };
  for (const measure of measuresOf(pairing.goals)) {
    const peer = peerFor(measure);
    options.onOutcome(measure, race(runner(measure, ours), runner(measure, peer), rounds));
  }
  return { kernels: ours.kernels, logprobDifference: logprobDifference(ours, alone, vocabSize), unified };
}

function logprobDifference(ours: Contender, peer: Contender, vocabSize: number): number {
  const prompt = promptTokens(64, vocabSize);
  const [own, theirs] = [ours.likeliest(prompt, 50), peer.likeliest(prompt, 5)];
  return Math.max(
    ...[...theirs].map(([token, logprob]) => Math.abs((own.get(token) ?? Number.NEGATIVE_INFINITY) - logprob)),
  );
}
