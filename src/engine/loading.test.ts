// An engine whose variants come while it computes.

import assert from "node:assert/strict";
import { cp, mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { defaultEngineOptions } from "./defaults.js";
import { Engine } from "./engine.js";
import type { FromEngine } from "./messages.js";
import { spec } from "./workbench.test.kit.js";

/** The embedded family, one of it with a byte that was changed since. */
async function openEngine(t: TestContext): Promise<{ engine: Engine; messages: FromEngine[] }> {
  const folder = await mkdtemp(join(tmpdir(), "kindred-loading-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const damaged = join(folder, "damaged");
  await cp("models/tiny/variants/dates", damaged, { recursive: true });
  const file = await open(join(damaged, "delta.safetensors"), "r+");
  const { size } = await file.stat();
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, size >> 1);
  await file.write(Uint8Array.of(byte[0]! ^ 1), 0, 1, size >> 1);
  await file.close();
  const variants = ["clinc", "scan"].map((name) => ({ name, path: `models/tiny/variants/${name}` }));
  const messages: FromEngine[] = [];
  const engine = await Engine.open(
    {
      ...defaultEngineOptions,
      base: "models/tiny/base",
      variants: [...variants, { name: "damaged", path: damaged }],
      threads: 1,
      contextLength: 64,
    },
    (message) => messages.push(message),
  );
  return { engine, messages };
}

const request = (id: string, variant: string | null) => spec(id, [5, 9, 2, 70], { variant, maxTokens: 12 });

test("a variant that cannot be loaded fails its own requests, with the reason, and no others", async (t) => {
  const { engine, messages } = await openEngine(t);
  for (const variant of [null, "damaged", "clinc", "scan"]) engine.submit(request(`${variant}`, variant));
  engine.submit(request("damaged again", "damaged"));
  const running = engine.run();
  const finished = () => messages.flatMap((message) => (message.type === "step" ? message.finished : []));
  const failed = () => messages.filter((message) => message.type === "failed");
  for (let wait = 0; wait < 400 && finished().length + failed().length < 5; wait++) await sleep(10);
  engine.stop();
  await running;
  engine[Symbol.dispose]();
  assert.deepEqual(
    finished()
      .map(({ id }) => id)
      .sort(),
    ["clinc", "null", "scan"],
  );
  assert.deepEqual(
    failed()
      .map(({ id }) => id)
      .sort(),
    ["damaged", "damaged again"],
  );
  for (const { error } of failed()) {
    assert.equal(error.code, "invalid_file");
    assert.match(error.message, /delta\.safetensors: the bytes of .* do not match their checksum/);
  }
});

test("an engine that is disposed while variants come says nothing more, and nothing comes of it", async (t) => {
  for (const waitMs of [0, 30, 80]) {
    const { engine, messages } = await openEngine(t);
    const running = engine.run();
    for (const variant of ["clinc", "scan", "damaged"]) engine.submit(request(variant, variant));
    await sleep(waitMs);
    engine.stop();
    await running;
    engine[Symbol.dispose]();
    const heard = messages.length;
    await sleep(50);
    assert.equal(messages.length, heard);
  }
});
