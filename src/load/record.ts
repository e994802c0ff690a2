/** What went wrong with a request: the server's code, or what the connection said. */
export interface RequestFailure {
  readonly code: string;
  readonly message: string;
}

/** What became of one request. Times are milliseconds from the start of the run. */
export interface RequestRecord {
  /** Its place in the workload. */
  readonly index: number;
  readonly model: string;
  /** Which of the clients sent it, from 0. */
  readonly client: number;
  /** When the workload has it. */
  readonly plannedMs: number;
  /** When it went out: later than planned if every connection was taken, or this client had too much to do. */
  readonly sentMs: number;
  /** When the first of its output came; null when none did. */
  readonly firstMs: number | null;
  /** When its last output came, or when it failed. */
  readonly endMs: number;
  /** Between one piece of output and the next. */
  readonly gapsMs: readonly number[];
  /** As the server counts them; null where it does not say. */
  readonly promptTokens: number | null;
  /** As the server counts them, else the pieces that came. */
  readonly outputTokens: number;
  /** It had to wait for its variant to be loaded. */
  readonly isCold: boolean;
  /** Null when it is complete. */
  readonly failure: RequestFailure | null;
}

/** The code of requests that were under way when the run was broken off. They are neither complete nor failed. */
export const interruptedCode = "interrupted";

/** Time to first token: from sending to the first output. */
export function ttftMs({ sentMs, firstMs }: RequestRecord): number | null {
  return firstMs === null ? null : firstMs - sentMs;
}

/** Time per output token after the first; null for an answer of one token. */
export function tpotMs({ firstMs, endMs, outputTokens }: RequestRecord): number | null {
  return firstMs === null || outputTokens < 2 ? null : (endMs - firstMs) / (outputTokens - 1);
}

/** End to end: from sending to the last output. */
export function e2eMs({ sentMs, endMs }: RequestRecord): number {
  return endMs - sentMs;
}
