import os from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * Waits until the machine is idle, or has been waited for long enough. Other programs are one reason; the other is that ggml's
 * threads spin for a while after a pass in case there is another, and those of one side would take a core from the other.
 */
export async function quiet(maxMs = 2000): Promise<void> {
  const intervalMs = 50;
  const deadline = performance.now() + maxMs;
  for (let calm = 0; calm < 3 && performance.now() < deadline; ) {
    const before = busyMs();
    await sleep(intervalMs);
    calm = busyMs() - before <= 0.4 * intervalMs ? calm + 1 : 0;
  }
}

/** Does something, and says what part of one core other processes took meanwhile. */
export async function watched<T>(act: () => Promise<T>): Promise<{ value: T; othersCores: number }> {
  const [busy, own, start] = [busyMs(), process.cpuUsage(), performance.now()];
  const value = await act();
  const { user, system } = process.cpuUsage(own);
  return { value, othersCores: (busyMs() - busy - (user + system) / 1000) / (performance.now() - start) };
}

/** Milliseconds that all cores together have worked, counted in ticks of ten. */
function busyMs(): number {
  return os.cpus().reduce((sum, { times }) => sum + times.user + times.nice + times.sys + times.irq, 0);
}
