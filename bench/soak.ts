import { writeFileSync } from "node:fs";
import {
  type Distribution,
  distributionOf,
  printRun,
  type RequestRecord,
  significant,
  tpotMs,
  ttftMs,
} from "../src/load/index.js";
import { formatBytes, printColumns } from "../src/util/index.js";
import { describeUse, memoryUse, runCrowd } from "./crowd-scenario.js";
import type { MemorySample } from "./resident-memory.js";
import type { ServingFlags } from "./serving-flags.js";
import { describeSetup, setUp } from "./serving-setup.js";
import { withoutRecords } from "./side.js";
import { drawSoak } from "./soak-picture.js";

/** A stretch of a long run; its requests are those that were sent in it. */
export interface SoakWindow {
  /** Seconds from the start of the run. */
  readonly fromSeconds: number;
  readonly toSeconds: number;
  readonly requests: number;
  readonly failed: number;
  readonly ttftMs: Distribution | null;
  readonly tpotMs: Distribution | null;
  /** The most that was seen; null where the system does not tell. */
  readonly engineBytes: number | null;
  readonly frontBytes: number | null;
}

const windowsMax = 120;
const reportEveryMs = 60_000;

/** A long run of the crowd's load: memory and latencies, window by window, in a table, in `--json` and in `--picture`. */
export async function soak(flags: ServingFlags, signal: AbortSignal): Promise<object> {
  const setup = await setUp(flags, flags.rates[0]!, signal);
  console.log(describeSetup(setup, flags));
  let reportedMs = performance.now();
  const result = await runCrowd(setup, flags, {
    signal,
    onProgress: ({ sent, ended, total }) => {
      if (performance.now() - reportedMs < reportEveryMs) return;
      reportedMs = performance.now();
      console.log(`${sent} of ${total} requests sent, ${ended} ended`);
    },
  });
  const windows = windowsOf(result.records, result.memory, flags.seconds);
  const memory = memoryUse(result);
  console.log(`${printRun({ ...result.summary, models: [] }, flags.slo)}\n\n${printTenths(windows)}`);
  if (memory) console.log(`\n${describeUse(memory)}`);
  const title = `${flags.count} variants for ${significant(flags.seconds / 60)} minutes: ${result.summary.completed} of ${result.summary.sent} requests complete`;
  if (flags.picture) writeFileSync(flags.picture, drawSoak(title, windows, memory?.budgetBytes));
  return { statistics: setup.statistics, kindred: withoutRecords(result), memory, windows };
}

/** Cuts a run into windows of equal length, none shorter than a second. */
function windowsOf(records: readonly RequestRecord[], memory: readonly MemorySample[], seconds: number): SoakWindow[] {
  const count = Math.max(1, Math.min(windowsMax, Math.floor(seconds)));
  const lengthMs = (1000 * seconds) / count;
  // What is left to do when the last request was sent belongs to the last window.
  const grouped = <T>(items: readonly T[], atMs: (item: T) => number) => {
    const groups = Array.from({ length: count }, (): T[] => []);
    for (const item of items) groups[Math.min(count - 1, Math.floor(atMs(item) / lengthMs))]!.push(item);
    return groups;
  };
  const samples = grouped(memory, ({ atMs }) => atMs);
  const most = (own: readonly MemorySample[], of: (sample: MemorySample) => number) =>
    own.length === 0 ? null : own.reduce((max, sample) => Math.max(max, of(sample)), 0);
  return grouped(records, ({ sentMs }) => sentMs).map((own, index) => {
    const completed = own.filter(({ failure }) => failure === null);
    const measured = (of: (record: RequestRecord) => number | null) =>
      distributionOf(completed.map(of).filter((value) => value !== null));
    return {
      fromSeconds: (index * lengthMs) / 1000,
      toSeconds: ((index + 1) * lengthMs) / 1000,
      requests: own.length,
      failed: own.length - completed.length,
      ttftMs: measured(ttftMs),
      tpotMs: measured(tpotMs),
      engineBytes: most(samples[index]!, ({ engineBytes }) => engineBytes),
      frontBytes: most(samples[index]!, ({ frontBytes }) => frontBytes),
    };
  });
}

/** Every tenth of the run by its worst window. */
function printTenths(windows: readonly SoakWindow[]): string {
  const each = Math.max(1, Math.ceil(windows.length / 10));
  const tenths = Array.from({ length: Math.ceil(windows.length / each) }, (_, index) =>
    windows.slice(index * each, (index + 1) * each),
  );
  const worst = (own: readonly SoakWindow[], of: (window: SoakWindow) => number | null | undefined) => {
    const values = own.map(of).filter((value) => value != null);
    return values.length === 0 ? undefined : Math.max(...values);
  };
  const ms = (value: number | undefined) => (value === undefined ? "" : significant(value));
  const bytes = (value: number | undefined) => (value === undefined ? "" : formatBytes(value));
  return printColumns([
    ["seconds", "requests", "failed", "TTFT median", "99 %", "TPOT median", "99 %", "engine", "front"],
    ...tenths.map((own) => [
      `${own[0]!.fromSeconds.toFixed(0)}–${own.at(-1)!.toSeconds.toFixed(0)}`,
      String(own.reduce((sum, { requests }) => sum + requests, 0)),
      String(own.reduce((sum, { failed }) => sum + failed, 0)),
      ms(worst(own, (window) => window.ttftMs?.median)),
      ms(worst(own, (window) => window.ttftMs?.p99)),
      ms(worst(own, (window) => window.tpotMs?.median)),
      ms(worst(own, (window) => window.tpotMs?.p99)),
      bytes(worst(own, (window) => window.engineBytes)),
      bytes(worst(own, (window) => window.frontBytes)),
    ]),
  ]);
}
