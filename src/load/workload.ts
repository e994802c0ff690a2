import { assert } from "../util/index.js";
import { type Arrivals, arrivalTimes } from "./arrivals.js";
import { Dice } from "./dice.js";
import { drawLength, type Lengths } from "./lengths.js";
import { modelChoices, type Popularity, sharesOf } from "./popularity.js";

/** A request that is to be sent: when, for what, how long. */
export interface PlannedRequest {
  /** Milliseconds from the start of the run. */
  readonly atMs: number;
  readonly model: string;
  /** Which of the clients sends it, from 0. */
  readonly client: number;
  readonly promptTokens: number;
  /** Tokens of the answer at most. */
  readonly outputTokens: number;
}

/** What of a workload does not depend on when its requests come. */
export interface WorkloadContent {
  /** Requests of one seed and one set of options are always the same. Below 2^32. */
  readonly seed: number;
  /** The most popular first. */
  readonly models: readonly string[];
  readonly popularity: Popularity;
  readonly promptTokens: Lengths;
  readonly outputTokens: Lengths;
  /** They send in turns. */
  readonly clients: number;
  /** Requests that would come later are left out. */
  readonly untilMs: number;
  readonly requestsMax: number;
}

/** Everything that makes a workload. */
export interface WorkloadOptions extends WorkloadContent {
  readonly arrivals: Arrivals;
  /** Requests a second over all models. */
  readonly rate: number;
  /**
   * Every model has an arrival process of its own, at its share of the rate, so that requests for one come together as the process
   * has them. Else one process brings all requests, each for a model of its own choice.
   */
  readonly perModel: boolean;
}

/** Streams of draws, one for each thing that is drawn. Those of models' own processes come after. */
export const streams = { times: 0, models: 1, prompts: 2, outputs: 3, texts: 4, ownTimes: 5 } as const;

/** Draws a workload, in the order of its times. */
export function generateWorkload(options: WorkloadOptions): PlannedRequest[] {
  const { models, untilMs, requestsMax } = options;
  assert(models.length > 0, "a workload without models");
  assert(Number.isFinite(untilMs) || Number.isFinite(requestsMax), "a workload without an end");
  const draw = contentOf(options);
  const planned: PlannedRequest[] = [];
  for (const { atMs, model } of options.perModel ? ownArrivals(options) : commonArrivals(options)) {
    if (atMs >= untilMs || planned.length === requestsMax) break;
    planned.push({ atMs, model: models[model]!, ...draw(planned.length) });
  }
  return planned;
}

/** Draws what a request is beside its time and model. Of request after request, in order. */
export function contentOf({ seed, clients, promptTokens, outputTokens }: WorkloadContent) {
  const prompts = new Dice(seed, streams.prompts);
  const outputs = new Dice(seed, streams.outputs);
  return (index: number) => ({
    client: index % clients,
    promptTokens: drawLength(promptTokens, prompts),
    outputTokens: drawLength(outputTokens, outputs),
  });
}

interface Arrival {
  readonly atMs: number;
  readonly model: number;
}

function* commonArrivals({ seed, arrivals, rate, models, popularity }: WorkloadOptions): Generator<Arrival> {
  const choices = modelChoices(popularity, models.length, new Dice(seed, streams.models));
  for (const atMs of arrivalTimes(arrivals, rate, new Dice(seed, streams.times)))
    yield { atMs, model: choices.next().value! };
}

/** The processes of all models, merged: each time the earliest of their next arrivals. */
function* ownArrivals({ seed, arrivals, rate, models, popularity }: WorkloadOptions): Generator<Arrival> {
  const processes = sharesOf(popularity, models.length).flatMap((share, model) => {
    if (share === 0) return [];
    const times = arrivalTimes(arrivals, rate * share, new Dice(seed, streams.ownTimes + model));
    return [{ model, times, nextMs: times.next().value! }];
  });
  for (;;) {
    const next = processes.reduce((first, process) => (process.nextMs < first.nextMs ? process : first));
    yield { atMs: next.nextMs, model: next.model };
    next.nextMs = next.times.next().value!;
  }
}
