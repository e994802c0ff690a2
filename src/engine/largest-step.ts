import { defaultSampling, Sequence, type Span, type StepPlan } from "../core/index.js";
import type { DecoderState } from "../model/index.js";
import type { ResidentVariant } from "./batch.js";

/**
 * A step that takes as much memory as any may: every region has a sequence, the first one computes a prompt that fills what is
 * left of the step, all look over whole regions, in which no word comes twice and for all there is a penalty, and all are of a variant
 * that has parts of every class and words of its own.
 */
export function largestStep(
  { cache, pools, weights }: DecoderState,
  stepTokens: number,
): { plan: StepPlan; resident: () => ResidentVariant | undefined } {
  const { contextLength, regions } = cache;
  const longest = Math.max(1, Math.min(contextLength, stepTokens - (regions - 1)));
  const spans = Array.from({ length: Math.min(regions, stepTokens) }, (_, region): Span => {
    const count = region === 0 ? longest : 1;
    const sequence = new Sequence({
      id: `${region}`,
      variant: pools ? "any" : null,
      prompt: Array.from({ length: contextLength }, (_, at) => at % weights.config.vocabSize),
      generated: [],
      sampling: { ...defaultSampling, repetitionPenalty: 2, seed: 0 },
      maxTokens: 1,
      endTokens: [],
      topLogprobs: null,
    });
    sequence.region = region;
    sequence.computedTokens = contextLength - count;
    return { sequence, count, samples: true };
  });
  const any: ResidentVariant | undefined = pools && {
    index: 0,
    slots: new Map([...pools.layout.classes.keys()].map((classId) => [classId, 0])),
    vocabSize: weights.config.vocabSize + pools.layout.extraRows,
  };
  return { plan: { spans, wanted: [] }, resident: () => any };
}
