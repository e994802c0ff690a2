import type { PlannedRequest } from "./workload.js";

/** What a workload came out as; short ones differ from what was asked for. */
export interface WorkloadStatistics {
  readonly requests: number;
  /** From the first request to the last. */
  readonly seconds: number;
  readonly rate: number;
  /** Coefficient of variation of the gaps between requests; 1 for Poisson arrivals. */
  readonly gapCv: number;
  /** Variance over mean of the counts of requests in windows of a second and of ten; 1 for Poisson arrivals. */
  readonly fano1: number;
  readonly fano10: number;
  /** Part of the requests that are for another model than the one before. */
  readonly switchRate: number;
  readonly models: number;
  /** Part of the requests that the most popular model, and the ten most popular, got. */
  readonly top1: number;
  readonly top10: number;
  readonly promptTokensMean: number;
  readonly outputTokensMean: number;
}

/** Measures a workload. Ratios without requests to divide by are 0. */
export function statisticsOf(planned: readonly PlannedRequest[]): WorkloadStatistics {
  const requests = planned.length;
  const gaps = planned.slice(1).map(({ atMs }, index) => atMs - planned[index]!.atMs);
  const seconds = requests > 0 ? (planned.at(-1)!.atMs - planned[0]!.atMs) / 1000 : 0;
  const counts = new Map<string, number>();
  for (const { model } of planned) counts.set(model, (counts.get(model) ?? 0) + 1);
  const byCount = [...counts.values()].sort((a, b) => b - a);
  const switches = planned.slice(1).filter(({ model }, index) => model !== planned[index]!.model).length;
  return {
    requests,
    seconds,
    rate: ratio(gaps.length, seconds),
    gapCv: ratio(Math.sqrt(variance(gaps)), mean(gaps)),
    fano1: fano(planned, 1),
    fano10: fano(planned, 10),
    switchRate: ratio(switches, gaps.length),
    models: counts.size,
    top1: ratio(byCount[0] ?? 0, requests),
    top10: ratio(
      byCount.slice(0, 10).reduce((sum, count) => sum + count, 0),
      requests,
    ),
    promptTokensMean: mean(planned.map(({ promptTokens }) => promptTokens)),
    outputTokensMean: mean(planned.map(({ outputTokens }) => outputTokens)),
  };
}

function fano(planned: readonly PlannedRequest[], windowSeconds: number): number {
  const windows = Math.floor((planned.at(-1)?.atMs ?? 0) / 1000 / windowSeconds);
  const counts = new Array<number>(windows).fill(0);
  for (const { atMs } of planned) {
    const window = Math.floor(atMs / 1000 / windowSeconds);
    if (window < windows) counts[window]! += 1;
  }
  return ratio(variance(counts), mean(counts));
}

function mean(values: readonly number[]): number {
  return ratio(
    values.reduce((sum, value) => sum + value, 0),
    values.length,
  );
}

function variance(values: readonly number[]): number {
  const middle = mean(values);
  return mean(values.map((value) => (value - middle) ** 2));
}

function ratio(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}
