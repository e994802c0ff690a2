import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { InvalidFile } from "../core/index.js";
import { EventStream } from "./event-stream.js";
import { measureText, promptsOf, syntheticPrompts } from "./prompts.js";
import { tpotMs, ttftMs } from "./record.js";
import { type ReplayOptions, replay } from "./replay.js";
import { type Answer, event, finish, piece, scriptedServer } from "./scripted-server.test.kit.js";
import { RequestFailed, Target } from "./target.js";
import type { PlannedRequest } from "./workload.js";

const never = new AbortController().signal;
const prompts = syntheticPrompts({ tokensPerWord: 1, tokensAround: 0 }, "chat", 1);

function planned(atMs: number, more: Partial<PlannedRequest> = {}): PlannedRequest {
  return { atMs, model: "roman", client: 0, promptTokens: 8, outputTokens: 5, ...more };
}

async function run(
  t: Parameters<typeof scriptedServer>[0],
  workload: readonly PlannedRequest[],
  answer: Answer,
  options: Partial<ReplayOptions> & { apiKeys?: readonly string[]; body?: Record<string, unknown> } = {},
) {
  const server = await scriptedServer(t, answer);
  const { apiKeys = [], body = {}, ...more } = options;
  using target = new Target({ url: server.url, apiKeys, body });
  const common = { target, prompts, connectionsMax: 100, timeoutMs: 10_000, signal: never };
  return { server, ...(await replay(workload, { ...common, ...more })) };
}

test("latencies are those of the stream, tokens those of the server's account", async (t) => {
  const { records, server } = await run(t, [planned(0)], async (response) => {
    event(response, { choices: [{ index: 0, delta: { role: "assistant", content: "" }, finish_reason: null }] });
    await sleep(60);
    event(response, piece("one"));
    await sleep(40);
    event(response, piece("two three"));
    finish(response, 11, 3);
  });
  const [record] = records;
  assert.ok(record!.failure === null && record!.gapsMs.length === 1);
  assert.ok(ttftMs(record!)! >= 58 && ttftMs(record!)! < 400, `${ttftMs(record!)}: the empty opening is no output`);
  assert.ok(record!.gapsMs[0]! >= 38 && tpotMs(record!)! >= 19, `${record!.gapsMs} ${tpotMs(record!)}`);
  assert.deepEqual([record!.promptTokens, record!.outputTokens], [11, 3]);
  const { body, path: asked } = server.asked[0]!;
  assert.equal(asked, "/v1/chat/completions");
  assert.deepEqual([body.model, body.max_tokens, body.stream], ["roman", 5, true]);
});

test("a connection is used again once its answer has ended", async (t) => {
  const ports = new Set<number | undefined>();
  const workload = [planned(0), planned(150), planned(300)];
  const { records } = await run(t, workload, (response) => {
    ports.add(response.socket?.remotePort);
    finish(response, 1, 1);
  });
  assert.equal(ports.size, 1);
  assert.ok(records.every(({ failure }) => failure === null));
});

test("requests go out at their times though none was answered", async (t) => {
  const workload = Array.from({ length: 10 }, (_, index) => planned(20 * index));
  const { records, delayed, server } = await run(t, workload, async (response) => {
    await sleep(700);
    event(response, piece("x"));
    finish(response, 1, 1);
  });
  assert.equal(server.together, 10);
  assert.equal(delayed, 0);
  for (const { sentMs, plannedMs } of records) assert.ok(sentMs >= plannedMs && sentMs - plannedMs < 350);
});

test("no more connections are open than may be, and who waited for one is counted", async (t) => {
  const workload = Array.from({ length: 6 }, () => planned(0));
  const answer: Answer = async (response) => {
    await sleep(30);
    event(response, piece("x"));
    finish(response, 1, 1);
  };
  const { records, delayed, server } = await run(t, workload, answer, { connectionsMax: 2 });
  assert.equal(server.together, 2);
  assert.equal(delayed, 4);
  assert.ok(records[5]!.sentMs >= 55, "the last went out once four had ended");
  assert.ok(ttftMs(records[5]!)! < 400, "latency counts from sending");
});

test("what fails is told by the server's code, or by what happened to the connection", async (t) => {
  const answers: Answer[] = [
    (response) => void response.writeHead(429).end('{"error": {"message": "The queue is full", "code": "overloaded"}}'),
    (response) => void response.writeHead(502).end("<html>"),
    (response) => {
      event(response, piece("x"));
      event(response, { error: { message: "it died", code: "engine_failed" } });
      response.end();
    },
    (response) => {
      event(response, piece("x"));
      response.end();
    },
    (response) => void response.socket!.destroy(),
    async (response) => {
      event(response, piece("x"));
      await sleep(600);
      response.end();
    },
    (response) => void response.writeHead(200).end("data: {not json}\n\n"),
  ];
  const workload = answers.map((_, index) => planned(0, { model: String(index) }));
  const { records } = await run(
    t,
    workload,
    (response, { body }) => answers[Number(body.model)]!(response, { body } as never),
    {
      timeoutMs: 300,
    },
  );
  assert.deepEqual(
    records.map(({ failure }) => failure?.code),
    ["overloaded", "http_502", "engine_failed", "incomplete_stream", "ECONNRESET", "timeout", "invalid_stream"],
  );
});

test("a run that is broken off says what there is, and which requests it cut", async (t) => {
  const stop = new AbortController();
  const workload = [planned(0, { model: "fast" }), planned(10), planned(60_000)];
  const answer: Answer = (response, { body }) => {
    event(response, piece("x"));
    if (body.model === "fast") finish(response, 1, 1);
    else setTimeout(() => stop.abort(), 30);
  };
  const { records } = await run(t, workload, answer, { signal: stop.signal });
  assert.deepEqual(
    records.map(({ failure }) => failure?.code ?? null),
    [null, "interrupted"],
  );
});

test("clients send their own keys, and every request the fields that were asked for", async (t) => {
  const workload = [planned(0, { client: 0 }), planned(20, { client: 1 })];
  const answer: Answer = (response) => finish(response, 1, 0);
  const { server, records } = await run(t, workload, answer, { apiKeys: ["k0", "k1"], body: { ignore_eos: true } });
  assert.deepEqual(
    server.asked.map(({ authorization }) => authorization),
    ["Bearer k0", "Bearer k1"],
  );
  assert.equal(server.asked[0]!.body.ignore_eos, true);
  assert.equal(records[0]!.failure, null, "an empty answer is an answer");
});

test("synthetic prompts have the tokens that were asked for, once the server said how long words are", async (t) => {
  const tokensOf = (text: string) => 9 + 2 * text.split(" ").length;
  const server = await scriptedServer(t, (response, { body }) => {
    const [message] = body.messages as { content: string }[];
    finish(response, tokensOf(message!.content), 1);
  });
  using target = new Target({ url: server.url, apiKeys: [] });
  assert.deepEqual((await target.models(never)).length, 3);
  const scale = await measureText(target, "tiny", "chat", never);
  assert.deepEqual(scale, { tokensPerWord: 2, tokensAround: 9 });
  const prompt = syntheticPrompts(scale, "chat", 1)(planned(0, { promptTokens: 101 }));
  assert.ok(prompt.kind === "chat" && tokensOf(prompt.messages[0]!.content) === 101);
  const text = syntheticPrompts(scale, "completions", 1)(planned(0, { promptTokens: 1 }));
  assert.ok(text.kind === "text" && text.text.split(" ").length === 1);
});

test("prompts of a file are its chats without their answers; a bad line is named", async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "kindred-prompts-"));
  try {
    const file = path.join(folder, "chats.jsonl");
    await writeFile(file, '{"messages": [{"role": "user", "content": "Hi"}], "answer": "Hello"}\n');
    const chats = await promptsOf(file, "chat", 1);
    assert.deepEqual(chats(planned(0)), { kind: "chat", messages: [{ role: "user", content: "Hi" }] });
    await assert.rejects(promptsOf(file, "completions", 1), /line 1 is a chat, which the completions/);
    await writeFile(file, '{"text": "Once"}\n{"text": 3}\n');
    await assert.rejects(
      promptsOf(file, "chat", 1),
      (error) => error instanceof InvalidFile && /line 2/.test(error.message),
    );
    await writeFile(file, '{"text": "Once"}\n');
    assert.deepEqual((await promptsOf(file, "completions", 1))(planned(0)), { kind: "text", text: "Once" });
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("a server that is not there is a typed error", async () => {
  using target = new Target({ url: "http://127.0.0.1:9/v1/", apiKeys: [] });
  await assert.rejects(target.models(never), RequestFailed);
  for (const url of ["here", "http://", "ftp://x/v1"])
    assert.throws(() => new Target({ url, apiKeys: [] }), RequestFailed, url);
});

test("events are found wherever the bytes are cut", () => {
  const bytes = Buffer.from('data: {"a":"ä"}\r\n\r\n: a comment\n\ndata: one\ndata: two\n\ndata: [DONE]\n\n');
  for (let cut = 0; cut <= bytes.length; cut++) {
    const stream = new EventStream();
    const events = [...stream.push(bytes.subarray(0, cut)), ...stream.push(bytes.subarray(cut))];
    assert.deepEqual(events, ['{"a":"ä"}', "one\ntwo", "[DONE]"]);
  }
});
