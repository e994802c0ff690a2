import assert from "node:assert/strict";
import { connect } from "node:net";
import { text as readText } from "node:stream/consumers";
import { test } from "node:test";
import type OpenAI from "openai";
import { ModelNotFound, Overloaded } from "../core/index.js";
import { finished, jsonOf, says, serve, started, text } from "./scripted-completer.test.kit.js";

const hello = { model: "base", messages: [{ role: "user", content: "Hi" }] };

async function errorOf(response: Response): Promise<Record<string, unknown>> {
  assert.match(response.headers.get("content-type") ?? "", /^application\/json/);
  const { error } = await jsonOf<{ error: OpenAI.ErrorObject }>(response);
  assert.deepEqual(Object.keys(error).sort(), ["code", "message", "param", "type"]);
  assert.ok(typeof error.message === "string" && error.message.length > 10);
  return { status: response.status, type: error.type, param: error.param, code: error.code };
}

test("the models are listed with their base, and found by name, slashes and all", async (t) => {
  const { url } = await serve(t, says());
  const { object, data } = await jsonOf<{ object: string; data: object[] }>(await fetch(`${url}/v1/models`));
  assert.equal(object, "list");
  const variant = {
    id: "org/support-fr",
    object: "model",
    created: 1_700_000_001,
    owned_by: "kindred",
    root: "org/support-fr",
    parent: "base",
    max_model_len: 512,
    permission: [],
  };
  assert.deepEqual(data[1], variant);
  assert.deepEqual(data[0], { ...variant, id: "base", root: "base", parent: null, created: 1_700_000_000 });
  assert.deepEqual(await (await fetch(`${url}/v1/models/org%2Fsupport-fr`)).json(), variant);
  assert.deepEqual(await (await fetch(`${url}/v1/models/org/support-fr`)).json(), variant);
  const notFound = { status: 404, type: "invalid_request_error", param: "model", code: "model_not_found" };
  assert.deepEqual(await errorOf(await fetch(`${url}/v1/models/none`)), notFound);
  assert.deepEqual(await errorOf(await fetch(`${url}/v1/models/${"long".repeat(100)}`)), notFound);
});

test("health needs no key, the API does", async (t) => {
  const { url } = await serve(t, says(), { apiKeys: ["sk-one", "sk-two"] });
  assert.deepEqual(await (await fetch(`${url}/health`)).json(), { status: "ok" });
  const asking = (authorization?: string) =>
    fetch(`${url}/v1/models`, { headers: authorization === undefined ? {} : { authorization } });
  assert.equal((await asking("Bearer sk-one")).status, 200);
  assert.equal((await asking("bearer sk-two")).status, 200);
  const refused = { status: 401, type: "invalid_request_error", param: null, code: "invalid_api_key" };
  for (const header of [undefined, "", "Bearer", "Bearer sk-three", "sk-one", "Basic sk-one"]) {
    assert.deepEqual(await errorOf(await asking(header)), refused, header);
  }
  assert.equal((await asking()).headers.get("www-authenticate"), "Bearer");
});

test("an empty list of keys opens nothing", async (t) => {
  const { url } = await serve(t, says(), { apiKeys: [] });
  assert.equal((await fetch(`${url}/v1/models`, { headers: { authorization: "Bearer x" } })).status, 401);
});

test("every answer has a request id of its own", async (t) => {
  const { url } = await serve(t, says());
  const paths = ["/health", "/health", "/nowhere"];
  const ids = await Promise.all(paths.map(async (path) => (await fetch(url + path)).headers.get("x-request-id")));
  assert.equal(new Set(ids).size, 3);
  for (const id of ids) assert.match(id ?? "", /^req_[0-9a-f]{32}$/);
});

test("what never reaches a completion is an error in OpenAI's shape", async (t) => {
  const { url, post } = await serve(t, says(), { bodyBytesMax: 1000 });
  const invalid = { type: "invalid_request_error", param: null };
  const json = { "content-type": "application/json" };
  const chat = "/chat/completions";

  assert.deepEqual(await errorOf(await fetch(`${url}/nowhere`)), { ...invalid, status: 404, code: "unknown_url" });
  assert.deepEqual(await errorOf(await fetch(`${url}/v1${chat}`)), { ...invalid, status: 404, code: "unknown_url" });
  assert.deepEqual(await errorOf(await fetch(`${url}/v1/models/%zz`)), {
    ...invalid,
    status: 400,
    code: "bad_request",
  });
  assert.deepEqual(await errorOf(await post(chat, null, { headers: json, body: "{" })), {
    ...invalid,
    status: 400,
    code: "invalid_json",
  });
  assert.deepEqual(await errorOf(await post(chat, null, { headers: json, body: "" })), {
    ...invalid,
    status: 400,
    code: "invalid_json",
  });
  assert.deepEqual(await errorOf(await post(chat, null, { headers: {}, body: null })), {
    ...invalid,
    status: 400,
    code: "invalid_value",
  });
  for (const type of ["text/plain", "application/x-www-form-urlencoded"]) {
    const response = await post(chat, hello, { headers: { "content-type": type } });
    assert.deepEqual(await errorOf(response), { ...invalid, status: 415, code: "unsupported_media_type" });
  }
  assert.deepEqual(await errorOf(await post(chat, { ...hello, user: "x".repeat(1000) })), {
    ...invalid,
    status: 413,
    code: "body_too_large",
  });
  assert.deepEqual(await errorOf(await post(chat, { ...hello, temperature: 3 })), {
    status: 400,
    type: "invalid_request_error",
    param: "temperature",
    code: "invalid_value",
  });
});

test("what is not HTTP gets a 400 in OpenAI's shape too", async (t) => {
  const { url } = await serve(t, says());
  const socket = connect(Number(new URL(url).port), "127.0.0.1");
  socket.write("nonsense\r\n\r\n");
  const [head, body] = (await readText(socket)).split("\r\n\r\n");
  assert.match(head ?? "", /^HTTP\/1.1 400 Bad Request\r\n/);
  assert.equal(JSON.parse(body ?? "").error.type, "invalid_request_error");
});

for (const stream of [false, true]) {
  const answer = stream ? "a streamed" : "a whole";

  test(`what goes wrong before the first token of ${answer} answer is an HTTP status`, async (t) => {
    const failures = [new Overloaded("The queue is full", 7), new ModelNotFound("base"), new TypeError("/srv/secret")];
    const { post, completer } = await serve(t, async function* () {
      yield started;
      throw failures.shift();
    });
    const overloaded = await post("/chat/completions", { ...hello, stream });
    assert.equal(overloaded.headers.get("retry-after"), "7");
    assert.deepEqual(await errorOf(overloaded), {
      status: 429,
      type: "rate_limit_error",
      param: null,
      code: "overloaded",
    });
    assert.equal((await errorOf(await post("/chat/completions", { ...hello, stream }))).status, 404);
    const failed = await post("/completions", { model: "base", prompt: "Hi", stream });
    assert.equal(failed.status, 500);
    assert.doesNotMatch(await failed.text(), /secret/);
    assert.equal(completer.closed, 3);
  });

  test(`one choice of ${answer} answer that is refused refuses all and frees the others`, async (t) => {
    let calls = 0;
    const { post, completer } = await serve(t, async function* (_, signal) {
      if (++calls === 3) throw new Overloaded("The queue is full", 1);
      yield started;
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
    });
    assert.equal((await post("/chat/completions", { ...hello, n: 3, stream })).status, 429);
    assert.equal(completer.closed, 3);
  });
}

test("a failure in the middle of a stream is said in the stream, without [DONE]", async (t) => {
  const { post } = await serve(t, async function* () {
    yield started;
    yield text("Hel");
    throw new Error("/srv/secret");
  });
  const response = await post("/chat/completions", { ...hello, stream: true });
  assert.equal(response.status, 200);
  const frames = (await response.text()).split("\n\n");
  assert.equal(frames.at(-1), "");
  assert.equal(JSON.parse((frames.at(-2) ?? "").slice("data: ".length)).error.type, "server_error");
  assert.doesNotMatch(frames.join(), /secret|\[DONE\]/);
});

test("a completion that ends without saying so is our failure, not an answer", async (t) => {
  const { post } = await serve(t, async function* () {
    yield started;
  });
  assert.equal((await post("/chat/completions", hello)).status, 500);
  assert.equal((await post("/chat/completions", { ...hello, stream: true })).status, 500);
});

test("an answer without text still has a role and a reason", async (t) => {
  const { client } = await serve(t, async function* () {
    yield started;
    yield finished(0);
  });
  const messages = [{ role: "user" as const, content: "Hi" }];
  const final = await client.chat.completions.stream({ model: "base", messages }).finalChatCompletion();
  assert.deepEqual([final.choices[0]?.message.content, final.choices[0]?.finish_reason], [null, "stop"]);
});
