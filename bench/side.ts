import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import {
  markCold,
  type PlannedRequest,
  type PromptSource,
  type RequestRecord,
  type RunSummary,
  replay,
  type Slo,
  summarizeRun,
  Target,
} from "../src/load/index.js";
import type { FromSide, Side } from "./serving-process.js";

/** What a side made of a workload. */
export interface SideResult {
  readonly records: readonly RequestRecord[];
  readonly summary: RunSummary;
  readonly loads: number;
  /** In the mean. */
  readonly loadMs: number;
  readonly peakBytes: number;
}

/** How a side is put under load. */
export interface SideRun {
  readonly workload: readonly PlannedRequest[];
  readonly prompts: (target: Target) => Promise<PromptSource>;
  readonly slo: Slo;
  readonly signal: AbortSignal;
}

/** Starts a side, sends it the workload and ends it. */
export async function runSide(side: Side, { workload, prompts, slo, signal }: SideRun): Promise<SideResult> {
  const child = fork(fileURLToPath(new URL("serving-process.js", import.meta.url)), [JSON.stringify(side)]);
  try {
    const loads: { model: string; atMs: number; tookMs: number }[] = [];
    child.on("message", (message: FromSide) => {
      if (message.type === "loaded") loads.push({ ...message, atMs: performance.now() });
    });
    const { url } = await messageOf(child, "listening");
    using target = new Target({ url, apiKeys: [] });
    const source = await prompts(target);
    const before = loads.length;
    const run = await replay(workload, { target, prompts: source, connectionsMax: 4096, timeoutMs: 600_000, signal });
    child.send("memory");
    const { peakBytes } = await messageOf(child, "memory");
    const during = loads.slice(before).map((load) => ({ ...load, atMs: load.atMs - run.startedMs }));
    const records = markCold(run.records, { loads: during, mayLoad: () => true });
    const loadMs = during.reduce((sum, { tookMs }) => sum + tookMs, 0) / Math.max(1, during.length);
    return { records, summary: summarizeRun(records, slo), loads: during.length, loadMs, peakBytes };
  } finally {
    child.kill();
  }
}

function messageOf<Type extends FromSide["type"]>(
  child: ChildProcess,
  type: Type,
): Promise<Extract<FromSide, { type: Type }>> {
  return new Promise((resolve, reject) => {
    const ended = (code: number | null) => reject(new Error(`A side of the bench ended with code ${code}`));
    const receive = (message: FromSide) => {
      if (message.type !== type) return;
      child.off("message", receive);
      child.off("exit", ended);
      resolve(message as Extract<FromSide, { type: Type }>);
    };
    child.on("message", receive);
    child.once("exit", ended);
  });
}
