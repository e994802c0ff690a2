import type { Checkpoint, FloatDType } from "../formats/index.js";
import { Adam } from "./adam.js";
import { checkInputs } from "./check.js";
import { readExtraRows } from "./extra-rows.js";
import { PassConstants } from "./pass.js";
import { planSamples, type TrainingSample } from "./samples.js";
import type { Student } from "./student.js";
import { StudentWeights } from "./student-weights.js";
import { Teacher } from "./teacher.js";
import { Trainer } from "./trainer.js";
import { Workspace } from "./workspace.js";

/** How far a distillation has come. */
export interface DistillProgress {
  /** Steps done. */
  readonly step: number;
  readonly steps: number;
  /** Of the last step's samples, in nats a token; null before the first. */
  readonly loss: number | null;
  /** Of the held-out samples, when last measured. */
  readonly heldOutLoss: number;
  /** At the pace so far; null before the first step. */
  readonly secondsLeft: number | null;
}

/** What {@link distill} trains, and how. */
export interface DistillOptions {
  readonly base: Checkpoint;
  readonly tuned: Checkpoint;
  readonly student: Student;
  /** At least two: a tenth of them, one at least, judges and is not trained on. */
  readonly samples: readonly TrainingSample[];
  readonly steps: number;
  /** About how far, as a share of itself, a scale moves in an early step. */
  readonly learningRate?: number;
  /** Samples of one step have at most so many tokens in all, unless one alone has more. */
  readonly batchTokens?: number;
  readonly threads: number;
  /** Samples are shuffled by it. The same seed, inputs and machine give the same bytes. */
  readonly seed: number;
  readonly onProgress?: (progress: DistillProgress) => void;
  readonly signal?: AbortSignal;
}

/** What came out. */
export interface Distillation {
  readonly student: Student;
  /** The step after which the student was best on the held-out samples; 0 when none was better than the start, which it then is. */
  readonly keptStep: number;
  /** Mean divergence a counted token of the held-out samples from the fine-tune, in nats. */
  readonly heldOutLoss: { readonly before: number; readonly after: number };
}

const defaults = { learningRate: 0.001, batchTokens: 256 };
const HELD_OUT_TOKENS_MAX = 2048;
/** How often the held-out samples are looked at, beside the start. */
const MEASUREMENTS = 8;
/** What becomes of the learning rate when the held-out samples say that training lost ground. */
const RATE_AFTER_SETBACK = 0.3;
const WARM_UP_STEPS = 5;

/**
 * Trains what of a delta are plain numbers, the scales of its planes and its norms and biases, so that the student says what the
 * fine-tune says: least Kullback–Leibler divergence over the counted tokens, gradients through the whole model, codes as they are.
 * BitDelta's second stage (arXiv 2402.10193, §3.1) trains one scale a matrix on the squared difference of logits.
 *
 * Memory: the base as it is stored, a layer of it in f32 three times over, and of the fine-tune the vocabulary's two ends.
 *
 * @throws {CannotDistill} if student and checkpoints do not fit each other, or a sample does not fit the model
 * @throws the signal's reason when it is aborted, after the step or layer at hand
 */
export async function distill(options: DistillOptions): Promise<Distillation> {
  const { base, tuned, samples, steps, seed, signal = new AbortController().signal } = options;
  const { learningRate = defaults.learningRate, batchTokens = defaults.batchTokens } = options;
  checkInputs(options);
  using workspace = new Workspace(options.threads);
  const plan = planSamples(samples, { steps, batchTokens, heldOutTokensMax: HELD_OUT_TOKENS_MAX, seed });
  const pick = (numbers: readonly number[]) => numbers.map((number) => samples[number]!);
  const batches = plan.batches.map(pick);
  const heldOut = plan.heldOut.map(pick);

  const weights = await StudentWeights.load(workspace, {
    base,
    student: options.student,
    dtypeOf: (name) => storedAs(tuned, name),
  });
  const teacher = await Teacher.run(workspace, tuned, eachOnce([...heldOut, ...batches]), signal);
  const constants = new PassConstants(workspace, tuned.config);
  const extra = await readExtraRows(tuned, base.config.vocabSize);
  const trainer = new Trainer(workspace, { constants, weights, teacher, extra });

  const measure = async () => {
    let sum = 0;
    for (const batch of heldOut) {
      await yieldTo(signal);
      sum += trainer.loss(batch) * batch.length;
    }
    return sum / heldOut.flat().length;
  };
  const before = await measure();
  const best = { loss: before, step: 0, offsets: offsetsOf(weights) };
  let [heldOutLoss, rate, adam] = [before, learningRate, new Adam(weights.trainables)];
  options.onProgress?.({ step: 0, steps, loss: null, heldOutLoss, secondsLeft: null });
  const startedMs = performance.now();
  for (const [index, batch] of batches.entries()) {
    await yieldTo(signal);
    const step = index + 1;
    const loss = trainer.lossAndGradients(batch);
    adam.step(rate * rateAt(index, steps));
    if (step === steps || step % Math.ceil(steps / MEASUREMENTS) === 0) {
      heldOutLoss = await measure();
      if (heldOutLoss < best.loss) {
        Object.assign(best, { loss: heldOutLoss, step, offsets: offsetsOf(weights) });
      } else {
        // Too large steps undo more than they do: back to where it was best, and on from there with smaller ones.
        putOffsets(weights, best.offsets);
        rate *= RATE_AFTER_SETBACK;
        adam = new Adam(weights.trainables);
      }
    }
    const secondsLeft = ((performance.now() - startedMs) / 1000 / step) * (steps - step);
    options.onProgress?.({ step, steps, loss, heldOutLoss, secondsLeft });
  }
  putOffsets(weights, best.offsets);
  return { student: weights.student, keptStep: best.step, heldOutLoss: { before, after: best.loss } };
}

/** A copy of all that training has moved so far. */
function offsetsOf(weights: StudentWeights): Float32Array[] {
  return weights.trainables.map(({ offsets }) => offsets.slice());
}

function putOffsets(weights: StudentWeights, saved: readonly Float32Array[]): void {
  weights.trainables.forEach((trainable, index) => {
    trainable.offsets.set(saved[index]!);
    trainable.store();
  });
}

/** The share of the learning rate at a step: up in a few, then down to 0 along half a cosine. */
function rateAt(index: number, steps: number): number {
  return Math.min(1, (index + 1) / WARM_UP_STEPS) * 0.5 * (1 + Math.cos((Math.PI * index) / steps));
}

/** What an artifact stores a vector of the fine-tune in. */
function storedAs(tuned: Checkpoint, name: string): FloatDType {
  const { dtype } = tuned.tensors.get(name)!;
  return dtype === "f32" || dtype === "bf16" ? dtype : "f16";
}

/** The groups without the samples that an earlier group has. */
function eachOnce(groups: readonly (readonly TrainingSample[])[]): TrainingSample[][] {
  const seen = new Set<TrainingSample>();
  const fresh = groups.map((group) => group.filter((sample) => !seen.has(sample) && seen.add(sample)));
  return fresh.filter((group) => group.length > 0);
}

/** Lets timers and signals have their turn. */
async function yieldTo(signal: AbortSignal): Promise<void> {
  await new Promise(setImmediate);
  signal.throwIfAborted();
}
