// Definitions are those of vLLM's `bench serve`: times count from sending, time per output token leaves the first out, a gap is between
// pieces as they are streamed, throughput is over the time from the start to the last answer, and percentiles are interpolated.

import { e2eMs, interruptedCode, type RequestRecord, tpotMs, ttftMs } from "./record.js";

/** Limits that a request must keep to count as good; those left out do not. */
export interface Slo {
  readonly ttftMs?: number;
  readonly tpotMs?: number;
  readonly e2eMs?: number;
}

/** `"TTFT ≤ 500 ms, TPOT ≤ 50 ms"` */
export function printSlo(slo: Slo): string {
  return Object.entries(slo)
    .map(([name, limit]) => `${name.replace("Ms", "").toUpperCase()} ≤ ${limit} ms`)
    .join(", ");
}

/** Of some numbers, in milliseconds. */
export interface Distribution {
  readonly count: number;
  readonly mean: number;
  readonly median: number;
  readonly p90: number;
  readonly p99: number;
}

/** What came of a group of requests. */
export interface LoadSummary {
  readonly sent: number;
  readonly completed: number;
  readonly failed: number;
  /** Under way when the run was broken off. */
  readonly interrupted: number;
  /** Failed requests by the code of their error. */
  readonly errors: Readonly<Record<string, number>>;
  readonly seconds: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** A second, over complete requests. */
  readonly requestThroughput: number;
  readonly outputThroughput: number;
  readonly tokenThroughput: number;
  /** Null where nothing was measured. */
  readonly ttftMs: Distribution | null;
  readonly tpotMs: Distribution | null;
  readonly itlMs: Distribution | null;
  readonly e2eMs: Distribution | null;
  /** Time to first token of requests that waited for their variant, and of the others. */
  readonly coldTtftMs: Distribution | null;
  readonly warmTtftMs: Distribution | null;
  /** Part of the complete and failed requests that kept the limits, and how many that were a second; null without limits. */
  readonly attainment: number | null;
  readonly goodput: number | null;
}

/** Summary of a whole run. */
export interface RunSummary extends LoadSummary {
  readonly models: readonly { readonly model: string; readonly summary: LoadSummary }[];
  /**
   * Jain's index (Jain, Chiu and Hawe 1984) over the speed that clients, and models, were served at: output tokens over the seconds their
   * requests were under way. 1 is equal, 1 / n is all for one of n. Null where there is one or none.
   */
  readonly clientFairness: number | null;
  readonly modelFairness: number | null;
  /** How late requests went out, by this client's own fault. */
  readonly latenessMs: Distribution | null;
}

/** Summarises a run, as a whole and model by model, the one with the most requests first. */
export function summarizeRun(records: readonly RequestRecord[], slo: Slo): RunSummary {
  const seconds = finishedOf(records).reduce((last, { endMs }) => Math.max(last, endMs), 0) / 1000;
  const models = [...groupedBy(records, ({ model }) => model)].sort(([, a], [, b]) => b.length - a.length);
  return {
    ...summarize(records, slo, seconds),
    models: models.map(([model, own]) => ({ model, summary: summarize(own, slo, seconds) })),
    clientFairness: fairnessOf(records, ({ client }) => client),
    modelFairness: fairnessOf(records, ({ model }) => model),
    latenessMs: distributionOf(records.map(({ sentMs, plannedMs }) => sentMs - plannedMs)),
  };
}

function summarize(records: readonly RequestRecord[], slo: Slo, seconds: number): LoadSummary {
  const finished = finishedOf(records);
  const completed = finished.filter(({ failure }) => failure === null);
  const errors: Record<string, number> = {};
  for (const { failure } of finished) if (failure) errors[failure.code] = (errors[failure.code] ?? 0) + 1;
  const good = completed.filter((record) => meets(record, slo)).length;
  const hasSlo = Object.keys(slo).length > 0;
  const promptTokens = sumOf(completed.map((record) => record.promptTokens ?? 0));
  const outputTokens = sumOf(completed.map((record) => record.outputTokens));
  const perSecond = (count: number) => (seconds > 0 ? count / seconds : 0);
  const ttftOf = (some: readonly RequestRecord[]) => distributionOf(measured(some, ttftMs));
  return {
    sent: records.length,
    completed: completed.length,
    failed: finished.length - completed.length,
    interrupted: records.length - finished.length,
    errors,
    seconds,
    promptTokens,
    outputTokens,
    requestThroughput: perSecond(completed.length),
    outputThroughput: perSecond(outputTokens),
    tokenThroughput: perSecond(promptTokens + outputTokens),
    ttftMs: ttftOf(completed),
    tpotMs: distributionOf(measured(completed, tpotMs)),
    itlMs: distributionOf(completed.flatMap(({ gapsMs }) => gapsMs)),
    e2eMs: distributionOf(completed.map(e2eMs)),
    coldTtftMs: ttftOf(completed.filter(({ isCold }) => isCold)),
    warmTtftMs: ttftOf(completed.filter(({ isCold }) => !isCold)),
    attainment: hasSlo && finished.length > 0 ? good / finished.length : null,
    goodput: hasSlo ? perSecond(good) : null,
  };
}

/** Whether a request is complete and within the limits, each taken `scale` times. What it has not, such as a second token, it keeps. */
export function meets(record: RequestRecord, slo: Slo, scale = 1): boolean {
  const keeps = (value: number | null, limit = Number.POSITIVE_INFINITY) => (value ?? 0) <= scale * limit;
  return (
    record.failure === null &&
    keeps(ttftMs(record), slo.ttftMs) &&
    keeps(tpotMs(record), slo.tpotMs) &&
    keeps(e2eMs(record), slo.e2eMs)
  );
}

/** Without those that the end of the run cut. */
export function finishedOf(records: readonly RequestRecord[]): RequestRecord[] {
  return records.filter(({ failure }) => failure?.code !== interruptedCode);
}

/** Mean and percentiles; null of nothing. */
export function distributionOf(values: readonly number[]): Distribution | null {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  return {
    count: sorted.length,
    mean: sumOf(sorted) / sorted.length,
    median: percentile(sorted, 0.5),
    p90: percentile(sorted, 0.9),
    p99: percentile(sorted, 0.99),
  };
}

/** Of ascending values, on a straight line between the two that are nearest. */
function percentile(sorted: readonly number[], part: number): number {
  const place = part * (sorted.length - 1);
  const below = Math.floor(place);
  const from = sorted[below]!;
  return from + (place - below) * ((sorted[below + 1] ?? from) - from);
}

/** `(Σx)² / (n · Σx²)`; 1 where all are 0. */
export function jainIndex(values: readonly number[]): number {
  const squares = sumOf(values.map((value) => value * value));
  return squares === 0 ? 1 : sumOf(values) ** 2 / (values.length * squares);
}

function fairnessOf(records: readonly RequestRecord[], by: (record: RequestRecord) => string | number): number | null {
  const groups = [...groupedBy(finishedOf(records), by).values()];
  if (groups.length < 2) return null;
  return jainIndex(
    groups.map((own) => {
      const tokens = sumOf(own.map(({ failure, outputTokens }) => (failure ? 0 : outputTokens)));
      const ms = sumOf(own.map(e2eMs));
      return ms > 0 ? (1000 * tokens) / ms : 0;
    }),
  );
}

function groupedBy<Key>(
  records: readonly RequestRecord[],
  keyOf: (record: RequestRecord) => Key,
): Map<Key, RequestRecord[]> {
  const groups = new Map<Key, RequestRecord[]>();
  for (const record of records) {
    const own = groups.get(keyOf(record));
    if (own) own.push(record);
    else groups.set(keyOf(record), [record]);
  }
  return groups;
}

function measured(records: readonly RequestRecord[], of: (record: RequestRecord) => number | null): number[] {
  return records.map(of).filter((value) => value !== null);
}

function sumOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}
