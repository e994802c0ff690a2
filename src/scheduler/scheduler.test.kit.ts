// A notation for schedules. A sequence is `name@variant:prompt+max`: "a:5+2" has five prompt tokens and may generate two, "b@clinc:3"
// is for the variant clinc. A plan prints as its spans, `name:count` with `!` where a token is drawn, and the variants it wants:
// "a:1! b:5 wants clinc".

import { defaultSampling, type SampledToken, type SequenceSpec, type StepPlan } from "../core/index.js";
import { Scheduler, type SchedulerLimits } from "./scheduler.js";

/** The token that ends a sequence. */
export const endToken = 2;

export const roomy: SchedulerLimits = { regions: 4, contextLength: 64, stepTokens: 32, queueMax: 16, overtakenMax: 8 };

export function sequence(notation: string): SequenceSpec {
  const { id, variant, prompt, max } = /^(?<id>\w+)(@(?<variant>\w+))?:(?<prompt>\d+)(\+(?<max>\d+))?$/.exec(notation)!
    .groups!;
  return {
    id: id!,
    variant: variant ?? null,
    prompt: Array.from({ length: Number(prompt) }, (_, at) => 100 + at),
    generated: [],
    sampling: { ...defaultSampling, seed: 0 },
    maxTokens: max === undefined ? 1000 : Number(max),
    endTokens: [endToken],
    topLogprobs: null,
  };
}

/** A scheduler with these sequences in its queue. */
export function scheduler(limits: Partial<SchedulerLimits>, ...notations: readonly string[]): Scheduler {
  const made = new Scheduler({ ...roomy, ...limits });
  for (const notation of notations) made.add(sequence(notation));
  return made;
}

export function printPlan({ spans, wanted }: StepPlan): string {
  const printed = spans.map(({ sequence: { id }, count, samples }) => `${id}:${count}${samples ? "!" : ""}`);
  return [...printed, ...(wanted.length > 0 ? ["wants", ...wanted] : [])].join(" ");
}

/** What an engine would draw: token 7, or by a sequence's name another. */
export function draw(plan: StepPlan, tokens: Readonly<Record<string, number>> = {}): SampledToken[] {
  return plan.spans
    .filter(({ samples }) => samples)
    .map(({ sequence: { id } }) => ({ id, token: tokens[id] ?? 7, logprob: null, top: [] }));
}

/** Plans and computes a step; what it printed, and who finished, "a stop". */
export function step(
  made: Scheduler,
  options: { resident?: readonly string[]; tokens?: Readonly<Record<string, number>> } = {},
): { plan: string; finished: string[] } {
  const plan = made.plan({ isResident: (variant) => options.resident?.includes(variant) ?? false });
  const finished = made.commit(plan, draw(plan, options.tokens));
  return { plan: printPlan(plan), finished: finished.map(({ id, reason }) => `${id} ${reason}`) };
}

/** The plans of so many steps. */
export function plans(made: Scheduler, steps: number, options: Parameters<typeof step>[1] = {}): string[] {
  return Array.from({ length: steps }, () => step(made, options).plan);
}
