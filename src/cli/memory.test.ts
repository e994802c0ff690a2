// What an engine's process really has of memory for cells and slots, against what it says.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { base, memoryFor, questions, startServer, testEngine, variants } from "./service.test.kit.js";

const copies = 8;
const tasks = ["banking77", "clinc", "dates", "roman", "scan", "wikisql"];

/** Bytes that a process has of mappings without reserve and without huge pages, which are those that cells and slots lie in. */
function pagedBytes(pid: number): number {
  const mappings = readFileSync(`/proc/${pid}/smaps`, "utf8").split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  return mappings
    .filter((mapping) => /^VmFlags:.* nr\b.* nh\b/m.test(mapping))
    .reduce((sum, mapping) => sum + 1024 * Number(/^Rss: +(\d+) kB/m.exec(mapping)![1]), 0);
}

test("an engine that serves many times what it has memory for never has more than it may", {
  skip: process.platform !== "linux",
}, async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "kindred-memory-"));
  try {
    for (const task of tasks) {
      for (let copy = 0; copy < copies; copy++) {
        await symlink(path.resolve(variants, task), path.join(folder, `${task}-${copy}`));
      }
    }
    const engine = { ...testEngine, contextLength: 128, sequences: 8 };
    const memoryBytes = await memoryFor(4, 2_000_000, { engine, variants: folder });
    const loads = new Set<string>();
    await using running = await startServer({
      variants: folder,
      engine: { ...engine, memoryBytes },
      onEvent: (event) => event.type === "variantLoaded" && loads.add(event.variant),
    });
    const { fixedBytes, sharedBytes, variantBytes } = running.service.info.memory;
    let most = 0;
    const look = setInterval(() => {
      most = Math.max(most, pagedBytes(running.service.enginePid!));
    }, 5);
    const answers = await Promise.all(
      Array.from({ length: copies }, (_, copy) =>
        tasks.map((task) => running.ask(`${task}-${copy}`, questions[task]!, { max_tokens: 32 })),
      ).flat(),
    );
    clearInterval(look);
    for (const [index, answer] of answers.entries()) assert.equal(answer, answers[index % tasks.length]);
    assert.equal(loads.size, copies * tasks.length);
    assert.ok(most <= fixedBytes + sharedBytes, `${most} bytes of ${fixedBytes + sharedBytes}`);
    assert.ok(most > 3 * variantBytes, `${most} bytes are less than what surely was in use`);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("a plan says what an engine then does, and how many variants fit beside so many requests", async () => {
  const flags = ["--base", base, "--variants", variants, "--memory", "144MB", "--context", "256", "--json"];
  const plan = JSON.parse(execFileSync(process.execPath, ["dist/cli/main.js", "plan", ...flags], { encoding: "utf8" }));
  const engine = { ...testEngine, baseDType: "auto", kvDType: "f16", contextLength: 256, memoryBytes: 144e6 } as const;
  await using running = await startServer({ engine });
  const { memory } = running.service.info;
  const { stepBytes, sharedBytes } = plan.division;
  assert.deepEqual({ ...memory, stepBytes, sharedBytes }, plan.division);
  // Masks are expected, which only devices without kernels need.
  assert.ok(memory.stepBytes < 1.1 * stepBytes && memory.stepBytes > 0.6 * stepBytes);
  assert.equal(sharedBytes + stepBytes, memory.sharedBytes + memory.stepBytes);
  assert.equal(plan.variants.length, 7);
  const rows = plan.rows as { requests: number; variantBytes: number; room: number }[];
  assert.deepEqual(
    rows.map(({ requests }) => requests),
    [1, 4, 16],
    "16 is the most that run at once",
  );
  assert.equal(rows[0]!.variantBytes, sharedBytes - memory.sequenceBytes);
  assert.ok(rows[0]!.room > 10 && rows[0]!.room > rows[2]!.room);
});
