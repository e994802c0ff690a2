import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { Gate } from "./gate.js";

test("nobody passes a closed gate", () => {
  const gate = new Gate();
  let passed = 0;
  assert.equal(
    gate.pass(() => passed++),
    true,
  );
  assert.throws(() => gate.pass(() => assert.fail("inside")), /inside/);
  assert.equal(
    gate.pass(() => passed++),
    true,
  );
  gate.close();
  gate.close();
  assert.equal(
    gate.pass(() => passed++),
    false,
  );
  assert.equal(passed, 2);
});

test("once it is closed, the other thread is out", async () => {
  const passing = `
    const { workerData, parentPort } = require("node:worker_threads");
    import(workerData.url).then(({ Gate }) => {
      const gate = new Gate(workerData.gate);
      const counts = new Int32Array(workerData.counts);
      parentPort.postMessage("passing");
      while (gate.pass(() => {
        counts[0]++;
        for (let until = performance.now() + 1; performance.now() < until; );
        counts[1]++;
      }));
    });`;
  for (let round = 0; round < 5; round++) {
    const gate = new Gate();
    const counts = new Int32Array(new SharedArrayBuffer(8));
    const workerData = { url: new URL("./gate.js", import.meta.url).href, gate: gate.shared, counts: counts.buffer };
    const worker = new Worker(passing, { eval: true, workerData });
    await once(worker, "message");
    await new Promise((resolve) => setTimeout(resolve, 3 + round));
    gate.close();
    const [begun, ended] = [Atomics.load(counts, 0), Atomics.load(counts, 1)];
    assert.equal(begun, ended);
    await once(worker, "exit");
    assert.equal(counts[0], begun);
  }
});
