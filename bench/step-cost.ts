import { setTimeout as wait } from "node:timers/promises";
import { serialize } from "node:v8";
import type { SamplingParams } from "../src/core/index.js";
import { defaultEngineOptions, Engine, type StepTimes } from "../src/engine/index.js";
import { openCheckpoint } from "../src/formats/index.js";
import { greedySpec, promptTokens } from "./contender.js";

/** Sequences that decode at once. */
const sequences = 32;
const contextLength = 512;
const promptLength = 64;
/** Steps that are counted, at least. */
const stepsWanted = 60;

/** Ways of drawing tokens that people ask for, as a request has them. */
export const drawnWays: Readonly<Record<string, Partial<SamplingParams>>> = {
  "temperature 0": { temperature: 0 },
  "temperature 1": { temperature: 1 },
  "top_p 0.9": { temperature: 1, topP: 0.9 },
};

/** What a step takes beside the device's computing: planning, arrays, drawing tokens, books, and messages as they are written for another process. */
export interface StepCost {
  readonly sequences: number;
  /** Of a step, all included, and of that outside the device. */
  readonly tookMs: number;
  readonly outsideMs: number;
}

/** Decodes 32 sequences of the base in an engine, and says what part of its steps was no computing. */
export async function measureStepCost(options: {
  readonly base: string;
  readonly threads: number;
  /** How tokens are drawn, as far as it is not the default. */
  readonly sampling: Partial<SamplingParams>;
}): Promise<StepCost> {
  const { base, threads, sampling } = options;
  const vocabSize = await vocabularyOf(base);
  using engine = await Engine.open(
    { ...defaultEngineOptions, base, variants: [], baseDType: "q8_0", threads, sequences, contextLength },
    (message) => serialize(message),
  );
  for (let index = 0; index < sequences; index++) {
    const spec = greedySpec(String(index), promptTokens(promptLength, vocabSize, index));
    engine.submit({
      ...spec,
      sampling: { ...spec.sampling, ...sampling, seed: index },
      maxTokens: contextLength - promptLength,
    });
  }
  const running = engine.run();
  const prefilled = Math.ceil((sequences * promptLength) / defaultEngineOptions.stepTokens) + 1;
  const from = await timesAfter(engine, prefilled);
  const to = await timesAfter(engine, from.steps + stepsWanted);
  engine.stop();
  await running;
  const steps = to.steps - from.steps;
  const [tookMs, computeMs] = [to.tookMs - from.tookMs, to.computeMs - from.computeMs];
  return { sequences, tookMs: tookMs / steps, outsideMs: (tookMs - computeMs) / steps };
}

async function vocabularyOf(base: string): Promise<number> {
  await using checkpoint = await openCheckpoint(base);
  return checkpoint.config.vocabSize;
}

async function timesAfter(engine: Engine, steps: number): Promise<StepTimes> {
  while (engine.stepTimes.steps < steps) await wait(1);
  return engine.stepTimes;
}
