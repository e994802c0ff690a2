import { execFile } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import { access, mkdir, readdir, readFile, rename, rm } from "node:fs/promises";
import { availableParallelism, homedir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { inLanes } from "../util/index.js";

const run = promisify(execFile);

/** A compiler that takes longer hangs, and the engine waits for it. */
const compileTimeoutMs = 60_000;
const versionTimeoutMs = 5_000;
/** Nothing about the processor: each kernel names the instructions it is made of. */
const flags = ["-std=c11", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-fPIC"];

/** Sources whose sums and products are rounded one by one, as JavaScript rounds them, whatever the processor can do at once. */
const isPlainlyRounded = (source: string): boolean => source.startsWith("logits-");
const plainFlags = [...flags, "-ffp-contract=off"];

/** Where sources are compiled, and by what. */
export interface CompileOptions {
  /** Holds the C sources. */
  readonly sources: string;
  /** Commands to try; the first that answers is taken. Default `cc`, `gcc`, `clang`. */
  readonly compilers?: readonly string[];
  /** Where shared libraries are kept for the next start. Default {@link cacheFolder}. */
  readonly cache?: string;
}

/** What came of it: the shared library's file, or why there is none. */
export type Compiled = { readonly file: string } | { readonly problem: string };

/** `$KINDRED_CACHE`, or `kindred` where this user's caches are. */
export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  return env.KINDRED_CACHE || path.join(env.XDG_CACHE_HOME || path.join(homedir(), ".cache"), "kindred");
}

/**
 * Compiles a folder of C sources to a shared library, or finds the one that was made of the same sources by the same compiler. Of
 * processes that do so at once each compiles in a folder of its own, and the last to finish puts its file in place. Never throws.
 */
export async function compile({
  sources,
  compilers = ["cc", "gcc", "clang"],
  cache = cacheFolder(),
}: CompileOptions): Promise<Compiled> {
  try {
    const compiler = await firstThatAnswers(compilers);
    if (!compiler) return { problem: `no C compiler (tried ${compilers.join(", ")})` };
    const names = (await readdir(sources)).sort();
    const digest = createHash("sha256").update(
      [compiler.version, process.platform, process.arch, ...plainFlags].join("\n"),
    );
    for (const name of names) digest.update(`\n${name}\n`).update(await readFile(path.join(sources, name)));
    const file = path.join(cache, `kernels-${digest.digest("hex").slice(0, 32)}.so`);
    if (await exists(file)) return { file };

    const work = `${file}.${randomUUID()}`;
    await mkdir(work, { recursive: true, mode: 0o700 });
    try {
      const units = names.filter((name) => name.endsWith(".c"));
      const object = (name: string) => path.join(work, `${name}.o`);
      const call = (...args: string[]) => run(compiler.command, args, { timeout: compileTimeoutMs });
      await inLanes(units, availableParallelism(), async (name) => {
        const own = isPlainlyRounded(name) ? plainFlags : flags;
        await call(...own, "-c", "-o", object(name), path.join(sources, name));
      });
      const linked = path.join(work, "kernels.so");
      await call(...flags, "-shared", "-o", linked, ...units.map(object), "-lm");
      await rename(linked, file);
    } finally {
      await rm(work, { recursive: true, force: true });
    }
    return { file };
  } catch (error) {
    return { problem: reasonOf(error) };
  }
}

async function firstThatAnswers(
  commands: readonly string[],
): Promise<{ command: string; version: string } | undefined> {
  for (const command of commands) {
    const version = await (versions.get(command) ?? askVersion(command));
    if (version !== undefined) return { command, version };
  }
  return undefined;
}

/**
 * What compilers said, each asked once. To start a process is to share all memory with it for a moment, after which each page is slow to
 * write to once: an engine that is started beside one that serves would cost that one thousands of page faults.
 */
const versions = new Map<string, Promise<string | undefined>>();

function askVersion(command: string): Promise<string | undefined> {
  const answer = run(command, ["--version"], { timeout: versionTimeoutMs }).then(
    ({ stdout }) => stdout,
    () => undefined,
  );
  versions.set(command, answer);
  return answer;
}

/** A compiler's first complaint, or the message of what else went wrong. */
function reasonOf(error: unknown): string {
  const { stderr, killed, message } = error as Error & { stderr?: string; killed?: boolean };
  if (killed) return `the C compiler took more than ${compileTimeoutMs / 1000} s`;
  const lines = stderr?.split("\n") ?? [];
  const complaint = lines.find((line) => line.includes("error")) ?? lines.find((line) => line.trim() !== "");
  return complaint ? `the C compiler failed: ${complaint.trim()}` : message;
}

async function exists(file: string): Promise<boolean> {
  return await access(file).then(
    () => true,
    () => false,
  );
}
