import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import { cacheFolder, compile } from "./compiler.js";
import { loadKernels } from "./kernels.js";

const folder = await mkdtemp(path.join(tmpdir(), "kindred-kernels-"));
after(() => rm(folder, { recursive: true }));

/** A small folder of sources, so that compiling it takes no time. */
async function sources(name: string, text: string): Promise<string> {
  const own = path.join(folder, name);
  await mkdir(own, { recursive: true });
  await writeFile(path.join(own, "one.c"), text);
  return own;
}

/** A compiler that does as the shell commands say. */
async function compiler(name: string, commands: string): Promise<string> {
  const file = path.join(folder, name);
  await writeFile(file, `#!/bin/sh\nif [ "$1" = --version ]; then echo ${name} 1.0; exit; fi\n${commands}\n`);
  await chmod(file, 0o755);
  return file;
}

const noCompiler =
  "problem" in (await compile({ sources: await sources("probe", "int x;"), cache: path.join(folder, "probe-cache") }));
const withCompiler = noCompiler ? { skip: "no C compiler here" } : {};

test("sources are compiled once, and again when they change", withCompiler, async () => {
  const cache = path.join(folder, "again");
  const own = await sources("changing", "int one(void) { return 1; }");
  const first = await compile({ sources: own, cache });
  assert.deepEqual(await compile({ sources: own, cache }), first);
  assert.equal((await readdir(cache)).length, 1);
  await writeFile(path.join(own, "one.c"), "int one(void) { return 2; }");
  assert.notDeepEqual(await compile({ sources: own, cache }), first);
  assert.equal((await readdir(cache)).length, 2);
});

test("several that compile at once end with one file, the same for all", withCompiler, async () => {
  const cache = path.join(folder, "crowd");
  const own = await sources("crowded", "int one(void) { return 1; }");
  const all = await Promise.all(Array.from({ length: 4 }, () => compile({ sources: own, cache })));
  const files = await readdir(cache);
  assert.deepEqual(
    files.map((name) => ({ file: path.join(cache, name) })),
    [all[0]],
  );
  for (const one of all) assert.deepEqual(one, all[0]);
});

test("without a compiler, with a broken one, and where nothing can be written, ggml does everything and says why", async () => {
  const summaryOf = async (options: Parameters<typeof loadKernels>[0]) => {
    const cache = path.join(folder, "never");
    const { kernels, summary } = await loadKernels({ choice: "auto", cache, ...options });
    assert.equal(kernels, undefined);
    return summary;
  };
  assert.equal(
    await summaryOf({ compilers: ["no-such-compiler"] }),
    "native kernels: none: no C compiler (tried no-such-compiler)",
  );
  const broken = await compiler("broken", "echo 'one.c:1: error: out of luck' >&2; exit 1");
  assert.equal(
    await summaryOf({ compilers: [broken] }),
    "native kernels: none: the C compiler failed: one.c:1: error: out of luck",
  );
  const careless = await compiler("careless", 'while [ "$1" != -o ]; do shift; done; echo no library > "$2"');
  assert.match(await summaryOf({ compilers: [careless] }), /^native kernels: none: kernels-\w+\.so does not load: /);
  const occupied = path.join(folder, "a-file");
  await writeFile(occupied, "");
  const working = await compiler("working", "exit 0");
  assert.match(await summaryOf({ compilers: [working], cache: path.join(occupied, "cache") }), /none: .*ENOTDIR/);
  assert.equal(await summaryOf({ choice: "none" }), "native kernels: none: turned off");
});

test("a kernel that the processor has no instructions for is not taken", withCompiler, async () => {
  const { kernels, summary } = await loadKernels({ choice: "neon512" });
  assert.equal(kernels, undefined);
  assert.equal(summary, "native kernels: none: this processor has none named neon512");
});

test("a library of nothing is no library of kernels", withCompiler, async () => {
  const own = await sources("nothing", "int nothing;");
  const { summary } = await loadKernels({ choice: "auto", sources: own, cache: path.join(folder, "empty-cache") });
  assert.match(summary, /does not load: .*kindred_kernels/);
});

test("caches lie where the environment says", () => {
  assert.equal(cacheFolder({ KINDRED_CACHE: "/a" }), "/a");
  assert.equal(cacheFolder({ XDG_CACHE_HOME: "/b" }), path.join("/b", "kindred"));
  assert.match(cacheFolder({}), /kindred$/);
});
