import assert from "node:assert/strict";
import { test } from "node:test";
import type { Progress } from "../delta/index.js";
import { ProgressLine, type ProgressStream } from "./progress.js";

test("in a log, progress is a line every tenth", () => {
  const stream = recorder({});
  using line = new ProgressLine("Compressing clinc", stream);
  for (let done = 1; done <= 100; done++) line.show(progress(done));
  assert.equal(stream.written.length, 10);
  assert.equal(stream.written[0], "Compressing clinc 10%  10/100 tensors  10.0 kB of 100 kB  1 min 30 s left\n");
  assert.equal(stream.written.at(-1), "Compressing clinc 100%  100/100 tensors  100 kB of 100 kB  done\n");
});

test("on a terminal, progress is one line that is drawn again, and ended with the work", () => {
  const stream = recorder({ isTTY: true, columns: 60 });
  {
    using line = new ProgressLine("Restoring", stream);
    for (let done = 1; done <= 100; done++) line.show(progress(done));
  }
  const lines = stream.written.slice(0, -1);
  // The first, the last, and in between as many as time allows: here none, or few on a busy machine.
  assert.ok(lines.length >= 2 && lines.length < 20, `${lines.length} lines`);
  assert.ok(lines.every((text) => text.startsWith("\r\x1b[K") && !text.includes("\n") && text.length < 60 + 4));
  assert.match(lines.at(-1)!, /Restoring █{16} 100%/);
  assert.equal(stream.written.at(-1), "\n");
});

test("work that fails before it begins draws nothing", () => {
  const stream = recorder({ isTTY: true });
  {
    using _line = new ProgressLine("Restoring", stream);
  }
  assert.deepEqual(stream.written, []);
});

/** `done` of 100 tensors of 1 kB, at one a second. */
function progress(done: number): Progress {
  const bytes = { bytesDone: done * 1000, bytesTotal: 100_000 };
  return { prepared: 1, tensorsDone: done, tensorsTotal: 100, ...bytes, secondsLeft: 100 - done };
}

function recorder(stream: { isTTY?: boolean; columns?: number }): ProgressStream & { readonly written: string[] } {
  const written: string[] = [];
  return { ...stream, written, write: (text: string) => written.push(text) };
}
