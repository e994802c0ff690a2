import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import os from "node:os";

/** Where and with what a run was made. */
export interface Machine {
  readonly date: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly system: string;
  readonly node: string;
  readonly kindred: string;
  /** The checked-out commit, with a "+" when files differ from it; null outside a git checkout. */
  readonly commit: string | null;
  /** Where they take part. */
  readonly ggml?: string;
  readonly llamaCpp?: string;
}

export function describeMachine(versions: Pick<Machine, "ggml" | "llamaCpp"> = {}): Machine {
  const [first] = os.cpus();
  return {
    date: new Date().toISOString(),
    cpu: first?.model ?? os.arch(),
    cores: os.availableParallelism(),
    memoryBytes: os.totalmem(),
    system: `${os.type()} ${os.release()} ${os.arch()}`,
    node: process.version,
    kindred: JSON.parse(readFileSync("package.json", "utf8")).version,
    commit: commit(),
    ...versions,
  };
}

function commit(): string | null {
  const git = (...args: string[]) =>
    execFileSync("git", args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  try {
    return git("rev-parse", "HEAD") + (git("status", "--porcelain") === "" ? "" : "+");
  } catch {
    return null;
  }
}
