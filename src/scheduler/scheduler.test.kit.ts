// A notation for schedules. A sequence is `client/name@variant:prompt+max^priority`: "a:5+2" has five prompt tokens and may generate
// two, "b@clinc:3" is for the variant clinc, "ann/c:3^-1" is ann's and more urgent. A plan prints as its spans, `name:count` with `!` where a token is drawn, and the variants it wants:
// "a:1! b:5 wants clinc".

import { defaultSampling, type SampledToken, type SequenceSpec, type StepPlan } from "../core/index.js";
import type { Facts } from "./facts.js";
import { defaultRules, type Rules } from "./rules.js";
import { Scheduler, type SchedulerLimits } from "./scheduler.js";

/** The token that ends a sequence. */
export const endToken = 2;

export const roomy: SchedulerLimits = { regions: 4, contextLength: 64, stepTokens: 32, queueMax: 16 };

export function sequence(notation: string): SequenceSpec {
  const { client, id, variant, prompt, max, priority } =
    /^((?<client>\w+)\/)?(?<id>\w+)(@(?<variant>\w+))?:(?<prompt>\d+)(\+(?<max>\d+))?(\^(?<priority>-?\d+))?$/.exec(
      notation,
    )!.groups!;
  return {
    id: id!,
    variant: variant ?? null,
    // No two begin alike: what sequences have in common is for the tests about that.
    prompt: Array.from({ length: Number(prompt) }, (_, at) => (at === 0 ? 1000 + numberOf(id!) : 100 + at)),
    generated: [],
    sampling: { ...defaultSampling, seed: 0 },
    maxTokens: max === undefined ? 1000 : Number(max),
    endTokens: [endToken],
    topLogprobs: null,
    standing: { client: client ?? "", priority: Number(priority ?? 0), deadlineMs: null },
  };
}

/** A number for a name, another for each. */
function numberOf(name: string): number {
  return [...name].reduce((sum, letter) => sum * 128 + letter.charCodeAt(0), 0);
}

/** A scheduler with these sequences in its queue. */
export function scheduler(
  { rules, ...limits }: Partial<Omit<SchedulerLimits, "rules">> & { rules?: Partial<Rules> },
  ...notations: readonly string[]
): Scheduler {
  const made = new Scheduler({ ...roomy, ...limits, rules: { ...defaultRules, ...rules } });
  for (const notation of notations) made.add(sequence(notation));
  return made;
}

export function printPlan({ spans, wanted }: StepPlan): string {
  const printed = spans.map(({ sequence: { id }, count, samples }) => `${id}:${count}${samples ? "!" : ""}`);
  return [...printed, ...(wanted.length > 0 ? ["wants", ...wanted.map(({ variant }) => variant)] : [])].join(" ");
}

/** What an engine would draw: token 7, or by a sequence's name another. */
export function draw(plan: StepPlan, tokens: Readonly<Record<string, number>> = {}): SampledToken[] {
  return plan.spans
    .filter(({ samples }) => samples)
    .map(({ sequence: { id } }) => ({ id, token: tokens[id] ?? 7, logprob: null, top: [] }));
}

/** The world at one step. */
export interface Scene {
  readonly resident?: readonly string[];
  readonly loading?: readonly string[];
  /** Variants that can be resident at once. */
  readonly slots?: number;
  readonly tokens?: Readonly<Record<string, number>>;
}

export function facts({ resident = [], loading = [], slots = Number.POSITIVE_INFINITY }: Scene = {}): Facts {
  return {
    residency: (variant) =>
      resident.includes(variant) ? "resident" : loading.includes(variant) ? "loading" : "absent",
    identity: (variant) => variant,
    hasRoom: (_variant, pinned) => new Set([...pinned, ...loading]).size < slots,
  };
}

/** Plans and computes a step; what it printed, and who finished, "a stop". */
export function step(made: Scheduler, options: Scene = {}): { plan: string; finished: string[] } {
  const plan = made.plan(facts(options));
  const finished = made.commit(plan, draw(plan, options.tokens));
  return { plan: printPlan(plan), finished: finished.map(({ id, reason }) => `${id} ${reason}`) };
}

/** The plans of so many steps. */
export function plans(made: Scheduler, steps: number, options: Scene = {}): string[] {
  return Array.from({ length: steps }, () => step(made, options).plan);
}
