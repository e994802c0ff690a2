import { Dice } from "./dice.js";
import { modelChoices } from "./popularity.js";
import type { TraceRow } from "./trace.js";
import { contentOf, type PlannedRequest, streams, type WorkloadContent } from "./workload.js";

/** What makes a workload of a trace; what the trace does not say is drawn. */
export interface TracedOptions extends WorkloadContent {
  /** How many times as fast as it was recorded. */
  readonly speed: number;
}

/**
 * The requests of a trace, sent to the models there are: the model that it asks for most stands for the most popular, and so on, from
 * the first again where it has more than there are.
 */
export function tracedWorkload(rows: readonly TraceRow[], options: TracedOptions): PlannedRequest[] {
  const { models, seed, popularity, speed, untilMs, requestsMax } = options;
  const draw = contentOf(options);
  const choices = modelChoices(popularity, models.length, new Dice(seed, streams.models));
  const ranks = ranksOf(rows);
  const planned: PlannedRequest[] = [];
  for (const row of rows) {
    const atMs = row.atMs / speed;
    if (atMs >= untilMs || planned.length === requestsMax) break;
    const drawn = draw(planned.length);
    const model = row.model === null ? choices.next().value! : ranks.get(row.model)! % models.length;
    planned.push({
      atMs,
      model: models[model]!,
      client: drawn.client,
      promptTokens: row.promptTokens ?? drawn.promptTokens,
      outputTokens: row.outputTokens ?? drawn.outputTokens,
    });
  }
  return planned;
}

/** The models of a trace from the most asked for, counted from 0. */
function ranksOf(rows: readonly TraceRow[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const { model } of rows) if (model !== null) counts.set(model, (counts.get(model) ?? 0) + 1);
  const byCount = [...counts].sort(([, a], [, b]) => b - a);
  return new Map(byCount.map(([model], rank) => [model, rank]));
}
