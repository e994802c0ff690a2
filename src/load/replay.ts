import { setTimeout as sleep } from "node:timers/promises";
import { KindredError } from "../core/index.js";
import type { PromptSource } from "./prompts.js";
import { interruptedCode, type RequestFailure, type RequestRecord } from "./record.js";
import { RequestFailed, type Target, type TargetRequest } from "./target.js";
import type { PlannedRequest } from "./workload.js";

/** How a workload is replayed. */
export interface ReplayOptions {
  readonly target: Pick<Target, "complete">;
  readonly prompts: PromptSource;
  /** Requests under way at most. One whose time comes when all are taken waits, and those after it too. */
  readonly connectionsMax: number;
  /** A request that takes longer fails with `timeout`. */
  readonly timeoutMs: number;
  /** Breaks the run off: what is under way is cut, what is to come is left out. */
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: ReplayProgress) => void;
}

/** How far a run has come. */
export interface ReplayProgress {
  readonly sent: number;
  readonly ended: number;
  readonly total: number;
}

/** What came of a run. */
export interface Replayed {
  /** Of all requests that went out, in order. */
  readonly records: readonly RequestRecord[];
  /** Requests that had to wait for a connection. */
  readonly delayed: number;
  /** When it began, on the clock of `performance.now()`. */
  readonly startedMs: number;
}

/**
 * Sends every request of a workload at its time, whether or not those before it were answered, so that a slow server gets no
 * less to do (an open loop). It returns when the last is answered or has failed, or what there is once `signal` is aborted.
 */
export async function replay(workload: readonly PlannedRequest[], options: ReplayOptions): Promise<Replayed> {
  const { prompts, connectionsMax, signal, onProgress } = options;
  const startedMs = performance.now();
  const clock = () => performance.now() - startedMs;
  const records: RequestRecord[] = [];
  const underWay = new Map<AbortController, Promise<void>>();
  let delayed = 0;
  let freed = () => {};
  let ended = 0;
  signal.addEventListener(
    "abort",
    () => {
      const reason = new RequestFailed({ code: interruptedCode, message: "The run was broken off" });
      for (const cut of underWay.keys()) cut.abort(reason);
    },
    { once: true },
  );

  for (const [index, planned] of workload.entries()) {
    const prompt = prompts(planned);
    await until(planned.atMs, clock, signal);
    if (signal.aborted) break;
    if (underWay.size >= connectionsMax) {
      delayed += 1;
      await new Promise<void>((resolve) => (freed = resolve));
    }
    if (signal.aborted) break;
    const { model, client, outputTokens: maxTokens } = planned;
    const request = { model, prompt, maxTokens, client };
    const cut = new AbortController();
    const running = sendOne(request, options, clock, cut).then((outcome) => {
      records[index] = { index, model, client, plannedMs: planned.atMs, isCold: false, ...outcome };
      underWay.delete(cut);
      ended += 1;
      onProgress?.({ sent: ended + underWay.size, ended, total: workload.length });
      freed();
    });
    underWay.set(cut, running);
  }
  await Promise.all(underWay.values());
  return { records, delayed, startedMs };
}

/** Timers of Node wait no longer than this. */
const timerMaxMs = 2 ** 31 - 1;

type Outcome = Omit<RequestRecord, "index" | "model" | "client" | "plannedMs" | "isCold">;

async function sendOne(
  request: TargetRequest,
  { target, timeoutMs }: ReplayOptions,
  clock: () => number,
  cut: AbortController,
): Promise<Outcome> {
  const late = { code: "timeout", message: `There was no whole answer within ${timeoutMs} ms` };
  const timer = setTimeout(() => cut.abort(new RequestFailed(late)), Math.min(timeoutMs, timerMaxMs));

  const sentMs = clock();
  const gapsMs: number[] = [];
  let firstMs: number | null = null;
  let lastMs = sentMs;
  let usage: { promptTokens: number; outputTokens: number } | undefined;
  let failure: RequestFailure | null = null;
  try {
    for await (const event of target.complete(request, cut.signal)) {
      const nowMs = clock();
      if (event.type === "usage") usage = event;
      else {
        if (firstMs === null) firstMs = nowMs;
        else if (event.isText) gapsMs.push(nowMs - lastMs);
        lastMs = nowMs;
      }
    }
  } catch (error) {
    if (!(error instanceof KindredError)) throw error;
    failure = { code: error.code, message: error.message };
    lastMs = clock();
  } finally {
    clearTimeout(timer);
  }
  const pieces = firstMs === null ? 0 : gapsMs.length + 1;
  return {
    sentMs,
    firstMs,
    endMs: lastMs,
    gapsMs,
    promptTokens: usage?.promptTokens ?? null,
    outputTokens: usage?.outputTokens ?? pieces,
    failure,
  };
}

/** Waits for a moment of the run, or until it is broken off. Timers may ring early; this does not. */
async function until(atMs: number, clock: () => number, signal: AbortSignal): Promise<void> {
  for (let leftMs = atMs - clock(); leftMs > 0 && !signal.aborted; leftMs = atMs - clock())
    await sleep(Math.min(Math.ceil(leftMs), timerMaxMs), undefined, { signal }).catch(() => {});
}
