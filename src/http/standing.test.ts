import assert from "node:assert/strict";
import { test } from "node:test";
import { DeadlineExceeded, ordinary } from "../core/index.js";
import { finished, says, serve, started, text } from "./scripted-completer.test.kit.js";

const hello = { model: "base", messages: [{ role: "user" as const, content: "Hi" }] };

test("a request's key is its client under a name that does not show it; without one all are the same client", async (t) => {
  const { url, completer } = await serve(t, says("Hi"));
  const clientFor = async (authorization?: string) => {
    const headers = { "content-type": "application/json", ...(authorization === undefined ? {} : { authorization }) };
    await fetch(`${url}/v1/chat/completions`, { method: "POST", headers, body: JSON.stringify(hello) });
    return completer.requests.at(-1)!.standing!.client;
  };
  const [none, one, other] = [await clientFor(), await clientFor("Bearer sk-one"), await clientFor("Bearer sk-two")];
  assert.equal(none, "");
  assert.equal(new Set([none, one, other]).size, 3);
  assert.doesNotMatch(one, /sk-one/);
  assert.equal(await clientFor("bearer  sk-one"), one, "a key written differently is the same");
});

test("priority and timeout reach every choice of a request, the timeout as a deadline", async (t) => {
  const { post, completer } = await serve(t, says("Hi"));
  const before = Date.now();
  await post("/completions", { model: "base", prompt: ["a", "b"], priority: -2, timeout: 30 });
  const after = Date.now();
  assert.equal(completer.requests.length, 2);
  for (const { standing } of completer.requests) {
    assert.equal(standing!.priority, -2);
    assert.ok(standing!.deadlineMs! >= before + 30_000 && standing!.deadlineMs! <= after + 30_000);
  }
  await post("/completions", { model: "base", prompt: "a" });
  assert.deepEqual(completer.requests.at(-1)!.standing, ordinary);
});

test("a deadline that passes is a 504 that clients do not try again, or the last event of a stream", async (t) => {
  const { client, completer } = await serve(t, async function* () {
    yield started;
    if (completer.requests.at(-1)!.maxTokens === 1) throw new DeadlineExceeded(0);
    yield text("Hel");
    if (completer.requests.at(-1)!.maxTokens === 2) throw new DeadlineExceeded(1);
    yield finished(1);
  });
  await assert.rejects(client.chat.completions.create({ ...hello, max_tokens: 1 }, { maxRetries: 2 }), (error) => {
    const { status, code } = error as { status?: number; code?: string };
    assert.deepEqual([status, code, completer.requests.length], [504, "deadline_exceeded", 1]);
    return true;
  });
  const stream = await client.chat.completions.create({ ...hello, max_tokens: 2, stream: true });
  const pieces: string[] = [];
  await assert.rejects(
    async () => {
      for await (const chunk of stream) pieces.push(chunk.choices[0]?.delta.content ?? "");
    },
    { code: "deadline_exceeded", message: /1 tokens into its answer/ },
  );
  assert.equal(pieces.join(""), "Hel");
});
