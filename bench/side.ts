import { type ChildProcess, fork, spawnSync } from "node:child_process";
import { once } from "node:events";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import type { EngineInfo } from "../src/engine/index.js";
import {
  markCold,
  type PlannedRequest,
  type PromptSource,
  type ReplayProgress,
  type RequestRecord,
  type RunSummary,
  replay,
  type Slo,
  summarizeRun,
  Target,
} from "../src/load/index.js";
import { type MemorySample, MemoryWatch } from "./resident-memory.js";
import type { FromSide, Side } from "./serving-process.js";

/** What a side made of a workload. */
export interface SideResult {
  readonly records: readonly RequestRecord[];
  readonly summary: RunSummary;
  readonly loads: number;
  /** In the mean. */
  readonly loadMs: number;
  /** Of the process that the client talks to. */
  readonly peakBytes: number;
  /** While the requests ran; none where the system does not tell, or the engine has no process of its own. */
  readonly memory: readonly MemorySample[];
  /** What Kindred's engine said of itself. */
  readonly info: EngineInfo | undefined;
}

/** How a side is put under load. */
export interface SideRun {
  readonly workload: readonly PlannedRequest[];
  readonly prompts: (target: Target) => Promise<PromptSource>;
  readonly slo: Slo;
  readonly signal: AbortSignal;
  /** Models may end their answers before the length that was asked for. */
  readonly hasNaturalEnds: boolean;
  readonly onProgress?: (progress: ReplayProgress) => void;
}

/** Starts a side, sends it the workload and ends it. */
export async function runSide(side: Side, run: SideRun): Promise<SideResult> {
  const { workload, prompts, slo, signal, hasNaturalEnds, onProgress } = run;
  const child = fork(fileURLToPath(new URL("serving-process.js", import.meta.url)), [JSON.stringify(side)], {
    ...(side.kind === "kindred" && side.isolated ? {} : onCores(side.engine.threads)),
  });
  try {
    const loads: { model: string; atMs: number; tookMs: number }[] = [];
    const processes: { engine?: number; front?: number | undefined } = { front: child.pid };
    child.on("message", (message: FromSide) => {
      if (message.type === "loaded") loads.push({ ...message, atMs: performance.now() });
      if (message.type === "engine") processes.engine = message.pid;
    });
    const { url, info } = await messageOf(child, "listening");
    using target = new Target({ url, apiKeys: side.apiKeys, body: hasNaturalEnds ? {} : { ignore_eos: true } });
    const source = await prompts(target);
    const before = loads.length;
    using watch = new MemoryWatch(processes);
    const replayed = await replay(workload, {
      target,
      prompts: source,
      connectionsMax: 4096,
      timeoutMs: 3_600_000,
      signal,
      ...(onProgress ? { onProgress } : {}),
    });
    const memory = watch.since(replayed.startedMs);
    child.send("memory");
    const { peakBytes } = await messageOf(child, "memory");
    const during = loads.slice(before).map((load) => ({ ...load, atMs: load.atMs - replayed.startedMs }));
    const records = markCold(replayed.records, { loads: during, mayLoad: () => true });
    const loadMs = during.reduce((sum, { tookMs }) => sum + tookMs, 0) / Math.max(1, during.length);
    return { records, summary: summarizeRun(records, slo), loads: during.length, loadMs, peakBytes, memory, info };
  } finally {
    await ended(child);
  }
}

/**
 * So many cores and no other for a process, where the system can be told: engines side by side would take more than their threads
 * say, and so would what loads beside one.
 */
function onCores(count: number): { execPath: string; execArgv: string[] } | undefined {
  const given = availableParallelism();
  if (count >= given || spawnSync("taskset", ["--version"]).error) return undefined;
  return { execPath: "taskset", execArgv: ["--cpu-list", `0-${count - 1}`, process.execPath] };
}

/** Ends a side, and waits until its memory and its cores are free for the next. */
async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  const timer = setTimeout(() => child.kill("SIGKILL"), 5000);
  if (child.connected) child.disconnect();
  await exited;
  clearTimeout(timer);
}

function messageOf<Type extends FromSide["type"]>(
  child: ChildProcess,
  type: Type,
): Promise<Extract<FromSide, { type: Type }>> {
  return new Promise((resolve, reject) => {
    const died = (code: number | null) => reject(new Error(`A side of the bench ended with code ${code}`));
    const receive = (message: FromSide) => {
      if (message.type !== type) return;
      child.off("message", receive);
      child.off("exit", died);
      resolve(message as Extract<FromSide, { type: Type }>);
    };
    child.on("message", receive);
    child.once("exit", died);
  });
}

/** For a file of results: requests one by one, and memory moment by moment, would make it long. */
export function withoutRecords({ records: _, memory: __, ...result }: SideResult) {
  return result;
}
