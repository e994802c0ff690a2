import { KindredError } from "../core/index.js";

/**
 * Runs `work` with a signal that Ctrl-C aborts, so that it can clean up after itself. A second Ctrl-C ends the process
 * as it would without.
 */
export async function untilInterrupted<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const interrupt = () => controller.abort(new KindredError("interrupted", 499, "Interrupted"));
  process.once("SIGINT", interrupt);
  try {
    return await work(controller.signal);
  } finally {
    process.off("SIGINT", interrupt);
  }
}
