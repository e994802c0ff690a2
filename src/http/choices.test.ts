import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { CompletionEvent, CompletionRequest } from "../core/index.js";
import { completeAll } from "./choices.js";
import { finished, ScriptedCompleter, started, text } from "./scripted-completer.test.kit.js";

const request = (model: string): CompletionRequest => {
  return { model, prompt: { kind: "text", text: "" }, sampling: {}, maxTokens: null, stop: [], topLogprobs: null };
};

test("events come in the order in which they are said, and each choice ends by itself", async () => {
  const completer = new ScriptedCompleter(async function* ({ model }) {
    yield started;
    await sleep(model === "slow" ? 1000 : 1);
    yield text(model);
    yield finished(1);
  });
  const said: string[] = [];
  for await (const { index, event } of completeAll(
    completer,
    [request("slow"), request("fast")],
    new AbortController(),
  )) {
    said.push(`${index} ${event.type}`);
    if (event.type === "finished" && index === 0) assert.equal(completer.closed, 1);
  }
  assert.deepEqual(said, ["0 started", "1 started", "1 text", "1 finished", "0 text", "0 finished"]);
  assert.equal(completer.closed, 2);
  assert.ok(!completer.signals[0]?.aborted);
});

test("a reader who takes nothing is given nothing more", async () => {
  let said = 0;
  const completer = new ScriptedCompleter(async function* (): AsyncGenerator<CompletionEvent> {
    for (;;) {
      said++;
      yield text("x");
    }
  });
  const departure = new AbortController();
  const events = completeAll(completer, [request("a"), request("b")], departure);
  await events.next();
  await sleep(5);
  assert.ok(said <= 3, `said ${said}`);
  await events.return(undefined);
  assert.ok(departure.signal.aborted);
  assert.equal(completer.closed, 2);
});

test("a completion that ends because its reader left is an abort, one that just ends is our mistake", async () => {
  const completer = new ScriptedCompleter(async function* () {
    yield started;
  });
  const outcome = async (departure: AbortController) => {
    for await (const _ of completeAll(completer, [request("a")], departure));
  };
  await assert.rejects(outcome(new AbortController()), /^Error: Assertion failed/);
  const left = new AbortController();
  left.abort();
  await assert.rejects(outcome(left), { name: "AbortError" });
});
