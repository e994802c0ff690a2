import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { PassThrough } from "node:stream";
import { text as readText } from "node:stream/consumers";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { abortOf, finished, type Script, serve, started, text } from "./scripted-completer.test.kit.js";

const hello = { model: "base", messages: [{ role: "user" as const, content: "Hi" }] };

/** Says one word, then nothing until its signal is aborted. */
const stalls: Script = async function* (_, signal) {
  yield started;
  yield text("Hel");
  await abortOf(signal);
};

/** Sends a chat over a connection that stays open for more, and reads nothing of the answer yet. */
function postRaw(url: string, chat: object): Socket {
  const body = JSON.stringify(chat);
  const socket = connect(Number(new URL(url).port), "127.0.0.1");
  socket.write("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n");
  socket.write(`Content-Length: ${body.length}\r\n\r\n${body}`);
  return socket;
}

/** Waits for `condition`, at most a second. */
async function eventually(condition: () => boolean): Promise<void> {
  for (let waited = 0; !condition() && waited < 200; waited++) await sleep(5);
  assert.ok(condition());
}

test("a client that leaves a stream frees its place at once", async (t) => {
  const { client, completer } = await serve(t, stalls);
  const stream = await client.chat.completions.create({ ...hello, n: 2, stream: true });
  for await (const chunk of stream) if (chunk.choices[0]?.delta.content === "Hel") break;
  await eventually(() => completer.closed === 2);
  assert.ok(completer.signals.every((signal) => signal.aborted));
});

test("a client that leaves before a whole answer is there frees its place at once", async (t) => {
  const { client, completer } = await serve(t, stalls);
  const leave = new AbortController();
  const answer = client.chat.completions.create(hello, { signal: leave.signal });
  const refused = assert.rejects(answer, { name: "Error", message: /aborted/ });
  await eventually(() => completer.signals.length === 1);
  leave.abort();
  await refused;
  await eventually(() => completer.closed === 1);
  assert.ok(completer.signals[0]?.aborted);
});

test("a client that leaves before the first token frees its place at once", async (t) => {
  const { post, completer } = await serve(t, async function* (_, signal) {
    yield started;
    await abortOf(signal);
    signal.throwIfAborted();
  });
  const leave = new AbortController();
  const refused = assert.rejects(post("/chat/completions", { ...hello, stream: true }, { signal: leave.signal }));
  await eventually(() => completer.signals.length === 1);
  leave.abort();
  await refused;
  await eventually(() => completer.closed === 1);
});

test("a client that leaves is not logged as a failure of ours", async (t) => {
  const stream = new PassThrough();
  const { post, completer } = await serve(t, stalls, { logger: { level: "error", stream } });
  for (const answer of [{ stream: true }, { stream: false }]) {
    const leave = new AbortController();
    const response = post("/chat/completions", { ...hello, ...answer }, { signal: leave.signal });
    const refused = assert.rejects(response.then((begun) => begun.text()));
    const before = completer.signals.length;
    await eventually(() => completer.signals.length > before);
    leave.abort();
    await refused;
    await eventually(() => completer.closed > before);
    await sleep(10);
  }
  assert.equal(stream.read(), null);
});

test("an answer that was read to its end aborts nothing", async (t) => {
  const { post, completer, close } = await serve(t, async function* () {
    yield started;
    yield finished(0);
  });
  await (await post("/chat/completions", hello)).text();
  await (await post("/chat/completions", { ...hello, stream: true })).text();
  await close();
  assert.deepEqual(
    completer.signals.map(({ aborted }) => aborted),
    [false, false],
  );
});

test("each event is sent when it is said, not when the next one is", async (t) => {
  let say = (): void => {};
  const { post } = await serve(t, async function* () {
    yield started;
    yield text("Hel");
    await new Promise<void>((resolve) => {
      say = resolve;
    });
    yield finished(1);
  });
  const response = await post("/chat/completions", { ...hello, stream: true });
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let received = "";
  while (!received.includes('"Hel"')) received += (await reader.read()).value ?? "";
  assert.doesNotMatch(received, /finish_reason":"stop/);
  say();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    received += value;
  }
  assert.match(received, /\[DONE\]\n\n$/);
});

test("a reader that stops reading stops the completion, until it reads on or leaves", async (t) => {
  let said = 0;
  const { url, completer } = await serve(t, async function* () {
    yield started;
    for (;;) {
      said++;
      yield text("x".repeat(100_000));
      await sleep(0);
    }
  });
  const socket = postRaw(url, { ...hello, stream: true });
  await once(socket, "readable");

  const saidAtRest = async (): Promise<number> => {
    for (let before = -1; before !== said; await sleep(100)) before = said;
    return said;
  };
  const first = await saidAtRest();
  socket.on("data", () => {});
  await eventually(() => said > first);
  socket.pause();
  await saidAtRest();
  socket.destroy();
  await eventually(() => completer.closed === 1);
});

test("closing lets the answers under way end and refuses everything new", { timeout: 5000 }, async (t) => {
  let say = (): void => {};
  const { url, close, client } = await serve(
    t,
    async function* () {
      yield started;
      yield text("Hel");
      await new Promise<void>((resolve) => {
        say = resolve;
      });
      yield finished(1);
    },
    { drainTimeoutMs: 10_000 },
  );
  await client.models.list(); // leaves an idle connection behind
  const socket = postRaw(url, { ...hello, stream: true });
  await once(socket, "readable");
  const closed = close();
  await sleep(20);
  await assert.rejects(fetch(`${url}/health`));
  say();
  assert.match(await readText(socket), /"Hel".*"finish_reason":"stop".*data: \[DONE\]\n\n\r\n0\r\n\r\n$/s);
  await closed;
});

test("a request on an open connection gets a 503 while the server drains", async (t) => {
  const { url, close } = await serve(t, stalls, { drainTimeoutMs: 200 });
  const socket = connect(Number(new URL(url).port), "127.0.0.1").setEncoding("utf8");
  t.after(() => socket.destroy());
  socket.write("POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Le");
  await sleep(20);
  const closed = close();
  await sleep(20);
  socket.write("ngth: 2\r\n\r\n{}");
  let received = "";
  for await (const piece of socket) received += piece;
  assert.match(received, /^HTTP\/1.1 503 .*"code":"shutting_down"/s);
  assert.match(received, /^retry-after: 1\r$/m);
  await closed;
});

test("what outlasts the drain timeout is cut, and its completion aborted", async (t) => {
  const { post, close, completer } = await serve(t, stalls, { drainTimeoutMs: 50 });
  const response = await post("/chat/completions", { ...hello, stream: true });
  const cut = assert.rejects(response.text());
  await close();
  await cut;
  await eventually(() => completer.closed === 1);
  assert.ok(completer.signals[0]?.aborted);
});

test("a connection that never sent a request does not hold up a drain", async (t) => {
  const { url, close } = await serve(t, stalls, { drainTimeoutMs: 60_000 });
  const { hostname, port } = new URL(url);
  const silent = connect(Number(port), hostname);
  await once(silent, "connect");
  const ended = once(silent, "close");
  silent.resume();
  await close();
  await ended;
});
