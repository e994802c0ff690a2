import { printColumns } from "../util/index.js";
import { type Distribution, type LoadSummary, printSlo, type RunSummary, type Slo } from "./metrics.js";

/** Models that get a line of their own. */
const modelsMax = 20;

/** A run for a terminal: what it amounted to, latencies, limits kept and fairness, and the most asked models. */
export function printRun(summary: RunSummary, slo: Slo): string {
  return [totals(summary), latencies(summary), judgements(summary, slo), models(summary)]
    .filter((part) => part !== "")
    .join("\n\n");
}

function totals(summary: RunSummary): string {
  const { sent, completed, failed, interrupted, errors, seconds } = summary;
  const codes = Object.entries(errors)
    .sort(([, a], [, b]) => b - a)
    .map(([code, count]) => `${count} ${code}`);
  const others = [
    ...(failed > 0 ? [`${failed} failed (${codes.join(", ")})`] : []),
    ...(interrupted > 0 ? [`${interrupted} cut off`] : []),
  ];
  const { requestThroughput, outputThroughput, tokenThroughput } = summary;
  return [
    `${sent} requests in ${seconds.toFixed(1)} s: ${[`${completed} complete`, ...others].join(", ")}`,
    `${significant(requestThroughput)} requests, ${significant(outputThroughput)} tokens out, ${significant(tokenThroughput)} tokens in and out a second`,
  ].join("\n");
}

function latencies(summary: RunSummary): string {
  const rows: [string, Distribution | null][] = [
    ["TTFT", summary.ttftMs],
    ["  cold", summary.coldTtftMs],
    ["  warm", summary.coldTtftMs && summary.warmTtftMs],
    ["TPOT", summary.tpotMs],
    ["ITL", summary.itlMs],
    ["E2E", summary.e2eMs],
    ["sent late", summary.latenessMs],
  ];
  const found = rows.flatMap(([name, of]) => (of ? [[name, ...cellsOf(of)]] : []));
  return found.length === 0 ? "" : printColumns([["ms", "count", "mean", "median", "90 %", "99 %"], ...found]);
}

function cellsOf({ count, mean, median, p90, p99 }: Distribution): string[] {
  return [String(count), ...[mean, median, p90, p99].map(significant)];
}

function judgements({ attainment, goodput, clientFairness, modelFairness }: RunSummary, slo: Slo): string {
  const lines: string[] = [];
  if (attainment !== null && goodput !== null) {
    lines.push(`${percent(attainment)} kept ${printSlo(slo)}: ${significant(goodput)} good requests a second`);
  }
  if (clientFairness !== null) lines.push(`Jain's index over clients ${clientFairness.toFixed(3)}`);
  if (modelFairness !== null) lines.push(`Jain's index over models ${modelFairness.toFixed(3)}`);
  return lines.join("\n");
}

function models({ models: all, attainment }: RunSummary): string {
  if (all.length < 2) return "";
  const hasSlo = attainment !== null;
  const head = [
    "model",
    "requests",
    "failed",
    "TTFT median",
    "99 %",
    "TPOT median",
    "cold",
    ...(hasSlo ? ["kept"] : []),
  ];
  const row = ({ model, summary }: { model: string; summary: LoadSummary }) => [
    model,
    String(summary.sent),
    String(summary.failed),
    cell(summary.ttftMs?.median),
    cell(summary.ttftMs?.p99),
    cell(summary.tpotMs?.median),
    String(summary.coldTtftMs?.count ?? 0),
    ...(hasSlo ? [summary.attainment === null ? "" : percent(summary.attainment)] : []),
  ];
  const more = all.length > modelsMax ? [`and ${all.length - modelsMax} models more`] : [];
  return [printColumns([head, ...all.slice(0, modelsMax).map(row)]), ...more].join("\n");
}

const cell = (value: number | undefined) => (value === undefined ? "" : significant(value));

const percent = (part: number) => `${(100 * part).toFixed(1)} %`;

/** Three significant digits, and none after the point from 100 on: `0.0123`, `4.56`, `789`, `12345`. */
export function significant(value: number): string {
  if (value === 0) return "0";
  const decimals = Math.max(0, Math.min(4, 2 - Math.floor(Math.log10(Math.abs(value)))));
  return value.toFixed(decimals);
}
