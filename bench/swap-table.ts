import { significant } from "../src/load/index.js";
import { printColumns } from "../src/util/index.js";
import { verdict } from "./goal.js";
import type { SideResult } from "./side.js";

/** What serving variants is held to, against swapping them. */
export const swapGoals = { throughput: 8, ttftP99: 20, coldStart: 10 } as const;

/** What the sides made of one workload. */
export interface SwapRun {
  /** Requests a second that were asked for. */
  readonly rate: number;
  readonly kindred: SideResult;
  readonly swap: SideResult;
  readonly llama?: SideResult;
}

/** What a line of the comparison compares. */
interface Row {
  readonly name: string;
  readonly of: (side: SideResult) => number | null | undefined;
  readonly isLowGood?: true;
  readonly goal?: number;
}

const rows: readonly Row[] = [
  { name: "requests a second", of: ({ summary }) => summary.requestThroughput, goal: swapGoals.throughput },
  { name: "tokens out a second", of: ({ summary }) => summary.outputThroughput },
  { name: "TTFT median, ms", of: ({ summary }) => summary.ttftMs?.median, isLowGood: true },
  { name: "TTFT 99 %, ms", of: ({ summary }) => summary.ttftMs?.p99, isLowGood: true, goal: swapGoals.ttftP99 },
  { name: "TPOT median, ms", of: ({ summary }) => summary.tpotMs?.median, isLowGood: true },
  { name: "within limits, %", of: ({ summary }) => 100 * (summary.attainment ?? 0) },
  { name: "good requests a second", of: ({ summary }) => summary.goodput },
  { name: "loads", of: ({ loads }) => loads, isLowGood: true },
  { name: "ms a load", of: ({ loadMs }) => loadMs, isLowGood: true },
  { name: "peak memory, MB", of: ({ peakBytes }) => peakBytes / 1e6, isLowGood: true },
];

/** The sides of one run side by side, and by how much Kindred is better. */
export function printComparison({ kindred, swap, llama }: SwapRun): string {
  const value = (row: Row, side: SideResult) => {
    const found = row.of(side);
    return found == null ? "" : significant(found);
  };
  const better = (row: Row, side: SideResult) => {
    const [a, b] = [row.of(kindred), row.of(side)];
    return a && b ? (row.isLowGood ? b / a : a / b) : undefined;
  };
  const times = (ratio: number | undefined) => (ratio === undefined ? "" : `${significant(ratio)}×`);
  return printColumns([
    ["", "kindred", "swap", "better by", "goal", ...(llama ? ["llama.cpp", "better by"] : [])],
    ...rows.map((row) => {
      const ratio = better(row, swap);
      const goal = row.goal === undefined || ratio === undefined ? "" : verdict(ratio, row.goal);
      const third = llama ? [value(row, llama), times(better(row, llama))] : [];
      return [row.name, value(row, kindred), value(row, swap), times(ratio), goal, ...third];
    }),
  ]);
}
