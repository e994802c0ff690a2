import { readFileSync } from "node:fs";

/** What a process has of the machine's memory at a moment, shared libraries included; undefined where the system does not say, or for none. */
export function residentBytes(pid: number | undefined): number | undefined {
  if (pid === undefined || process.platform !== "linux") return undefined;
  try {
    const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    return kilobytes === undefined ? undefined : 1024 * Number(kilobytes);
  } catch {
    return undefined; // it ended
  }
}

/** The memory of a server's two processes at a moment. */
export interface MemorySample {
  /** Milliseconds from the start of the run. */
  readonly atMs: number;
  readonly engineBytes: number;
  /** The process with the front door, where the engine has one of its own. */
  readonly frontBytes: number;
}

const sampleEveryMs = 250;

/** Looks at the memory of a server's processes again and again until it is disposed. */
export class MemoryWatch implements Disposable {
  readonly #samples: { atMs: number; engineBytes: number; frontBytes: number }[] = [];
  readonly #timer: NodeJS.Timeout;

  /** @param processes their ids, which are asked for each time: an engine that dies is followed by another */
  constructor(processes: { readonly engine?: number; readonly front?: number | undefined }) {
    const look = () => {
      const [engineBytes, frontBytes] = [residentBytes(processes.engine), residentBytes(processes.front)];
      if (engineBytes !== undefined && frontBytes !== undefined)
        this.#samples.push({ atMs: performance.now(), engineBytes, frontBytes });
    };
    look();
    this.#timer = setInterval(look, sampleEveryMs);
  }

  /** What was seen since `startedMs` on the clock of `performance.now()`; nothing where the system does not tell. */
  since(startedMs: number): MemorySample[] {
    return this.#samples
      .filter(({ atMs }) => atMs >= startedMs)
      .map((sample) => ({ ...sample, atMs: sample.atMs - startedMs }));
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
